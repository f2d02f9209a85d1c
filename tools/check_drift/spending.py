"""Alpha spending: what a look of a monitor may spend of its day's false alarms.

`DAILY_FALSE_ALARMS` is divided equally among the tests of a run (Bonferroni), and each test spends its part over the
looks of a UTC day by a plan made beforehand, so that a day's shares add up to 1 at most however often it looks and
however the looks depend on each other. The planned looks spend nine tenths, and the first of a day gets its fair share
of them: at least half of the day, and all nine tenths where no other is planned, so a look that stays alone does not
pay for those that are never made.
Source: K. K. G. Lan & D. L. DeMets, Discrete Sequential Boundaries for Clinical Trials (Biometrika, 1983).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, time, timedelta
from typing import TYPE_CHECKING

from policies.declarations.base import FREQUENCIES, frequency_period
from policies.declarations.drift import (
    ConceptDrift,
    DataDrift,
    DriftMonitor,
    FeatureDrift,
    LabelDrift,
    PredictionDrift,
    SchemaDrift,
)
from tools.check_drift.evidence import DAILY_FALSE_ALARMS
from tools.systems.store import Evidence, Kind

if TYPE_CHECKING:
    from tools.systems.systems import Systems

Declared = DataDrift | FeatureDrift | PredictionDrift | LabelDrift | ConceptDrift | SchemaDrift

Look = frozenset[tuple[str, str]]
"""Type and method of every check that one look could judge."""

_DAY = timedelta(days=1)
_SOME_DAY = datetime(2023, 12, 31, 23, 59, 59)


def alpha(monitor: DriftMonitor, declared: Declared, earlier: Sequence[Look]) -> float:
    """The level at which one look judges each test of a declared check, after the day's `earlier` looks.

    A run makes every check of its monitor, whatever the check's own frequency; looks that could not judge it spent
    nothing of its part.
    """
    tests = max(sum(map(_tests, monitor.monitors)), 1)
    before = sum((declared.type, declared.method) in look for look in earlier)
    return DAILY_FALSE_ALARMS / tests * share_of_day(_looks_a_day(declared.frequency), before)


def share_of_day(planned: int, before: int) -> float:
    """The share of a day's false alarms for a look that `before` others of the day came before.

    The `planned` looks get nine tenths: the first 1/2 + 2/(5 planned), the others an equal part of the rest each. The
    j-th beyond the plan gets 1 / (j (j + 1)) of such a part, of the tenth that is left at most, which adds up to one.
    """
    first = 0.5 + 0.4 / planned
    if before == 0:
        return first
    part, beyond = (0.9 - first) / max(planned - 1, 1), before + 1 - planned
    if beyond <= 0:
        return part
    return (min(part, 0.1) if planned > 1 else 0.1) / (beyond * (beyond + 1))


def earlier_looks(systems: Systems, monitor: str, model: str, at: datetime) -> list[Look]:
    """The looks of the UTC day of `at` that were made before it was first looked back from `at`.

    The order is that of the reports, not of the times they speak of; the same time again is no new look.
    """
    midnight = datetime.combine(at.date(), time.min)
    reports = [
        row
        for row in systems.store.list(Kind.drift_report, model, since=midnight)
        if row.created_at < midnight + _DAY and row.body.get("monitor") == monitor
    ]
    judged: dict[datetime, Look] = {}
    for report in sorted(reports, key=_number):
        if report.created_at == at:
            break
        seen = ((each["type"], each["method"]) for each in report.body["checks"] if each["value"] is not None)
        judged[report.created_at] = judged.get(report.created_at, frozenset()).union(seen)
    return list(judged.values())


def _tests(declared: Declared) -> int:
    """Families of p-values that a check judges at its level each; a broken contract is no matter of chance."""
    if isinstance(declared, SchemaDrift):
        return 0
    return 2 if isinstance(declared, FeatureDrift) and declared.method != "correlation" else 1


def _looks_a_day(frequency: str) -> int:
    """The runs that a frequency asks for within a day that has any: a cron expression asks for as many in each."""
    if frequency in FREQUENCIES or frequency == "on_ingestion":
        return max(_DAY // frequency_period(frequency), 1)
    from croniter import croniter

    ticks = croniter(frequency, _SOME_DAY)
    first: datetime = ticks.get_next(datetime)
    looks = 1
    while ticks.get_next(datetime).date() == first.date():
        looks += 1
    return looks


def _number(report: Evidence) -> int:
    return int(report.id.rpartition("-")[2])
