"""When is a check of a monitor due?"""

from __future__ import annotations

from datetime import datetime, timedelta

from policies.declarations.base import FREQUENCIES

_ORIGIN = datetime(1970, 1, 5)
"""A Monday: days begin at midnight, weeks on Monday, months and quarters are 30 and 91 days."""


def due(frequency: str, last: datetime | None, now: datetime, new_rows: bool) -> bool:
    """Whether a tick of `frequency` lies in (`last`, `now`]; all times naive UTC.

    What never ran is due. Ticks lie on the clock, not at a distance from the last run, so that a run that came some
    seconds late does not put off the next. `on_ingestion` is due where there are `new_rows` since `last`. A look back
    (`now` before `last`) is never due.
    """
    if frequency == "on_ingestion":
        return new_rows and (last is None or now > last)
    return last is None or last < last_tick(frequency, now)


def last_tick(frequency: str, now: datetime) -> datetime:
    """The latest tick of a declared frequency or cron expression up to and including `now`."""
    if frequency in FREQUENCIES:
        period = FREQUENCIES[frequency]
        return _ORIGIN + period * ((now - _ORIGIN) // period)
    from croniter import croniter

    # get_prev is exclusive; one second on makes a tick that is due this very second count.
    tick: datetime = croniter(frequency, now + timedelta(seconds=1)).get_prev(datetime)
    return tick
