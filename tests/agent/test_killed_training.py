"""A night that is killed inside a real training: the next triage goes on with that very run, and ends it."""

from __future__ import annotations

import signal
from collections.abc import Callable
from datetime import timedelta

import pyarrow.compute as pc
import pytest

from agent.triage import triage
from tests.tools.retrain import killing
from tests.tools.retrain.conftest import _champion, opened  # noqa: F401  (fixtures)
from tests.tools.retrain.tiny_world import DAY, FIRST, MODEL, PIPELINE, rows_of
from tools.retrain.claim import RUNNING
from tools.systems.store import Kind
from tools.systems.systems import Systems


def _killed_night(systems: Systems, statement: str) -> None:
    """A day on which everyone's debt is higher, and its night."""
    rows = rows_of(44, changed=True).drop_columns(["defaulted", "known_at"])
    higher = pc.add(rows["debt"], 1.5)
    systems.warehouse.append("loans", rows.set_column(rows.column_names.index("debt"), "debt", higher), "0044")
    systems.clock.set(FIRST + 45 * DAY)  # type: ignore[attr-defined]
    process = killing.forkserver().Process(target=killing.triage_until, args=(systems.home, statement))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert next(row.status for row in systems.store.list(Kind.training_run, MODEL)) == RUNNING


@pytest.mark.parametrize("statement", ["INSERT INTO trials", "INSERT INTO model_versions"])
def test_a_killed_night_goes_on_with_its_training(statement: str, opened: Callable[[str], Systems]) -> None:  # noqa: F811
    systems = opened("home")
    _killed_night(systems, statement)
    result = triage(systems, planner="runbook")
    assert (result.run_id, result.status) == ("run-1", "finished")
    trained = [row for row in systems.store.list(Kind.training_run, MODEL) if row.body["pipeline"] == PIPELINE]
    assert [(row.status, row.version) for row in trained] == [("completed", "2")]
    assert [row.version for row in systems.store.list(Kind.rollout, MODEL)] == ["2"]
    assert [version.version for version in systems.registry.versions("loans")] == ["2", "1"]


def test_a_killed_training_that_no_night_goes_on_with_is_failed(opened: Callable[[str], Systems]) -> None:  # noqa: F811
    systems = opened("home")
    _killed_night(systems, "INSERT INTO trials")
    systems.store.update("run-1", status="abandoned")
    systems.operations.drift_monitors.clear()
    systems.clock.set(systems.clock.now() + timedelta(hours=1))  # type: ignore[attr-defined]
    triage(systems, planner="runbook")
    row = systems.store.latest(Kind.training_run, MODEL)
    assert row is not None
    assert row.status == "failed"
    assert "was killed" in row.body["failure"]
