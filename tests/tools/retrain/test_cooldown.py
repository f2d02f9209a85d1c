"""No two runs start within a cooldown: whoever asks, however often, whatever the clock does, whatever crashed."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from policies.errors import InputError
from policies.promotion import Decision
from tests.tools.retrain import killing
from tests.tools.retrain.tiny_world import DAY, FIRST, MODEL, MONITOR, TinyWorld, lost_pipeline
from tools.retrain import claim
from tools.retrain.case import Case
from tools.retrain.result import RetrainResult
from tools.retrain.tool import TOOL
from tools.systems.clock import VirtualClock
from tools.systems.store import Kind
from tools.systems.systems import Systems

FORCED = st.sampled_from([None, "drift_detected", "performance_decay", "scheduled", "data_volume"])


class Requests(RuleBasedStateMachine):
    """Requests to retrain, as the real tool answers them. A run that starts finds no rows, and so ends at once."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        shutil.copytree(_template(), self.home, dirs_exist_ok=True)
        self.systems = Systems.open(self.home / "operations.yaml")
        self.pipeline = lost_pipeline(self.systems)
        self.day = 8.0

    @rule(forced=FORCED)
    def retrain(self, forced: str | None) -> None:
        arguments = TOOL.arguments(pipeline=self.pipeline, force_trigger=forced)
        try:
            result = TOOL.run(self.systems, arguments)
        except InputError:
            return
        assert isinstance(result, RetrainResult)
        assert not result.started
        assert result.skipped_because
        if result.policy == "retraining_cooldown":
            assert result.until is not None
            assert result.until > self.systems.clock.now()

    @rule()
    def crash_right_after_a_start(self) -> None:
        case = Case.open(self.systems, self.pipeline)
        about = {"pipeline": self.pipeline, "alias": "challenger", "changed_at": None, "triggers": [_fired()]}
        started = claim.start(case.systems, MODEL, about, case.permitted, rests_on=None)
        if not isinstance(started, Decision):
            started.release()

    @rule(hours=st.floats(-40, 60))
    def the_clock_jumps(self, hours: float) -> None:
        self.day = max(8.0, self.day + hours / 24)
        assert isinstance(self.systems.clock, VirtualClock)
        self.systems.clock.set(FIRST + self.day * DAY)

    @rule(detected=st.booleans())
    def report(self, detected: bool) -> None:
        severity = "critical" if detected else "ok"
        body = {"monitor": MONITOR, "status": "checked", "drift_detected": detected, "severity": severity}
        self.systems.store.add(Kind.drift_report, MODEL, body, at=self.systems.clock.now())

    @invariant()
    def starts_lie_a_cooldown_apart(self) -> None:
        started = sorted(row.created_at for row in self.systems.store.list(Kind.training_run, MODEL))
        assert all(later - earlier >= DAY for earlier, later in pairwise(started))

    @invariant()
    def one_run_at_most_is_at_work(self) -> None:
        assert len(self.systems.store.list(Kind.training_run, MODEL, status="running")) <= 1

    def teardown(self) -> None:
        self.systems.close()
        shutil.rmtree(self.home)


@cache
def _template() -> Path:
    """A world of eight days with its empty registry."""
    home = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    world = TinyWorld(home, change_on=None)
    world.live(8)
    world.report()
    assert world.systems.registry.versions("loans") == []
    world.systems.close()
    return home


def _fired() -> dict[str, Any]:
    return {"trigger": "drift_detected", "fired": True, "reason": "for the test"}


@pytest.mark.timeout(120)
def test_no_two_runs_start_within_a_cooldown() -> None:
    checked = settings(
        max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(Requests, settings=checked)  # type: ignore[no-untyped-call]


def test_of_processes_that_fire_at_once_one_starts_a_run(opened: Callable[[str], Systems]) -> None:
    systems, context = opened("home"), killing.forkserver()
    clock = systems.clock
    assert isinstance(clock, VirtualClock)
    for night in range(2):
        now = FIRST + 50 * DAY + night * timedelta(days=2)
        clock.set(now)
        barrier, outcomes = context.Barrier(3), context.Queue()
        racing = [
            context.Process(target=killing.retrain_together, args=(systems.home, barrier, outcomes)) for _ in range(3)
        ]
        for each in racing:
            each.start()
        answers = sorted((outcomes.get(timeout=60) for _ in racing), key=str)
        for each in racing:
            each.join(60)
        refused = [answer for answer in answers if answer[0] != "started"]
        assert len(refused) == 2
        for policy, until in refused:
            assert policy in ("retraining_cooldown", "one_retraining_at_a_time")
            assert until in (now + DAY, None)
        started = [r for r in systems.store.list(Kind.training_run, MODEL) if r.created_at == now]
        assert [row.status for row in started] == ["failed"]
