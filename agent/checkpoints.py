"""The graph's checkpoints: one SQLite file beside the state store, pruned of conversations that ended."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from policies.errors import InputError
from tools.systems.systems import Systems

if TYPE_CHECKING:
    from langgraph.checkpoint.sqlite import SqliteSaver

CHAT = "chat/"
"""How the threads of people's conversations begin."""


@contextmanager
def checkpoints(systems: Systems) -> Iterator[SqliteSaver]:
    """The saver that a graph is compiled with."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    file = systems.state / "checkpoints.sqlite"
    with closing(sqlite3.connect(file, check_same_thread=False, timeout=30)) as connection:
        # durable against a killed process; a commit need not wait for the disk
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        yield SqliteSaver(connection)


def prune(systems: Systems, going_on: Collection[str | None]) -> None:
    """Removes the checkpoints of every run that neither runs nor waits: its transcript is in the run's row.

    `going_on` are the statuses of runs whose conversations are still needed. Threads are named RUN/MODEL; those of
    people's conversations begin with CHAT and stay.
    """
    with checkpoints(systems) as saver:
        saver.setup()
        runs = "SELECT DISTINCT thread_id FROM checkpoints WHERE thread_id NOT LIKE ?"
        threads = saver.conn.execute(runs, (f"{CHAT}%",)).fetchall()
        for (thread,) in threads:
            try:
                needed = systems.store.get(str(thread).split("/")[0]).status in going_on
            except InputError:
                needed = False
            if not needed:
                saver.delete_thread(thread)


def forget_history(saver: SqliteSaver, thread: str) -> None:
    """Keeps a thread's newest checkpoint only: nobody goes back in a conversation."""
    newest = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ?"
    for table in ("checkpoints", "writes"):
        saver.conn.execute(f"DELETE FROM {table} WHERE thread_id = ? AND checkpoint_id < ({newest})", (thread, thread))
    saver.conn.commit()
