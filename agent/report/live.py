"""Live performance by week, from the batch predictions and the labels that came in since."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from agent.report.model import WeekPoint
from policies.errors import GuardianError
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    from tools.systems.systems import Systems

FEWEST_LABELS = 500
"""A week with fewer labelled rows, or fewer than 20 of a class, is not drawn: its AUC would be noise."""


def live_auc(systems: Systems, model: str, start: datetime, as_of: datetime) -> tuple[WeekPoint, ...]:
    """AUC of what was served, by whole weeks since `start`, on the labels known by `as_of`.

    The Mann-Whitney statistic over average ranks, computed in the warehouse. Empty where there are no predictions.
    """
    binding = systems.operations.model(model)
    labels = binding.labels
    if binding.predictions is None:
        return ()
    sql = f"""
        WITH scored AS (
            SELECT CAST(floor(date_diff('second', $start, p.{quote(binding.time)}) / 604800.0) AS INTEGER) AS week,
                   p.score AS score, CAST(l.{quote(labels.value)} AS INTEGER) AS y
            FROM {binding.predictions} p
            JOIN {labels.table} l
              ON l.{quote(labels.id)} = p.{quote(binding.id)} AND l.{quote(labels.time)} = p.{quote(binding.time)}
            WHERE p.{quote(binding.time)} >= $start AND p.{quote(binding.time)} < $as_of
              AND l.{quote(labels.time)} >= $start AND l.{quote(labels.arrived)} <= $as_of),
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
