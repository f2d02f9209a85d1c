"""What every connection to one of our SQLite files is given."""

from __future__ import annotations

import sqlite3
import time

WAIT_SECONDS = 30.0
"""How long a connection waits for another one's lock."""

_AGAIN_SECONDS = 0.01


def tune(connection: sqlite3.Connection) -> None:
    """Write-ahead logging: durable against a killed process, and a commit need not wait for the disk.

    Raises sqlite3.OperationalError when another connection holds the file for longer than WAIT_SECONDS.
    """
    connection.execute(f"PRAGMA busy_timeout={int(WAIT_SECONDS * 1000)}")
    # SQLite asks no busy handler where waiting could be a deadlock, and two connections that both
    # switch a new file to WAL are such a case: one of them is told "database is locked" at once.
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(_AGAIN_SECONDS)
    connection.execute("PRAGMA synchronous=NORMAL")
