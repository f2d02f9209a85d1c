"""Runs as evidence rows: the transcript saved at every step, and one process a run."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from policies.errors import GuardianError
from tools.systems.locks import acquire
from tools.systems.store import Evidence, Kind
from tools.systems.systems import Systems

RUNNING = "running"


TRIAGE = "triage"
"""What a triage claims: there is one at a time."""

TRIAGE_BECAUSE = "nightly triage"
"""Why a triage runs, as its row says."""


class RunBusy(GuardianError):
    """Another process works on this run."""

    kind = "busy"


class Asked(BaseModel):
    """What a person asked in a conversation. `session` names it; `by` is their declared name, where they have one.

    `read_only`: who asks may look and measure, and not change anything.
    """

    model_config = ConfigDict(frozen=True)

    session: str
    text: str
    by: str
    read_only: bool
    earlier: str = ""


class RunRecord(BaseModel):
    """The body of a run's row. `conversations`: transcript by thread; `done`: finished models' results.

    `asked` is None for a triage.
    """

    model_config = ConfigDict(frozen=True)

    planner: str
    about: dict[str, str] = {}
    because: str
    models: list[str]
    at: datetime | None = None
    due_only: bool = False
    asked: Asked | None = None
    resumed_at: datetime | None = None
    measured: dict[str, dict[str, Any]] = {}
    conversations: dict[str, dict[str, Any]] = {}
    done: dict[str, dict[str, Any]] = {}
    outcome: str | None = None
    result: dict[str, Any] | None = None


class Run:
    """A run's row, written through at every change, by several threads."""

    def __init__(self, systems: Systems, id: str, record: RunRecord) -> None:
        self.id = id
        self.record = record
        self._systems = systems
        self._lock = threading.RLock()

    @classmethod
    def begin(cls, systems: Systems, record: RunRecord) -> Run:
        """A new row with status `running`; its model is the one it is about, `*` for several."""
        about = record.models[0] if len(record.models) == 1 else "*"
        row = systems.store.add(Kind.run, about, record, at=systems.clock.now(), status=RUNNING)
        return cls(systems, row.id, record)

    @classmethod
    def open(cls, systems: Systems, id: str) -> Run:
        """The run `id` as it was last saved. Raises InputError where there is none."""
        return cls(systems, id, RunRecord.model_validate(systems.store.get(id).body))

    def measured(self, model: str, facts: Mapping[str, Any]) -> None:
        """What the deterministic part found for a model."""
        with self._lock:
            self._save(measured={**self.record.measured, model: dict(facts)})

    def saved(self, thread: str, transcript: Mapping[str, Any]) -> None:
        """The transcript of a conversation, at every step."""
        with self._lock:
            self._save(conversations={**self.record.conversations, thread: dict(transcript)})

    def done(self, model: str, result: Mapping[str, Any]) -> None:
        """A model's part is over."""
        with self._lock:
            self._save(done={**self.record.done, model: dict(result)})

    def end(self, status: str, outcome: str, result: Mapping[str, Any] | None = None) -> None:
        """The run is over; `outcome` is one line for people."""
        self._save(status, outcome=outcome, result=None if result is None else dict(result))

    def resume(self) -> None:
        """It waited, and is at work again."""
        self._save(RUNNING, resumed_at=self._systems.clock.now())

    def waits_for(self) -> list[str]:
        """Ids of the approvals that its conversations ended at, not yet done."""
        open_ones = {key: each for key, each in self.record.conversations.items() if not each.get("ending")}
        return [str(each["approval"]) for each in open_ones.values() if each.get("approval")]

    def _save(self, status: str | None = None, **changes: Any) -> None:
        with self._lock:
            self.record = self.record.model_copy(update=changes)
            self._systems.store.update(self.id, body=self.record, status=status)


def triages(systems: Systems, *, since: datetime | None = None, limit: int) -> list[Evidence]:
    """The newest triages, newest first: however many questions people asked since."""
    return systems.store.list(Kind.run, said={"because": TRIAGE_BECAUSE}, since=since, limit=limit)


def runs_with(systems: Systems, status: str) -> list[str]:
    """Ids of runs with a status, oldest first. One that is `running` may be at work in another process."""
    return [row.id for row in reversed(systems.store.list(Kind.run, status=status))]


@contextmanager
def claimed(systems: Systems, run_id: str, patience: float = 0.0) -> Iterator[None]:
    """Holds a run for this process, or what else `run_id` names, until it dies.

    Raises RunBusy where another process still holds it after `patience` seconds.
    """
    lock = acquire(systems, run_id, patience)
    if lock is None:
        raise RunBusy("another process works on this run", where=run_id)
    try:
        yield
    finally:
        lock.release()
