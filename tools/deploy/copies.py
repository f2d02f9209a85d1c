"""What the prediction log says of mirrored requests: each answered by both versions, so that everything is paired.

A copy has its request's id. Only requests of one instance are paired row by row: the rows of one request have no order
in the warehouse, and one id stands for all of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from policies.declarations.binding import ModelBinding
from tools import tasks
from tools.deploy.comparison import Slices
from tools.deploy.evidence import FEATURES_REACH_BACK, SLICE, Period, flags
from tools.deploy.ranking import Flags, Floats
from tools.deploy.scored import first_answers
from tools.systems.labels import known
from tools.systems.requests import by_request
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    from tools.systems.systems import Systems

FEWEST_TIMED = 1_000
"""Below this many times a 99th percentile is one of the ten slowest, and says nothing."""
_P = 0.99
_CAUTION = 1.645
"""Standard errors below the champion's measured p99 that a challenger is held to before it passes (one-sided 5%)."""


@dataclass(frozen=True)
class Agreement:
    """How alike the answers are, over `n` paired ones; scores as (10th, 50th, 90th percentile)."""

    n: int
    same_label: float | None
    mean_difference: float
    champion_scores: tuple[float, float, float]
    challenger_scores: tuple[float, float, float]


@dataclass(frozen=True)
class Pairs:
    """Both versions' scores of the same requests, whose labels have arrived; or losses, as of `ranking.Replayed`."""

    champion: Floats
    challenger: Floats
    label: Flags


@dataclass(frozen=True)
class Coverage:
    """Requests the champion answered, and how many of them the challenger got a copy of."""

    answered: int
    copied: int

    @property
    def dropped(self) -> int:
        """Requests without a copy: no room in the queue, or under way just now."""
        return self.answered - self.copied


@dataclass(frozen=True)
class Times:
    """Both versions' own times on the same `n` copies, in one process; only `n` where those are too few.

    `slow` counts those beyond the allowed multiple of the champion's p99; `surely_slow` beyond that of the lowest value
    the p99 may really have (Woodruff 1952), for nobody shall pass because the champion's tail was measured too long.
    """

    n: int
    p99_ms: float | None = None
    champion_p99_ms: float | None = None
    slow: Slices | None = None
    surely_slow: Slices | None = None


_PERIOD = """"at" >= $since AND "at" <= $until"""


def coverage(systems: Systems, log: str, period: Period) -> Coverage:
    """How many of the answered requests were copied."""
    sql = f"""
        WITH answered AS (
            SELECT DISTINCT request_id FROM {log}
            WHERE {_PERIOD} AND variant = 'champion' AND version = $champion AND error IS NULL),
        copied AS (
            SELECT DISTINCT request_id FROM {log}
            WHERE {_PERIOD} AND variant = 'shadow' AND version = $challenger)
        SELECT count(*) AS answered, count(c.request_id) AS copied FROM answered a LEFT JOIN copied c USING (request_id)
    """
    row = systems.warehouse.query(sql, period.params).to_pylist()[0]
    return Coverage(int(row["answered"]), int(row["copied"]))


_PAIRED = f"""
        alone AS (
            SELECT request_id, any_value(id) AS id, any_value("at") AS "at", variant, any_value(score) AS score,
                   any_value(label) AS label
            FROM {{log}}
            WHERE {_PERIOD} AND ((variant = 'champion' AND version = $champion)
                OR (variant = 'shadow' AND version = $challenger))
            GROUP BY request_id, variant HAVING count(*) = 1 AND any_value(score) IS NOT NULL),
        paired AS (
            SELECT a.request_id, a.id, a."at", a.score AS champion, b.score AS challenger, a.label = b.label AS same,
                   a.label AS champion_label, b.label AS challenger_label
            FROM alone a JOIN alone b USING (request_id) WHERE a.variant = 'champion' AND b.variant = 'shadow')
"""


def agreement(systems: Systems, log: str, period: Period) -> Agreement | None:
    """How alike the two versions answer; None before the first pair."""
    sql = f"""
        WITH {_PAIRED.format(log=log)}
        SELECT count(*) AS n, avg(CAST(same AS INTEGER)) AS same, avg(abs(challenger - champion)) AS difference,
               quantile_cont(champion, [0.1, 0.5, 0.9]) AS theirs, quantile_cont(challenger, [0.1, 0.5, 0.9]) AS ours
        FROM paired
    """
    row = systems.warehouse.query(sql, period.params).to_pylist()[0]
    if not row["n"]:
        return None
    return Agreement(int(row["n"]), row["same"], row["difference"], tuple(row["theirs"]), tuple(row["ours"]))


def times(systems: Systems, log: str, period: Period, allowed: float) -> Times:
    """What the copies say of the two versions' own times; `allowed` times the champion's p99 is the limit."""
    copies = f"{_PERIOD} AND variant = 'shadow' AND version = $challenger AND model_ms > 0 AND champion_ms > 0"
    timed = f"FROM {by_request(log, copies, greatest=('model_ms', 'champion_ms'))}"
    sql = f"""
        SELECT count(*) AS n, quantile_cont(model_ms, {_P}) AS p99, quantile_cont(champion_ms, {_P}) AS champion {timed}
    """
    whole = systems.warehouse.query(sql, period.params).to_pylist()[0]
    if whole["n"] < FEWEST_TIMED:
        return Times(int(whole["n"]))
    beyond = _by_slice(systems, timed, period, whole["champion"])
    error = _share_error(beyond.champion_n, beyond.champion_k)
    sql = f"SELECT quantile_cont(champion_ms, {max(_P - _CAUTION * error, 0.5)!r}) AS low {timed}"
    low = systems.warehouse.query(sql, period.params)["low"][0].as_py()
    return Times(
        n=int(whole["n"]),
        p99_ms=whole["p99"],
        champion_p99_ms=whole["champion"],
        slow=_by_slice(systems, timed, period, allowed * whole["champion"]),
        surely_slow=_by_slice(systems, timed, period, allowed * low),
    )


def _by_slice(systems: Systems, timed: str, period: Period, limit: float) -> Slices:
    """Times beyond `limit` ms of both versions, by slice of time."""
    sql = f"""
        SELECT floor(epoch("at" - $since) / {SLICE.total_seconds()}) AS slice, count(*) AS n,
               count(*) FILTER (model_ms > $limit) AS ours, count(*) FILTER (champion_ms > $limit) AS theirs
        {timed} GROUP BY slice ORDER BY slice
    """
    rows = systems.warehouse.query(sql, {**period.params, "limit": limit}).to_pandas()
    n, ours, theirs = (rows[each].to_numpy(np.int64) for each in ("n", "ours", "theirs"))
    return Slices(n, ours, n, theirs)


def _share_error(n: npt.NDArray[np.int64], beyond: npt.NDArray[np.int64]) -> float:
    """Standard error of the share of times below a measured p99.

    Times come in clusters, for one stall slows all of a moment: the larger of the binomial error and the one that lets
    each slice vary as a whole.
    """
    total, slices = float(n.sum()), len(n)
    alone = math.sqrt(_P * (1.0 - _P) / total)
    if slices < 2:
        return alone
    spread = float(((beyond - (1.0 - _P) * n) ** 2).sum()) * slices / (slices - 1)
    return max(alone, math.sqrt(spread) / total)


def labelled(systems: Systems, binding: ModelBinding, period: Period) -> Pairs:
    """Both versions' scores of each feature row once, for those whose label arrived by `until`.

    The row that was scored is the newest of that id at the time of the request; its label is found by id and time.
    """
    task = tasks.of(binding.task)
    labels = binding.labels
    kept = ("champion", "challenger", "champion_label", "challenger_label")
    if not all(systems.warehouse.exists(each) for each in (binding.table, labels.table)):
        return Pairs(np.zeros(0), np.zeros(0), np.zeros(0, dtype=np.bool_))
    sql = f"""
        WITH {_PAIRED.format(log=binding.prediction_log)},
        known AS (
            SELECT CAST({quote(labels.id)} AS VARCHAR) AS id, {quote(labels.time)} AS scored_at,
                   {quote(labels.value)} AS outcome
            FROM {known(labels, "$until", f"{quote(labels.time)} >= $reach AND {quote(labels.time)} <= $until")}),
        {first_answers(systems.warehouse.dialect, binding, "paired", kept)}
        SELECT m.champion, m.challenger, m.champion_label, m.challenger_label, k.outcome FROM first_answers m
        JOIN known k ON k.id = m.id AND k.scored_at = m.feature_time ORDER BY m."at", m.request_id
    """
    rows = systems.warehouse.query(sql, {**period.params, "reach": period.stages[0] - FEATURES_REACH_BACK}).to_pandas()
    outcomes = task.outcomes(rows["outcome"].to_numpy(), labels.table)
    ours, theirs = (
        task.weighed(outcomes, task.recorded(rows[side].to_numpy(np.float64), rows[f"{side}_label"]))
        for side in ("challenger", "champion")
    )
    return Pairs(theirs, ours, flags(task, outcomes))
