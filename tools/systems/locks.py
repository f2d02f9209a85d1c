"""Named locks across processes: of those who share a state store, one holds a name.

A PostgreSQL store's locks hold across machines, a SQLite file's on its machine. Both go when the process dies.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from tools.systems.systems import Systems

_POLL_SECONDS = 0.05


@dataclass(frozen=True)
class Lock:
    """A held name."""

    release: Callable[[], None]


def acquire(systems: Systems, name: str, patience: float = 0.0) -> Lock | None:
    """Holds `name` until it is released or this process ends; None where somebody else holds it.

    Waits `patience` seconds for it: a database lets go of the names of one that was killed a moment later.
    """
    end = time.monotonic() + patience
    while (lock := _try(systems, name)) is None and time.monotonic() < end:
        time.sleep(_POLL_SECONDS)
    return lock


def _try(systems: Systems, name: str) -> Lock | None:
    if systems.store.dialect == "postgresql":
        return _in_database(systems, name)
    return _in_file(systems.state / "locks" / f"{name.replace('/', '-')}.lock")


def _in_database(systems: Systems, name: str) -> Lock | None:
    # A connection of its own and no transaction: the lock is the session's, and the server ends it with the session.
    connection = systems.store.connect()
    try:
        taken = connection.scalar(text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))"), {"name": name})
    except BaseException:
        connection.close()
        raise
    if not taken:
        connection.close()
        return None

    def release() -> None:
        # Unlocked by a statement, so that the name is free when this returns: a connection that is only closed is
        # noticed by the server a moment later.
        try:
            connection.execute(text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))"), {"name": name})
        except SQLAlchemyError:
            connection.invalidate()  # in the pool it would keep the lock
        finally:
            connection.close()

    return Lock(release)


def _in_file(file: Path) -> Lock | None:
    import fcntl

    file.parent.mkdir(exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        return None
    return Lock(lambda: os.close(descriptor))
