"""Brings a rollout's row, the traffic and the registry together: safe to call twice, to kill and to call late.

The row is written first and says what should be; traffic and aliases follow from it. Whoever finds a row that is not
settled, or a split that is not the row's, finishes the work.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from policies.declarations.base import Severity
from policies.errors import GuardianError, InputError
from tools.deploy.permission import gate_holds
from tools.deploy.rollout import ROLLBACK, Notice, Rollout, Status, Step, share_of, wanted
from tools.deploy.strategies import strategy_of
from tools.deploy.transitions import abort, hold, transition, withdraw
from tools.systems.registry import CHALLENGER, CHAMPION, PREVIOUS
from tools.systems.store import Evidence, StaleRevision

if TYPE_CHECKING:
    from tools.systems.systems import Systems


def state_of(row: Evidence) -> Rollout:
    """The state that a rollout's row holds."""
    return Rollout.model_validate(row.body).model_copy(update={"rollout_id": row.id})


def advance_one(systems: Systems, row: Evidence, now: datetime) -> Rollout:
    """One step of one rollout. Where another reconciler was faster, its step stands. Raises SystemDown, InputError."""
    state = state_of(row)
    if state.status is Status.PENDING:
        return start(systems, row, now)
    step = _step(systems, state, now)
    if step.state != state and _save_first(systems, row, step.state):
        tell(systems, state.model, step.notices)
    return settle(systems, row.id, now)


def start(systems: Systems, row: Evidence, now: datetime) -> Rollout:
    """Fetches the artifact and enters the first stage; aborts where there is none to serve, or its gate has expired."""
    state = state_of(row)
    if (refusal := _refusal(systems, state)) is not None:
        _save_first(systems, row, abort(state, now, refusal))
        return settle(systems, row.id, now)
    name = systems.operations.model(state.model).registry_name
    try:
        fetched, registered = systems.registry.fetch(name, state.version), systems.registry.get(name, state.version)
        if fetched.digest != registered.digest:
            raise InputError("the copy at hand is not the artifact registered; delete it", where=str(fetched.path))
    except GuardianError as error:
        _save_first(systems, row, abort(state, now, f"the artifact cannot be fetched: {error}"))
        settle(systems, row.id, now)
        raise
    _save_first(systems, row, transition(state, now, None).state)
    return settle(systems, row.id, now)


def save(systems: Systems, row: Evidence, state: Rollout) -> Evidence:
    """Writes the next state over the one that was read. Raises StaleRevision where someone else did so already."""
    return systems.store.update(row.id, body=state, status=state.status.value, expected_revision=row.revision)


def settle(systems: Systems, rollout_id: str, now: datetime) -> Rollout:
    """Makes traffic and aliases what the row asks for, traffic first, and says so in the row."""
    while True:
        row = systems.store.get(rollout_id)
        state = state_of(row)
        if not state.settled and _gives_more(systems, state) and (refusal := _refusal(systems, state)) is not None:
            # Written down, not done, and too late now: a process died between the two.
            _save_first(systems, row, withdraw(state, now, refusal))
            continue
        _set_traffic(systems, state, now)
        if state.settled:
            # A row that changed meanwhile asks for other traffic than was just set.
            if systems.store.get(rollout_id).revision == row.revision:
                return state
            continue
        try:
            _set_aliases(systems, state)
        except InputError as error:  # what is served is gone from the registry: nothing there to hold an alias
            said = f"{state.model}: the registry's aliases do not say that {state.champion} serves: {error}"
            tell(systems, state.model, (Notice(severity=Severity.warning, text=said),))
        settled = state.model_copy(update={"settled": True})
        if _save_first(systems, row, settled):
            return settled


def tell(systems: Systems, model: str, notices: tuple[Notice, ...]) -> None:
    """Tells the people declared for the model; a channel that is down never holds up a rollout."""
    for notice in notices:
        for person in _people(systems, model, notice.severity):
            try:
                systems.notifications.notify(person, notice.severity, notice.text)
            except GuardianError as error:
                detail = {"to": person, "text": notice.text, "error": str(error)}
                systems.store.audit("guardian", "notify failed", detail, at=systems.clock.now())


def _step(systems: Systems, state: Rollout, now: datetime) -> Step:
    if state.ended:
        return Step(state=state)
    split = systems.traffic.split(state.model)
    if split is not None and state.settled and split.champion != state.champion:
        why = f"the champion was changed from {state.champion} to {split.champion} by someone else meanwhile"
        aborted = abort(state, now, why).model_copy(update={"champion": split.champion})
        return Step(state=aborted, notices=(Notice(severity=Severity.warning, text=f"{state.model}: {why}"),))
    step = transition(state, now, strategy_of(state).assess(systems, state, now))
    if not state.settled and (step.state.status is Status.PROMOTED or step.state.stage > state.stage):
        return Step(state=state)  # its own share is not known to be in force: that comes first
    if _gives_more(systems, step.state) and (refusal := _refusal(systems, state)) is not None:
        return hold(state, now, refusal)
    return step


def _gives_more(systems: Systems, state: Rollout) -> bool:
    """Whether a state asks for more traffic to its version than the split in force gives it."""
    asked, split = wanted(state), systems.traffic.split(state.model)
    now_given = share_of(state.version, split.champion, split.challenger, split.challenger_pct) if split else 0.0
    return share_of(state.version, asked.champion, asked.challenger, asked.challenger_pct) > now_given


def _refusal(systems: Systems, state: Rollout) -> str | None:
    """Why the gate lets the version have no more traffic now, None where it does."""
    decision = gate_holds(systems, state.model, state.version)
    return None if decision.allowed else "; ".join(decision.reasons)


def _set_traffic(systems: Systems, state: Rollout, now: datetime) -> None:
    asked, split = wanted(state), systems.traffic.split(state.model)
    stray = split is not None and split.challenger == state.version
    if state.ended and state.settled and not stray:
        systems.traffic.restore(state.model, at=now)
        return
    systems.traffic.set(
        state.model,
        asked.champion,
        asked.challenger,
        asked.challenger_pct,
        mirrored=asked.mirrored,
        salt=asked.salt,
        endpoints=asked.endpoints,
        at=now,
        why=_why(state),
        rests_on=state.rollout_id,
    )


def _why(state: Rollout) -> str:
    if state.status in (Status.RUNNING, Status.PAUSED):
        return f"{state.strategy}, stage {state.stage + 1} of {len(state.stages)}"
    ended = state.status.value.replace("_", " ")
    said = f"version {state.version} {ended}" if state.strategy == ROLLBACK else f"{state.strategy} {ended}"
    return f"{said}{': ' + state.reason if state.reason else ''}"


def _set_aliases(systems: Systems, state: Rollout) -> None:
    registry, name = systems.registry, systems.operations.model(state.model).registry_name
    if state.status is Status.RUNNING:
        if registry.alias(name, CHALLENGER) != state.version:
            registry.set_alias(name, CHALLENGER, state.version)
        return
    if state.status is Status.PROMOTED:
        registry.set_alias(name, PREVIOUS, state.champion)
    if state.ended:
        registry.set_alias(name, CHAMPION, wanted(state).champion)
    if state.status in (Status.PROMOTED, Status.ROLLED_BACK):
        # A challenger that lost is archived, or every night would judge and deploy it again.
        if registry.alias(name, CHALLENGER) == state.version:
            registry.delete_alias(name, CHALLENGER)
        registry.tag(name, state.version, "guardian.rollout", f"{state.rollout_id} {state.status.value}")


def _save_first(systems: Systems, row: Evidence, state: Rollout) -> bool:
    """Writes the next state unless another reconciler was faster; its step stands then."""
    try:
        save(systems, row, state)
    except StaleRevision:
        return False
    return True


def _people(systems: Systems, model: str, severity: Severity) -> list[str]:
    operations = systems.operations
    if severity is Severity.ok:
        challenge = operations.challenge_of(model)
        return list(operations.champion_challengers[challenge].promotion.notify) if challenge else []
    key = "critical" if severity is Severity.critical else "warning"
    escalations = [operations.drift_monitors[name].alerts.escalation for name in operations.monitors_of(model)]
    return sorted({person for each in escalations for who, person in each.items() if who == key})
