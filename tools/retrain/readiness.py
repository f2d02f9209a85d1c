"""Is there anything to learn yet? After the world changed, only rows from after the change can teach it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tools.retrain.triggers import DriftSeen, Refused

GROWTH = 2.0
"""New-world rows must at least double before the same drift is worth another run: each run then costs the
same, and a drift that lasts n days costs about log2(n) runs."""


@dataclass(frozen=True)
class NewWorld:
    """How much of the training window is from after the change.

    Attributes:
        began: when the drift began, or where the last run's data ended.
        since: what happened when it `began`, in words.
        train_end: the training window ends here, where the holdout starts.
        rows: labelled rows in [began, train_end).
        rows_per_day: how fast labelled rows come in.
        learned_rows: rows of this same drift that the last completed run already had; 0 for none.
    """

    began: datetime
    train_end: datetime
    rows: int
    rows_per_day: float
    learned_rows: int = 0
    since: str = "the drift began"


def drift_began(reports: Sequence[DriftSeen]) -> datetime | None:
    """When the unbroken series of drift reports that lasts until now began; None when the newest found none.

    `reports` are newest first, each monitor's a series of its own: where one is quiet, another's drift goes on, and the
    earliest beginning counts. A report with broken data is no sign of a changed world, nor of a quiet one: it neither
    begins nor ends the series. Where a report says since when the change shows in the data, that counts instead of the
    time of the report, which always comes later.
    """
    moments: list[datetime] = []
    quiet: set[str] = set()
    for report in reports:
        if report.broken or report.monitor in quiet:
            continue
        if report.detected:
            moments.append(min(report.checked_at, report.first_seen or report.checked_at))
        else:
            quiet.add(report.monitor)
    return min(moments, default=None)


def something_to_learn(world: NewWorld, min_new_rows: int, now: datetime) -> Refused | None:
    """None when a run can learn the new world; else why not, and from when on it can.

    Wanted are `min_new_rows` rows from since the drift began, and twice as many as the last completed run
    already learned from. The time is an estimate: the holdout's start moves on with the clock.
    """
    wanted = max(float(min_new_rows), GROWTH * world.learned_rows)
    if world.rows >= wanted:
        return None
    lag = now - world.train_end
    days = wanted / world.rows_per_day if world.rows_per_day > 0 else None
    until = None if days is None else world.began + timedelta(days=days) + lag
    learned = f"; the last run learned from {world.learned_rows:,} of them" if world.learned_rows else ""
    began, end = f"{world.began:%Y-%m-%d}", f"{world.train_end:%Y-%m-%d}"
    if world.train_end <= world.began:
        reason = f"{world.since} on {began}, and the training window ends before, on {end}, where the holdout starts"
    else:
        counted = f"{world.rows:,} of {wanted:,.0f} wanted labelled rows"
        reason = f"{counted} lie between {began}, when {world.since}, and {end}, where the holdout starts"
    reason += learned
    return Refused("", "nothing_to_learn_yet", reason, until)
