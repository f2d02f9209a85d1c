"""Live performance by week, from the batch predictions and the labels that came in since."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from agent.report.model import WeekPoint
from agent.report.reading import mapping, real
from policies.errors import GuardianError
from tools import tasks
from tools.systems.labels import known
from tools.systems.store import Evidence, Kind
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    from tools.systems.systems import Systems

RECENT = timedelta(weeks=8)
FEWEST_LABELS = 500
"""A week with fewer labelled rows, or fewer than 20 of a class, is not drawn: its AUC would be noise."""


def live_auc(systems: Systems, model: str, start: datetime, as_of: datetime) -> tuple[WeekPoint, ...]:
    """AUC of what was served, by whole weeks since `start`, on the labels known by `as_of`.

    The Mann-Whitney statistic over average ranks, computed in the warehouse. Empty where there are no predictions, and
    for a model of several classes or of numbers, whose scores rank nothing.
    """
    binding = systems.operations.model(model)
    labels = binding.labels
    if binding.predictions is None or not tasks.of(binding.task).ranked:
        return ()
    sql = f"""
        WITH scored AS (
            SELECT CAST(floor(date_diff('second', $start, p.{quote(binding.time)}) / 604800.0) AS INTEGER) AS week,
                   p.score AS score, CAST(l.{quote(labels.value)} AS INTEGER) AS y
            FROM {binding.predictions} p
            JOIN {known(labels, "$as_of", f"{quote(labels.time)} >= $start")}
              ON l.{quote(labels.id)} = p.{quote(binding.id)} AND l.{quote(labels.time)} = p.{quote(binding.time)}
            WHERE p.{quote(binding.time)} >= $start AND p.{quote(binding.time)} < $as_of),
        ranked AS (
            SELECT week, y, rank() OVER (PARTITION BY week ORDER BY score)
                   + (count(*) OVER (PARTITION BY week, score) - 1) / 2.0 AS r
            FROM scored)
        SELECT $start + to_days(week * 7) AS week, count(*) AS rows, sum(y) AS positives,
               (sum(r) FILTER (y = 1) - sum(y) * (sum(y) + 1) / 2.0) / nullif(sum(y) * sum(1 - y), 0) AS auc
        FROM ranked GROUP BY 1 ORDER BY 1
    """
    try:
        if not (systems.warehouse.exists(binding.predictions) and systems.warehouse.exists(labels.table)):
            return ()
        found = systems.warehouse.query(sql, {"start": start, "as_of": as_of}).to_pylist()
    except GuardianError:
        return ()
    return tuple(
        WeekPoint(week_start=week["week"].date(), with_guardian=float(week["auc"]), labelled_rows=int(week["rows"]))
        for week in found
        if week["auc"] is not None and week["rows"] >= FEWEST_LABELS and 20 <= week["positives"] <= week["rows"] - 20
    )


def recent_auc(systems: Systems, model: str) -> tuple[WeekPoint, ...]:
    """The live AUC of the last weeks, on the labels known by now."""
    now = systems.clock.now()
    return live_auc(systems, model, now - RECENT, now)


def deployed_auc(systems: Systems, model: str, start: datetime) -> float | None:
    """The AUC, on the holdout of its day, of the version that served at `start` (else of the first one since).

    None where no evaluation or first training of that version is known, and for a model without a live AUC.
    """
    if not tasks.of(systems.operations.model(model).task).ranked:
        return None
    changes = systems.store.list(Kind.traffic_change, model)
    before = [row for row in changes if row.created_at <= start]
    first = max(before, key=_order, default=min(changes, key=_order, default=None))
    version = str(first.body.get("champion") or "") if first else ""
    if not version:
        return None
    trained = [row for row in systems.store.list(Kind.training_run, model) if row.version == version]
    judged = systems.store.list(Kind.evaluation, model)
    known = [real(mapping(row.body, "metrics"), "holdout_auc_roc") for row in trained] + _as_challenger(judged, version)
    return next((value for value in known if value is not None), None)


def _order(row: Evidence) -> tuple[datetime, int]:
    return row.created_at, int(row.id.rpartition("-")[2])


def _as_challenger(judged: Sequence[Evidence], version: str) -> list[float | None]:
    sides = [mapping(row.body, "challenger") for row in judged]
    return [real(mapping(side, "metrics"), "auc_roc") for side in sides if side.get("version") == version]
