"""The state machine: every transition as a table, and what no history of verdicts can make it do."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies.declarations.deployment import Canary
from policies.errors import InputError
from tools.deploy.canary import plan
from tools.deploy.rollout import ENDED, Rollout, Status, wanted
from tools.deploy.transitions import abort, roll_back, transition
from tools.deploy.verdicts import GateVerdict, Verdict, worst

START = datetime(2026, 2, 2)
HOUR = timedelta(hours=1)
NO_SYSTEMS: Any = None
STAGES = [
    {"traffic_pct": 5, "duration": "1h", "gate": "latency_and_errors"},
    {"traffic_pct": 25, "duration": "12h", "gate": "full_metrics"},
    {"traffic_pct": 50, "duration": "24h", "gate": "latency_errors_metrics", "max_wait": "30h"},
    {"traffic_pct": 100, "duration": "stable", "gate": "none"},
]


def pending(auto: bool = True) -> Rollout:
    body = {"type": "canary", "stages": STAGES, "rollback": {"auto": auto, "conditions": ["error_rate > 0.01"]}}
    canary = Canary.model_validate(body)
    return plan(NO_SYSTEMS, canary, strategy="C", model="M", version="2", champion="1", now=START)


def said(verdict: str, breached: tuple[str, ...] = ()) -> GateVerdict:
    return GateVerdict(name="g", verdict=Verdict(verdict), breached=breached)


def at(stage: int, auto: bool = True) -> Rollout:
    """A rollout that has just entered `stage`."""
    state, now = transition(pending(auto), START, None).state, START
    for _ in range(stage):
        duration = state.current.duration
        assert isinstance(duration, timedelta)
        now += duration
        state = transition(state, now, said("pass")).state
    return state


def entered(state: Rollout) -> datetime:
    assert state.current.started_at is not None
    return state.current.started_at


def test_declared_waits() -> None:
    waits = [stage.max_wait for stage in pending().stages]
    assert waits[:3] == [timedelta(hours=24), timedelta(days=7), timedelta(hours=30)]


@pytest.mark.parametrize(
    ("stage", "hours", "verdict", "status", "then"),
    [
        (0, 0.9, "pass", "running", 0),
        (0, 1.0, "pass", "running", 1),
        (0, 1.0, "inconclusive", "running", 0),
        (0, 24.0, "inconclusive", "paused", 0),
        (0, 30.0, "pass", "running", 1),
        (0, 0.1, "fail", "rolled_back", 0),
        (1, 25.0, "inconclusive", "running", 1),
        (1, 168.0, "inconclusive", "paused", 1),
        (2, 30.0, "inconclusive", "paused", 2),
        (2, 24.0, "pass", "promoted", 3),
        (2, -5.0, "pass", "running", 2),
    ],
)
def test_transitions(stage: int, hours: float, verdict: str, status: str, then: int) -> None:
    state = at(stage)
    found = transition(state, entered(state) + hours * HOUR, said(verdict)).state
    assert (found.status, found.stage) == (status, then)


def test_the_traffic_each_state_asks_for() -> None:
    assert wanted(pending()).challenger is None
    running = at(1)
    assert (wanted(running).challenger, wanted(running).challenger_pct) == ("2", 25)
    paused = transition(running, START + timedelta(days=30), said("inconclusive")).state
    assert (paused.status, wanted(paused).challenger_pct) == ("paused", 25)
    promoted = transition(at(2), START + timedelta(days=30), said("pass")).state
    assert (wanted(promoted).champion, wanted(promoted).challenger) == ("2", None)
    assert wanted(roll_back(running, START, "why")).champion == "1"
    assert wanted(abort(running, START, "why")).challenger is None


def test_a_breach_rolls_back_at_any_time_unless_people_decide() -> None:
    breach = said("inconclusive", ("error_rate > 0.01",))
    assert transition(at(1), START + 2 * HOUR, breach).state.status is Status.ROLLED_BACK
    by_hand = transition(at(1, auto=False), START + 2 * HOUR, breach)
    assert by_hand.state.status is Status.PAUSED
    assert [n.severity for n in by_hand.notices] == ["warning"]
    assert transition(by_hand.state, START + 3 * HOUR, breach).notices == ()


def paused(stage: int, auto: bool = True) -> Rollout:
    """A rollout whose gate found nothing for as long as it may."""
    state = at(stage, auto)
    assert isinstance(state.current.max_wait, timedelta)
    found = transition(state, entered(state) + state.current.max_wait, said("inconclusive")).state
    assert found.status is Status.PAUSED
    return found


LATER = START + timedelta(days=30)


def test_a_paused_rollout_whose_gate_passes_goes_on_from_its_stage_and_people_are_told() -> None:
    state = paused(1)
    step = transition(state, LATER, said("pass"))
    assert (step.state.status, step.state.stage, step.state.traffic_pct) == (Status.RUNNING, 2, 50)
    assert (entered(step.state), step.state.reason, step.state.settled) == (LATER, "", False)
    assert [e.event for e in step.state.events[len(state.events) :]] == ["resumed", "gate_passed", "stage"]
    assert [(n.severity, n.text) for n in step.notices] == [
        ("warning", "M: the rollout of version 2, paused at 25%, goes on: gate g passed")
    ]
    last = transition(paused(2), LATER, said("pass"))
    assert (last.state.status, last.state.reason) == (Status.PROMOTED, "")
    assert [n.severity for n in last.notices] == ["warning", "ok"]


def test_a_paused_rollout_waits_as_long_as_its_gate_cannot_tell_and_goes_back_when_it_fails() -> None:
    state = paused(1)
    for verdict in (said("inconclusive"), None):
        waits = transition(state, LATER, verdict)
        assert (waits.state.status, waits.state.events, waits.notices) == (Status.PAUSED, state.events, ())
    for verdict, severity in ((said("fail"), "warning"), (said("pass", ("error_rate > 0.01",)), "critical")):
        back = transition(state, LATER, verdict)
        assert (back.state.status, [n.severity for n in back.notices]) == (Status.ROLLED_BACK, [severity])
    broken = said("pass").model_copy(update={"invalid": "somebody is lost"})
    assert transition(state, LATER, broken).state.status is Status.ABORTED


def test_what_people_were_to_decide_does_not_go_on_by_itself() -> None:
    """Nothing undoes a proof: with no automatic rollback, a condition that held leaves the rollout to people."""
    state = paused(1, auto=False)
    broke = transition(state, LATER, said("pass", ("error_rate > 0.01",)))
    assert (broke.state.status, broke.state.events[-1].event) == (Status.PAUSED, "paused")
    (notice,) = broke.notices
    assert notice.text.startswith("M: the rollout of version 2 is paused at 25%: error_rate > 0.01")
    assert notice.text.endswith("It stays there until a person rolls it back.")
    for verdict in (said("pass"), said("inconclusive"), said("fail")):
        stays = transition(broke.state, LATER + HOUR, verdict)
        assert (stays.state.status, stays.state.events, stays.notices) == (Status.PAUSED, broke.state.events, ())
    assert transition(state, LATER, said("pass")).state.status is Status.RUNNING
    assert roll_back(broke.state, LATER, "a person").status is Status.ROLLED_BACK


def test_people_are_told_what_becomes_of_a_paused_rollout() -> None:
    (notice,) = transition(at(1), LATER, said("inconclusive")).notices
    assert notice.text == (
        "M: the rollout of version 2 is paused at 25%: stage 2 found no conclusive evidence in 7d. "
        "It goes on by itself once its gate passes, and goes back once it fails; a person can roll it back before."
    )


def test_without_a_verdict_nothing_moves_and_what_ended_stays() -> None:
    state = at(1)
    assert transition(state, START + timedelta(days=90), None).state == state
    ended = roll_back(state, START, "why")
    assert transition(ended, START + timedelta(days=90), said("pass")).state == ended
    assert roll_back(ended, START, "again") == ended


def test_prolonging_is_told_once_a_stage() -> None:
    state = at(0)
    for hour in (1, 2, 3):
        state = transition(state, START + hour * HOUR, said("inconclusive")).state
    assert [e.event for e in state.events] == ["started", "prolonged"]


def test_a_lower_limit_is_bad_input() -> None:
    body = {"type": "canary", "stages": STAGES, "rollback": {"conditions": ["error_rate < 0.01"]}}
    with pytest.raises(InputError, match="no upper limit"):
        plan(NO_SYSTEMS, Canary.model_validate(body), strategy="C", model="M", version="2", champion="1", now=START)


def test_the_worst_verdict_wins() -> None:
    assert worst([Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE]) is Verdict.FAIL
    assert worst([Verdict.PASS, Verdict.INCONCLUSIVE]) is Verdict.INCONCLUSIVE
    assert worst([]) is Verdict.PASS


MOMENTS = st.lists(
    st.tuples(st.floats(-5, 200), st.sampled_from(["pass", "inconclusive", "fail", None]), st.booleans()), max_size=40
)


@settings(max_examples=300, deadline=None)
@given(MOMENTS, st.booleans())
def test_nothing_is_promoted_without_a_pass_after_the_full_time_of_every_stage(
    moments: list[tuple[float, str | None, bool]], auto: bool
) -> None:
    state, now = transition(pending(auto), START, None).state, START
    passes: dict[int, timedelta] = {}
    decided_by_people = False
    for hours, verdict, breached in moments:
        now += hours * HOUR
        before = state
        gate = said(verdict, ("error_rate > 0.01",) if breached else ()) if verdict else None
        step = transition(state, now, gate)
        state = step.state
        if before.status in ENDED:
            assert state == before
        if state.stage > before.stage or (state.status is Status.PROMOTED and before.status is not Status.PROMOTED):
            assert verdict == "pass"
            assert not breached
            assert not decided_by_people
            passes[before.stage] = now - entered(before)
        assert state.stage - before.stage <= 1
        failed = verdict is not None and (breached or verdict == "fail") and not before.ended
        decided_by_people = decided_by_people or (failed and not auto)
        if failed:
            assert (wanted(state).challenger is None) == auto
        if before.status is Status.PAUSED and verdict == "pass" and not failed and not decided_by_people:
            over = now - entered(before) >= before.current.duration  # type: ignore[operator]
            assert (state.status is Status.PAUSED) == (not over)
        if decided_by_people:
            assert state.status is Status.PAUSED
        if state.status is not before.status:
            assert state.events[: len(before.events)] == before.events
            assert len(state.events) > len(before.events)
            assert step.notices, "people are told"
        if state.status is not Status.PAUSED and not state.ended:
            assert state.reason == ""
    if state.status is Status.PROMOTED:
        durations = [stage.duration for stage in state.stages[:3]]
        assert all(passes[i] >= d for i, d in enumerate(durations) if isinstance(d, timedelta))
    assert Rollout.model_validate_json(state.model_dump_json()) == state
