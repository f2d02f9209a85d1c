"""The graph's checkpoints, pruned of conversations that ended: in the kind of database that the state store is in."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

from policies.errors import InputError, SystemDown
from tools.systems.locks import acquire
from tools.systems.sqlite import WAIT_SECONDS, tune
from tools.systems.systems import Systems

if TYPE_CHECKING:
    from langgraph.checkpoint.base import BaseCheckpointSaver

_SETUP_SECONDS = 60

CHAT = "chat/"
"""How the threads of people's conversations begin."""


@contextmanager
def checkpoints(systems: Systems) -> Iterator[BaseCheckpointSaver[Any]]:
    """The saver that a graph is compiled with: one SQLite file beside a SQLite store, else tables in its database."""
    with _postgres(systems) if systems.store.dialect == "postgresql" else _sqlite(systems) as saver:
        yield saver


@contextmanager
def _sqlite(systems: Systems) -> Iterator[BaseCheckpointSaver[Any]]:
    from langgraph.checkpoint.sqlite import SqliteSaver

    file = systems.state / "checkpoints.sqlite"
    with closing(sqlite3.connect(file, check_same_thread=False, timeout=WAIT_SECONDS)) as connection:
        tune(connection)
        saver = SqliteSaver(connection)
        saver.setup()
        yield saver


@contextmanager
def _postgres(systems: Systems) -> Iterator[BaseCheckpointSaver[Any]]:
    try:
        from langgraph.checkpoint.postgres import PostgresSaver
    except ImportError as error:
        raise InputError("a PostgreSQL store needs the extra: pip install 'mlops-guardian[postgres]'") from error

    address = make_url(systems.store.url).set(drivername="postgresql").render_as_string(hide_password=False)
    with PostgresSaver.from_conn_string(address) as saver:
        until = time.monotonic() + _SETUP_SECONDS
        # Its migrations build indexes concurrently, for which no other process may so much as wait in a transaction.
        while (lock := acquire(systems, "checkpoints")) is None:
            if time.monotonic() > until:
                raise SystemDown("another process does not end setting them up", where="checkpoints")
            time.sleep(0.02)
        try:
            saver.setup()
        finally:
            lock.release()
        yield saver


def prune(systems: Systems, going_on: Collection[str | None]) -> None:
    """Removes the checkpoints of every run that neither runs nor waits: its transcript is in the run's row.

    `going_on` are the statuses of runs whose conversations are still needed. Threads are named RUN/MODEL; those of
    people's conversations begin with CHAT and stay.
    """
    with checkpoints(systems) as saver:
        for thread in _threads(saver):
            if thread.startswith(CHAT):
                continue
            try:
                needed = systems.store.get(thread.split("/")[0]).status in going_on
            except InputError:
                needed = False
            if not needed:
                saver.delete_thread(thread)


def forget_history(saver: Any, thread: str) -> None:
    """Keeps a thread's newest checkpoint only: nobody goes back in a conversation."""
    sqlite = isinstance(saver.conn, sqlite3.Connection)
    writes, mark = ("writes", "?") if sqlite else ("checkpoint_writes", "%s")
    newest = f"SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = {mark}"
    for table in ("checkpoints", writes):
        older = f"DELETE FROM {table} WHERE thread_id = {mark} AND checkpoint_id < ({newest})"
        saver.conn.execute(older, (thread, thread))
    if sqlite:
        saver.conn.commit()


def _threads(saver: Any) -> list[str]:
    rows = saver.conn.execute("SELECT DISTINCT thread_id FROM checkpoints").fetchall()
    return [str(row["thread_id"] if isinstance(row, dict) else row[0]) for row in rows]
