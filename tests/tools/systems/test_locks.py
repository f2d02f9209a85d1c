"""Named locks: one holder of a name, whatever the store; a killed one's name is free again."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from sqlalchemy import text

from tests.postgres import database_url
from tools.systems.locks import acquire
from tools.systems.store import Store

HOLDER = """
import sys
from pathlib import Path
from types import SimpleNamespace
from tools.systems.locks import acquire
from tools.systems.store import Store
lock = acquire(SimpleNamespace(store=Store(sys.argv[1]), state=Path(sys.argv[2])), "triage")
print("held" if lock else "refused", flush=True)
sys.stdin.read()
"""


def systems(url: str, folder: Path) -> Any:
    return SimpleNamespace(store=Store(url), state=folder)


def test_one_holds_a_name_until_released(store_url: str, tmp_path: Path) -> None:
    ours = systems(store_url, tmp_path)
    first = acquire(ours, "run-1/ChurnModel")
    assert first is not None
    assert acquire(ours, "run-1/ChurnModel") is None
    other = acquire(ours, "run-2")
    assert other is not None
    first.release()
    again = acquire(systems(store_url, tmp_path), "run-1/ChurnModel")
    assert again is not None
    again.release()
    other.release()


def test_a_killed_holder_lets_go(store_url: str, tmp_path: Path) -> None:
    ours = systems(store_url, tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, store_url, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert acquire(ours, "triage") is None
        holder.kill()
        holder.wait()
        for _ in range(200):  # the server notices the broken connection a moment later
            if (lock := acquire(ours, "triage")) is not None:
                lock.release()
                return
    raise AssertionError("a dead process still holds the lock")


def test_a_name_is_free_when_release_returns(postgres: Path, tmp_path: Path) -> None:
    """Unlocked by a statement: its session lives on. One that is only closed the server notices later."""
    ours = systems(database_url(postgres), tmp_path)
    with ours.store.connect() as other:
        held = (
            "SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database "
            "WHERE locktype = 'advisory' AND d.datname = current_database()"
        )
        alive = text("SELECT count(*) FROM pg_stat_activity WHERE pid = :pid")
        lock = acquire(ours, "triage")
        assert lock is not None
        (holder,) = other.exec_driver_sql(held).scalars()
        lock.release()
        assert other.exec_driver_sql(held).all() == []
        time.sleep(0.3)
        assert other.scalar(alive, {"pid": holder}) == 1


def test_waiting_for_a_name_has_an_end(store_url: str, tmp_path: Path) -> None:
    ours, others = systems(store_url, tmp_path), systems(store_url, tmp_path)
    lock = acquire(ours, "triage")
    assert lock is not None and acquire(others, "triage", 0.2) is None
    threading.Timer(0.3, lock.release).start()
    late = acquire(others, "triage", 20.0)
    assert late is not None
    late.release()
