"""The four triggers of a retraining pipeline: pure functions from evidence to fired or refused.

A trigger never reads a table or the clock; the tool hands it what was measured, so the same evidence gives
the same answer in any process.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from policies.declarations.base import Severity
from policies.declarations.training import DecayTrigger, DriftTrigger, ScheduledTrigger, VolumeTrigger


@dataclass(frozen=True)
class DriftSeen:
    """A report of a monitor.

    Attributes:
        broken: its critical schema findings in plain words.
        first_seen: since when the change shows in the data, where the report says so.
    """

    report_id: str
    monitor: str
    checked_at: datetime
    detected: bool
    severity: Severity
    broken: tuple[str, ...] = ()
    first_seen: datetime | None = None


@dataclass(frozen=True)
class Performance:
    """A metric of the serving version over the labelled rows of a window; None where it is undefined."""

    metric: str
    value: float | None
    labelled_rows: int


@dataclass(frozen=True)
class Fired:
    """The trigger's condition holds, and why."""

    trigger: str
    reason: str


@dataclass(frozen=True)
class Refused:
    """The rule that keeps a run from starting, why, and until when (None: until the evidence changes)."""

    trigger: str
    rule: str
    reason: str
    until: datetime | None = None

    def __str__(self) -> str:
        return f"{self.rule}: {self.reason}" + (f" (until {self.until:%Y-%m-%d %H:%M})" if self.until else "")


def drift_detected(
    trigger: DriftTrigger,
    report: DriftSeen | None,
    earlier: DriftSeen | None = None,
    since: datetime | None = None,
) -> Fired | Refused:
    """Fires on the newest report of the source monitor when it found drift of at least `min_severity`.

    `report` is on the version that serves `since` then; `earlier` the newest one of before, which never counts.
    """
    if report is None and earlier is not None and since is not None:
        looked = f"a look as of {earlier.checked_at:%Y-%m-%d %H:%M} ({earlier.report_id}) starts no training"
        told = f"{looked}: what serves now began on {since:%Y-%m-%d %H:%M}; look again as of now"
        return Refused(trigger.type, "no_report", told)
    if report is None:
        return Refused(
            trigger.type, "no_report", f"monitor {trigger.source} has not reported yet on the version that serves"
        )
    if not report.detected:
        return Refused(trigger.type, "no_drift", f"{report.report_id} found no drift")
    if report.severity.rank < Severity(trigger.min_severity).rank:
        short = f"{report.report_id} is {report.severity}, the trigger wants {trigger.min_severity} or worse"
        return Refused(trigger.type, "severity", short)
    return Fired(trigger.type, f"{report.report_id} found drift, {report.severity}")


def performance_decay(trigger: DecayTrigger, reading: Performance | None, *, higher: bool = True) -> Fired | Refused:
    """Fires when the metric over labelled rows is worse than the absolute threshold."""
    if reading is None or reading.value is None:
        rows = reading.labelled_rows if reading else 0
        unknown = f"{trigger.metric} is unknown: {rows:,} labelled rows in the window"
        return Refused(trigger.type, "no_labels", unknown)
    worse = reading.value < trigger.threshold if higher else reading.value > trigger.threshold
    seen = f"{trigger.metric} is {reading.value:.4f} over {reading.labelled_rows:,} labelled rows"
    if worse:
        return Fired(trigger.type, f"{seen}, threshold {trigger.threshold:g}")
    return Refused(trigger.type, "no_decay", f"{seen}, not worse than {trigger.threshold:g}")


def scheduled(
    trigger: ScheduledTrigger, last_started: datetime | None, drifted_since: bool, now: datetime
) -> Fired | Refused:
    """Fires when a tick of the cron lies in (`last_started`, `now`]; the cron is UTC, Sunday is 0.

    Without an earlier run the latest tick counts. With `always_run: false` a due tick is skipped unless drift
    was found since the last run.
    """
    from croniter import croniter

    # get_prev is exclusive; one second on makes a tick that is due this very second count.
    due = croniter(trigger.cron, now + timedelta(seconds=1)).get_prev(datetime)
    upcoming = croniter(trigger.cron, now).get_next(datetime)
    if last_started is not None and due <= last_started:
        return Refused(trigger.type, "not_due", f"no tick of {trigger.cron!r} since the last run", upcoming)
    if not trigger.always_run and not drifted_since:
        quiet = f"due since {due}, but no drift was found since the last run"
        return Refused(trigger.type, "no_drift", quiet, upcoming)
    return Fired(trigger.type, f"due since {due} ({trigger.cron})")


def data_volume(trigger: VolumeTrigger, new_labels: int) -> Fired | Refused:
    """Fires when enough labels arrived since the data the champion was trained on."""
    if new_labels >= trigger.min_new_labels:
        return Fired(trigger.type, f"{new_labels:,} new labels, {trigger.min_new_labels:,} wanted")
    few = f"{new_labels:,} new labels, {trigger.min_new_labels:,} wanted"
    return Refused(trigger.type, "few_labels", few)
