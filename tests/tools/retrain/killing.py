"""Processes that retrain, together or to their death. Every durable step of a run is a commit of a database."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

MARK = "TEST_RETRAIN_MARK"


def forkserver() -> ForkServerContext:
    """Fresh processes that have the heavy modules loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlflow", "mlflow.sklearn", "sklearn.ensemble", "pandas", "tools.retrain.tool"])
    return context


def retrain_until(home: Path, statement: str) -> None:
    """Retrains, and is killed just before the first commit of a transaction that said `statement`."""
    from tests.tools.retrain.tiny_world import PIPELINE
    from tools.retrain.tool import TOOL
    from tools.systems.systems import Systems

    os.environ[MARK] = str(home)
    _die_at(statement)
    TOOL.run(Systems.open(home / "operations.yaml"), TOOL.arguments(pipeline=PIPELINE, force_trigger=None))


def triage_until(home: Path, statement: str) -> None:
    """A night of the runbook, killed likewise."""
    from agent.triage import triage
    from tools.systems.systems import Systems

    os.environ[MARK] = str(home)
    _die_at(statement)
    triage(Systems.open(home / "operations.yaml"), planner="runbook")


def evaluate_and_die(home: Path) -> None:
    """Begins to evaluate version 2, and is killed."""
    from tests.tools.retrain.tiny_world import CHALLENGE, MODEL
    from tools.evaluate.begun import begin
    from tools.systems.systems import Systems

    systems = Systems.open(home / "operations.yaml")
    with begin(systems, MODEL, CHALLENGE, "2", systems.clock.now()):
        os.kill(os.getpid(), signal.SIGKILL)


def _die_at(statement: str) -> None:
    from sqlalchemy import Engine, event

    said: dict[int, bool] = {}

    def heard(connection: Any, _cursor: Any, sql: str, *_: Any) -> None:
        if " ".join(sql.split()).startswith(statement):
            said[id(connection)] = True

    def committing(connection: Any) -> None:
        if said.get(id(connection)):
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", heard)
    event.listen(Engine, "commit", committing)


def retrain_together(home: Path, barrier: Any, outcomes: Any) -> None:
    """Asks for a retraining that cannot find rows, at the same moment as others do."""
    from policies.errors import InputError
    from tests.tools.retrain.tiny_world import lost_pipeline
    from tools.retrain.tool import TOOL
    from tools.systems.systems import Systems

    systems = Systems.open(home / "operations.yaml")
    arguments = TOOL.arguments(pipeline=lost_pipeline(systems), force_trigger="scheduled")
    barrier.wait()
    try:
        result: Any = TOOL.run(systems, arguments)
        outcomes.put((result.policy, result.until))
    except InputError:
        outcomes.put(("started", None))


def marked(home: Path) -> list[int]:
    """Living processes that a killed retraining of `home` left behind."""
    mark = f"{MARK}={home}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:
            continue
    return found
