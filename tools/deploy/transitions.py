"""The rollout as a state machine: a pure step from (state, time, gate verdict) to the next state.

::

    pending ──► running (stage 0 … n-1) ──► promoted
       │           │    ▲   │
       │           │    └───┘ gate inconclusive: prolonged, up to max_wait
       ▼           ├──► paused        waited too long, or a condition holds and rollback is not automatic
    aborted ◄──────┤                  the comparison itself is broken
                   └──► rolled_back   a condition holds, the challenger lost, or a person says so (from paused too)

A stage ends only when its duration has passed *and* its gate passed; a stage that is `early` as soon as it passed. A
rollout that waited too long goes on from its stage once the gate passes; one that people are to decide on does not, for
no later evidence undoes a proof. The traffic that a state asks for follows from the state alone (`wanted`), so that a
reconcile step after a crash brings both together again.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from policies.declarations.base import Severity, show_duration
from tools.deploy.rollout import Event, Notice, Rollout, Status, Step
from tools.deploy.verdicts import GateVerdict, Verdict


def transition(state: Rollout, now: datetime, gate: GateVerdict | None) -> Step:
    """One step at `now` on the verdict of the current stage's gate; None where nothing was judged.

    At most one gated stage a step: the next needs evidence of its own. Without a verdict nothing is ever promoted.
    """
    if state.ended:
        return Step(state=state)
    if state.status is Status.PENDING:
        return Step(state=_enter(state, 0, now, "started"))
    if gate is None:
        return Step(state=state)
    state = _judged(state, gate)
    if gate.invalid:
        text = (
            f"{state.model}: the rollout of version {state.version} was aborted, {state.champion} serves all traffic. "
        )
        notice = Notice(severity=Severity.warning, text=text + gate.invalid)
        return Step(state=_end(state, Status.ABORTED, now, gate.invalid, gate), notices=(notice,))
    if gate.breached or gate.verdict is Verdict.FAIL:
        return _breach(state, now, gate)
    if _left_to_people(state):
        return Step(state=state)
    stage = state.current
    assert stage.started_at is not None
    elapsed = now - stage.started_at
    over = not isinstance(stage.duration, timedelta) or elapsed >= stage.duration
    if gate.verdict is Verdict.PASS and (over or stage.early):
        return _next(state, now, gate)
    if not over or state.status is Status.PAUSED:
        return Step(state=state)
    if elapsed >= stage.max_wait and stage.undecided == "keep_champion":
        return _keep_champion(state, now, gate)
    if elapsed >= stage.max_wait:
        return _undecided(state, now, gate)
    if not any(each.event == "prolonged" and each.stage == state.stage for each in state.events):
        state = _told(state, now, "prolonged", f"not conclusive yet: {_open(gate)}", gate)
    return Step(state=state)


def roll_back(state: Rollout, now: datetime, why: str, gate: GateVerdict | None = None) -> Rollout:
    """The state after the champion took over again; an ended rollout stays as it is."""
    return _end(state, Status.ROLLED_BACK, now, why, gate)


def abort(state: Rollout, now: datetime, why: str) -> Rollout:
    """The state of a rollout that could not go on for a reason that is not the challenger's."""
    return _end(state, Status.ABORTED, now, why, None)


def hold(state: Rollout, now: datetime, why: str) -> Step:
    """The state that keeps its share because no larger one is allowed now; people are told once a stage."""
    if any(each.event == "held" and each.stage == state.stage for each in state.events):
        return Step(state=state)
    text = f"{state.model}: the rollout of version {state.version} stays at {state.traffic_pct:g}%: {why}"
    return Step(state=_told(state, now, "held", why), notices=(Notice(severity=Severity.warning, text=text),))


def withdraw(state: Rollout, now: datetime, why: str) -> Rollout:
    """The state of a rollout whose last step was written down, never took effect, and is not allowed any more."""
    update = {"status": Status.ABORTED, "traffic_pct": 0.0, "reason": why, "settled": False}
    return _told(state.model_copy(update=update), now, Status.ABORTED.value, why)


def _enter(state: Rollout, stage: int, now: datetime, event: str, gate: GateVerdict | None = None) -> Rollout:
    entered = state.stages[stage].model_copy(update={"started_at": now})
    stages = (*state.stages[:stage], entered, *state.stages[stage + 1 :])
    update = {
        "status": Status.RUNNING,
        "stage": stage,
        "traffic_pct": entered.traffic_pct,
        "stages": stages,
        "settled": False,
    }
    share = "a copy of each request" if entered.mirrored else f"{entered.traffic_pct:g}%"
    where = f"stage {stage + 1} of {len(stages)}: {share} to version {state.version}"
    return _told(state.model_copy(update=update), now, event, where, gate)


def _next(state: Rollout, now: datetime, gate: GateVerdict) -> Step:
    notices: tuple[Notice, ...] = ()
    said = f"gate {gate.name} passed"
    if state.status is Status.PAUSED:
        text = f"the rollout of version {state.version}, paused at {state.traffic_pct:g}%, goes on: {said}"
        notices = (Notice(severity=Severity.warning, text=f"{state.model}: {text}"),)
        resumed = state.model_copy(update={"status": Status.RUNNING, "reason": ""})
        state = _told(resumed, now, "resumed", f"it was paused: {state.reason}", gate)
    passed = _told(state, now, "gate_passed", said, gate)
    if state.stage + 1 < len(state.stages):
        passed = _enter(passed, state.stage + 1, now, "stage")
        if not passed.current.needs_no_time or passed.stage + 1 < len(passed.stages):
            return Step(state=passed, notices=notices)
    done = passed.model_copy(update={"status": Status.PROMOTED, "traffic_pct": 100.0, "settled": False})
    done = _told(done, now, "promoted", f"version {state.version} is the champion, {state.champion} stays at hand")
    text = f"{state.model}: version {state.version} was promoted by {state.strategy} in place of {state.champion}"
    return Step(state=done, notices=(*notices, Notice(severity=Severity.ok, text=text)))


def _breach(state: Rollout, now: datetime, gate: GateVerdict) -> Step:
    failed = [each for each in gate.measurements if each.verdict is Verdict.FAIL]
    numbers = "; ".join(
        f"{each.name} beyond {each.limit:g}: {each.detail}" if each.limit is not None else f"{each.name}: {each.detail}"
        for each in failed
        if each.asked or gate.breached
    )
    why = f"{' and '.join(gate.breached) or gate.name}: {numbers}"
    if not state.auto_rollback:
        if _left_to_people(state):
            return Step(state=state)
        return _pause(state, now, gate, why, "It stays there until a person rolls it back.")
    said = f"version {state.version} was rolled back, {state.champion} serves all traffic"
    if state.current.mirrored:
        said = f"version {state.version} is not taken, nobody got its answers; {state.champion} stays"
    lost_only = not gate.breached and all(each.limit is None for each in failed)
    severity = Severity.warning if state.current.mirrored or lost_only else Severity.critical
    notice = Notice(severity=severity, text=f"{state.model}: {said}. {why}")
    return Step(state=roll_back(state, now, why, gate), notices=(notice,))


def _keep_champion(state: Rollout, now: datetime, gate: GateVerdict) -> Step:
    assert isinstance(state.current.max_wait, timedelta)
    why = f"undecided after {show_duration(state.current.max_wait)}, as declared: {_open(gate)}"
    text = f"{state.model}: version {state.version} is not taken, {state.champion} serves all traffic. {why}"
    notice = Notice(severity=Severity.warning, text=text)
    return Step(state=roll_back(state, now, why, gate), notices=(notice,))


def _undecided(state: Rollout, now: datetime, gate: GateVerdict) -> Step:
    assert isinstance(state.current.max_wait, timedelta)
    why = f"stage {state.stage + 1} found no conclusive evidence in {show_duration(state.current.max_wait)}"
    back = ", and goes back once it fails" if state.auto_rollback else ""
    return _pause(
        state, now, gate, why, f"It goes on by itself once its gate passes{back}; a person can roll it back before."
    )


def _left_to_people(state: Rollout) -> bool:
    """Whether it was paused because a condition held."""
    if state.status is not Status.PAUSED:
        return False
    gate = next(each.gate for each in reversed(state.events) if each.event == "paused")
    return gate is not None and (bool(gate.breached) or gate.verdict is Verdict.FAIL)


def _pause(state: Rollout, now: datetime, gate: GateVerdict, why: str, then: str) -> Step:
    paused = state.model_copy(update={"status": Status.PAUSED, "reason": why})
    paused = _told(paused, now, "paused", f"{why}; {_open(gate)}" if _open(gate) else why, gate)
    text = (
        f"{state.model}: the rollout of version {state.version} is paused at {state.traffic_pct:g}%: {why}. "
        f"{then} {_open(gate)}"
    )
    return Step(state=paused, notices=(Notice(severity=Severity.warning, text=text.strip()),))


def _end(state: Rollout, status: Status, now: datetime, why: str, gate: GateVerdict | None) -> Rollout:
    if state.ended:
        return state
    ended = state.model_copy(update={"status": status, "traffic_pct": 0.0, "reason": why, "settled": False})
    return _told(ended, now, status.value, why, gate)


def _judged(state: Rollout, gate: GateVerdict) -> Rollout:
    judged = state.current.model_copy(update={"last_gate": gate})
    stages = (*state.stages[: state.stage], judged, *state.stages[state.stage + 1 :])
    return state.model_copy(update={"stages": stages, "last_gate": gate})


def _told(state: Rollout, now: datetime, event: str, detail: str, gate: GateVerdict | None = None) -> Rollout:
    told = Event(at=now, event=event, stage=state.stage, traffic_pct=state.traffic_pct, detail=detail, gate=gate)
    return state.model_copy(update={"events": (*state.events, told)})


def _open(gate: GateVerdict) -> str:
    open_ones = [f"{e.name}: {e.detail}" for e in gate.measurements if e.asked and e.verdict is Verdict.INCONCLUSIVE]
    return "; ".join([*([gate.detail] if gate.detail else []), *open_ones])
