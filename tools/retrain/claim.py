"""Starting a run: the last look at its policies and its row are one transaction, so that of many starters one runs."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from policies.promotion import Decision
from tools.systems.locks import Lock, acquire
from tools.systems.store import Evidence, Kind, append

if TYPE_CHECKING:
    from tools.systems.systems import Systems

RUNNING, COMPLETED, FAILED = "running", "completed", "failed"


@dataclass(frozen=True)
class Claim:
    """A run that this process works on, until it dies."""

    row: Evidence
    lock: Lock

    def release(self) -> None:
        """The run is over, or given up."""
        self.lock.release()


def start(
    systems: Systems,
    model: str,
    about: Mapping[str, Any],
    permitted: Callable[[list[Evidence], datetime], list[Decision]],
    *,
    rests_on: str | None,
) -> Claim | Decision:
    """Stores a run as started and claims it, unless a decision of `permitted` refuses, which is then the answer.

    `permitted` is given the model's training runs and the time, both read while no one else can write.
    """
    with systems.store.writing() as session:
        now = systems.clock.now()
        for decision in permitted(systems.store.list(Kind.training_run, model), now):
            if not decision.allowed:
                return decision
        body = {**about, **here(), "attempt": 1, "began": time.time()}
        row = append(session, Kind.training_run, model, body, at=now, status=RUNNING, rests_on=rests_on)
        held = take(systems, row)
        assert held is not None
    return held


def take(systems: Systems, row: Evidence) -> Claim | None:
    """Claims a run; None where another process works on it."""
    lock = acquire(systems, row.id)
    return None if lock is None else Claim(row, lock)


def here() -> dict[str, Any]:
    """This process, as a run's row names it."""
    return {"process": os.getpid(), "host": socket.gethostname()}


def seconds_left(row: Evidence, limit: timedelta) -> float:
    """Wall-clock seconds that a run may still take: its time goes on while no process works on it."""
    return limit.total_seconds() - (time.time() - float(row.body.get("began", 0.0)))
