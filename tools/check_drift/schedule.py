"""Which monitors are due: their declared frequencies against their last report and the rows that came since."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from policies.declarations.drift import DriftMonitor
from policies.errors import GuardianError
from policies.monitoring import due
from tools.systems.store import Evidence, Kind
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    from tools.systems.systems import Systems

_REPORTS_READ = 100


def due_checks(systems: Systems, name: str, now: datetime) -> list[str]:
    """The checks of a monitor that are due at `now`, as `type method`; the monitor runs where there is any.

    A run makes all of a monitor's checks, so its last report counts for each. Raises InputError for a monitor that is
    not declared.
    """
    monitor = systems.operations.named("drift_monitors", name)
    assert isinstance(monitor, DriftMonitor)
    report = last_report(systems, name)
    last = report.created_at if report else None
    new_rows = any(each.frequency == "on_ingestion" for each in monitor.monitors) and _new_rows(
        systems, monitor.model, last, now
    )
    return [f"{each.type} {each.method}" for each in monitor.monitors if due(each.frequency, last, now, new_rows)]


def last_report(systems: Systems, name: str) -> Evidence | None:
    """The newest report of a monitor, by the time it speaks of; None where it never ran, or long ago."""
    model = systems.operations.drift_monitors[name].model
    rows = systems.store.list(Kind.drift_report, model, limit=_REPORTS_READ)
    return next((row for row in rows if row.body.get("monitor") == name), None)


def _new_rows(systems: Systems, model: str, last: datetime | None, now: datetime) -> bool:
    """Whether the model's table has rows made since `last`. A table that cannot be read is news: the run reports it."""
    binding = systems.operations.model(model)
    time = quote(binding.time)
    where = f"{time} < $now" if last is None else f"{time} < $now AND {time} >= $last"
    try:
        sql = f"SELECT 1 FROM {binding.table} WHERE {where} LIMIT 1"
        if not systems.warehouse.exists(binding.table):
            return True
        return bool(systems.warehouse.query(sql, {"now": now, "last": last}).num_rows)
    except GuardianError:
        return True
