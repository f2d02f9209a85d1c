"""What the prediction log and the labels say about two variants since a rollout began."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.declarations.binding import ModelBinding
from policies.errors import GuardianError
from tools import tasks
from tools.deploy.comparison import Slices
from tools.deploy.fetching import fetched
from tools.deploy.gates import Evidence
from tools.deploy.ranking import UNLABELLED, Flags, Floats, Replayed, Served
from tools.deploy.replaying import OUTCOME, REPLAYS, NotReplayed
from tools.deploy.scored import first_answers
from tools.systems.labels import known
from tools.systems.requests import by_request
from tools.systems.warehouse import quote
from tools.tasks import Outcomes, Task

if TYPE_CHECKING:
    import pandas as pd

    from tools.systems.systems import Systems

SLICE = timedelta(minutes=10)
FEATURES_REACH_BACK = timedelta(days=35)
"""A request is matched to the newest feature row of its id no older than this."""
REPLAY_SECONDS = 30.0
MOST_OF_A_CLASS = 5_000
"""Labelled rows of a class that both versions score; of more, a sample. It moves no AUC, which compares across classes,
and of so many an AUC is known to less than a hundredth."""


@dataclass(frozen=True)
class Period:
    """Which versions are compared, and since when: the starts of the stages entered so far, oldest first.

    `variant` is what the log calls the challenger's answers: `shadow` where nobody got them.
    """

    champion: str
    challenger: str
    stages: tuple[datetime, ...]
    until: datetime
    variant: str = "challenger"

    @property
    def params(self) -> dict[str, object]:
        """Bound parameters of the queries."""
        return {
            "since": self.stages[0],
            "until": self.until,
            "champion": self.champion,
            "challenger": self.challenger,
            "variant": self.variant,
        }


def of_requests(systems: Systems, model: str, period: Period, latency_limits: Sequence[float]) -> Evidence:
    """What the prediction log says of both variants in [first stage's start, until]; nothing is known of labels yet.

    Empty where there is no prediction log yet. Raises SystemDown, InputError.
    """
    log = systems.operations.model(model).prediction_log
    if log is None or not systems.warehouse.exists(log):
        return Evidence(errors=_none(), slow={each: _none() for each in latency_limits})
    counts = _counts(systems, log, period, latency_limits)
    p99 = _p99(systems, log, period)
    return Evidence(
        errors=_slices(counts, "n", "errors"),
        slow={limit: _slices(counts, "timed", f"slow{i}") for i, limit in enumerate(latency_limits)},
        p99_ms=p99.get("challenger"),
        champion_p99_ms=p99.get("champion"),
        requests_in_stage=int(counts.loc[counts["side"] == "challenger", "in_stage"].sum()),
    )


def with_labels(systems: Systems, model: str, period: Period, evidence: Evidence) -> Evidence:
    """The same evidence, and what the labels say that arrived by `until`. Raises SystemDown, InputError."""
    binding = systems.operations.model(model)
    tables = (binding.prediction_log, binding.table, binding.labels.table)
    if not all(each is not None and systems.warehouse.exists(each) for each in tables):
        return evidence
    task = tasks.of(binding.task)
    asked = _labelled_requests(systems, binding, task, period)
    told = _newly_labelled(systems, binding, task, period)
    evidence = replace(
        evidence,
        challenger=_served(asked[asked["asked_variant"] == "challenger"], task, period),
        champion=_served(asked[asked["asked_variant"] == "champion"], task, period),
    )
    try:
        return replace(evidence, replayed=_replay(systems, model, task, period, told, asked))
    except (NotReplayed, GuardianError) as error:
        return replace(evidence, unreplayed=str(error))


_OF_BOTH = """
    "at" >= $since AND "at" <= $until AND
    ((variant = 'champion' AND version = $champion) OR (variant = $variant AND version = $challenger))
"""
_SIDE = "CASE variant WHEN 'champion' THEN 'champion' ELSE 'challenger' END"


def _counts(systems: Systems, log: str, period: Period, latency_limits: Sequence[float]) -> pd.DataFrame:
    """Requests of both sides by slice of time; `in_stage` those since the current stage began."""
    slow = "".join(f", count(*) FILTER (latency_ms > $limit{i}) AS slow{i}" for i in range(len(latency_limits)))
    sql = f"""
        SELECT {_SIDE} AS side, CAST(floor(epoch("at" - $since) / $seconds) AS BIGINT) AS slice, count(*) AS n,
               count(*) FILTER (errors > 0) AS errors, count(latency_ms) AS timed,
               count(*) FILTER ("at" >= $stage) AS in_stage{slow}
        FROM {by_request(log, _OF_BOTH, apart=("variant",))} GROUP BY ALL ORDER BY slice
    """
    params = {**period.params, "seconds": SLICE.total_seconds(), "stage": period.stages[-1]}
    params |= {f"limit{i}": limit for i, limit in enumerate(latency_limits)}
    frame: pd.DataFrame = systems.warehouse.query(sql, params).to_pandas()
    return frame


def _p99(systems: Systems, log: str, period: Period) -> dict[str, float]:
    requests = by_request(log, _OF_BOTH, apart=("variant",))
    sql = f"SELECT {_SIDE} AS side, quantile_cont(latency_ms, 0.99) AS p99 FROM {requests} GROUP BY side"
    rows = systems.warehouse.query(sql, period.params).to_pylist()
    return {row["side"]: float(row["p99"]) for row in rows if row["p99"] is not None}


def _slices(counts: pd.DataFrame, n: str, k: str) -> Slices:
    numbers = np.unique(counts["slice"].to_numpy(dtype=np.int64))

    def column(variant: str, name: str) -> Any:
        rows = counts[counts["side"] == variant]
        filled = np.zeros(len(numbers), dtype=np.int64)
        filled[np.searchsorted(numbers, rows["slice"].to_numpy(dtype=np.int64))] = rows[name].to_numpy(dtype=np.int64)
        return filled

    return Slices(column("challenger", n), column("challenger", k), column("champion", n), column("champion", k))


def _none() -> Slices:
    empty = np.zeros(0, dtype=np.int64)
    return Slices(empty, empty, empty, empty)


def _labelled_requests(systems: Systems, binding: ModelBinding, task: Task, period: Period) -> pd.DataFrame:
    """Each variant's first answer to a feature row whose label has arrived, as `answered` what is compared of it.

    The row that was scored is the newest of that id at the time of the request; its label is found by id and time.
    """
    labels = binding.labels
    sql = f"""
        WITH asked AS (
            SELECT variant, id, "at", score, label, request_id FROM {binding.prediction_log}
            WHERE {_OF_BOTH} AND score IS NOT NULL AND id IS NOT NULL),
        known AS (
            SELECT CAST({quote(labels.id)} AS VARCHAR) AS id, {quote(labels.time)} AS scored_at,
                   {quote(labels.value)} AS outcome
            FROM {known(labels, "$until", f"{quote(labels.time)} >= $reach AND {quote(labels.time)} <= $until")}),
        {first_answers(systems.warehouse.dialect, binding, "asked", ("variant", "score", "label"), apart=("variant",))}
        SELECT m.variant AS asked_variant, m.id AS asked_id, m."at" AS asked_at, m.score AS said_score,
               m.label AS said_label, m.feature_time, k.outcome AS {OUTCOME}
        FROM first_answers m JOIN known k ON k.id = m.id AND k.scored_at = m.feature_time
        ORDER BY asked_at, asked_variant, asked_id
    """
    params = {**period.params, "reach": period.stages[0] - FEATURES_REACH_BACK}
    frame: pd.DataFrame = systems.warehouse.query(sql, params).to_pandas()
    said = task.recorded(_floats(frame["said_score"]), frame["said_label"])
    outcomes = task.outcomes(frame[OUTCOME].to_numpy(), labels.table)
    return frame.assign(**{OUTCOME: outcomes, "answered": task.weighed(outcomes, said)})


def _newly_labelled(systems: Systems, binding: ModelBinding, task: Task, period: Period) -> pd.DataFrame:
    """Feature rows, with their label, that neither version can have learned from: scored after the end of what both
    were trained on, and labelled since the first stage began.

    Most of them were scored before that, and whether anyone asked for their score does not matter: labels that arrive
    late are as fresh, and are not only of the rows whose outcome shows within hours.
    """
    labels, id_, time = binding.labels, quote(binding.id), quote(binding.time)
    chosen = ", ".join(f"f.{quote(each)}" for each in binding.features.names)
    # A mean loss, unlike an AUC, depends on how often each outcome is among the rows.
    alike, most = ("PARTITION BY k.outcome", MOST_OF_A_CLASS) if task.ranked else ("", 2 * MOST_OF_A_CLASS)
    fresh = f"""
        {quote(labels.time)} > $trained AND {quote(labels.time)} <= $until AND {quote(labels.arrived)} > $since
    """
    sql = f"""
        WITH known AS (
            SELECT CAST({quote(labels.id)} AS VARCHAR) AS id, {quote(labels.time)} AS scored_at,
                   {quote(labels.value)} AS outcome
            FROM {known(labels, "$until", fresh)})
        SELECT k.id AS row_id, k.scored_at AS row_time, k.outcome AS {OUTCOME}, {chosen}
        FROM {binding.table} f JOIN known k ON k.id = CAST(f.{id_} AS VARCHAR) AND k.scored_at = f.{time}
        WHERE f.{time} > $trained AND f.{time} <= $until
        QUALIFY row_number() OVER ({alike} ORDER BY hash(k.id, k.scored_at), k.id) <= {most}
        ORDER BY k.scored_at, k.id
    """
    params = {"since": period.stages[0], "until": period.until, "trained": _trained_until(systems, binding, period)}
    frame: pd.DataFrame = systems.warehouse.query(sql, params).to_pandas()
    return frame.assign(**{OUTCOME: task.outcomes(frame[OUTCOME].to_numpy(), labels.table)})


def _trained_until(systems: Systems, binding: ModelBinding, period: Period) -> datetime:
    """The last row that either version learned from; the rollout's beginning where one does not say."""
    from tools.retrain.evidence import moment
    from tools.retrain.training import TRAIN_END_TAG

    versions = [systems.registry.get(binding.registry_name, each) for each in (period.champion, period.challenger)]
    ends = [moment(each, TRAIN_END_TAG) for each in versions]
    return max(each or period.stages[0] for each in ends)


def _served(rows: pd.DataFrame, task: Task, period: Period) -> Served:
    if rows.empty:
        return UNLABELLED
    starts = np.array(period.stages, dtype="datetime64[us]")
    stage = np.searchsorted(starts, rows["asked_at"].to_numpy(dtype="datetime64[us]"), side="right") - 1
    return Served(_floats(rows["answered"]), flags(task, rows[OUTCOME].to_numpy()), stage.astype(np.int64))


def _replay(
    systems: Systems, model: str, task: Task, period: Period, rows: pd.DataFrame, asked: pd.DataFrame
) -> Replayed:
    """Both versions' scores (or losses) of the rows: those of the answer given where there is one, else computed now.

    Raises NotReplayed where that cannot be done in time, and GuardianError where the artifact cannot be fetched: what
    serves badly may replay badly, and must not hold up its own rollback.
    """
    import pandas as pd

    binding, memory_gb = systems.operations.model(model), systems.operations.memory_gb_of(model)
    outcomes = rows[OUTCOME].to_numpy()
    label = flags(task, outcomes)
    if not task.support(outcomes).enough:
        unscored = np.zeros(len(label))
        return Replayed(champion=unscored, challenger=unscored, label=label)
    until = time.monotonic() + REPLAY_SECONDS

    def scores(variant: str, version: str) -> Floats:
        try:
            left = until - time.monotonic()
            folder = fetched(lambda: systems.registry.fetch(binding.registry_name, version).path, left)
            left = max(until - time.monotonic(), 0.0)
            again = REPLAYS.weighed(folder, rows, binding.features, binding.task, memory_gb, left)
        except NotReplayed as error:
            raise NotReplayed(f"version {version} cannot be replayed: {error}") from error
        answers = asked[asked["asked_variant"] == variant].set_index(["asked_id", "feature_time"])["answered"]
        answered = _floats(answers.reindex(pd.MultiIndex.from_frame(rows[["row_id", "row_time"]])))
        return np.where(np.isnan(answered), again, answered)

    return Replayed(scores("champion", period.champion), scores("challenger", period.challenger), label)


def _floats(column: pd.Series[Any]) -> Floats:
    return np.asarray(column.to_numpy(dtype=np.float64), dtype=np.float64)


def flags(task: Task, outcomes: Outcomes) -> Flags:
    """Which outcomes are positive; of losses, which rank nothing, every row."""
    return np.asarray(outcomes > 0.5, dtype=np.bool_) if task.ranked else np.ones(len(outcomes), dtype=np.bool_)
