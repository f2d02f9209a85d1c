"""Time as a system: the wall clock in production, a virtual one in demos, tests and evals."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import select

from policies.errors import InputError
from tools.systems.tables import ClockRow

if TYPE_CHECKING:
    from tools.systems.store import Store


class Clock(Protocol):
    """What time it is, as naive UTC."""

    def now(self) -> datetime:
        """The current time, naive UTC."""
        ...


class WallClock:
    """The computer's clock."""

    def now(self) -> datetime:
        """The current time, naive UTC."""
        return datetime.now(UTC).replace(tzinfo=None)


def looked_back_from(clock: Clock, at: datetime | None) -> datetime:
    """The time to look back from, naive UTC: `at`, or now for None. Raises InputError for a time yet to come."""
    now = clock.now()
    if at is None:
        return now
    naive = at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at
    if naive > now:
        raise InputError(f"{naive:%Y-%m-%d %H:%M} is yet to come; name a time up to {now:%Y-%m-%d %H:%M}", where="at")
    return naive


class VirtualClock:
    """A time kept in the state store, which all processes of one run read."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def now(self) -> datetime:
        """The time last set; the wall clock's where none was set yet."""
        with self._store.reading() as session:
            row = session.scalar(select(ClockRow))
        return row.now if row else WallClock().now()

    def set(self, now: datetime) -> None:
        """Moves the time for every process that reads this store."""
        with self._store.writing() as session:
            session.merge(ClockRow(id=1, now=now))
