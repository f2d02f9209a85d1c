"""The tool `deploy`: a version that passed its gate into production by a declared strategy, and back out of it."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from policies.declarations import Severity
from policies.declarations.deployment import ABTest, BlueGreen, Canary, Shadow
from policies.errors import GuardianError, InputError, SystemDown
from policies.routing import unroutable
from tools.deploy.permission import add_rollout, require_promotable, require_suitable, serving_version, unfinished
from tools.deploy.reconcile import advance_one, save, settle, start, state_of, tell
from tools.deploy.rollout import ROLLBACK, Event, Notice, Rollout, Status
from tools.deploy.strategies import STRATEGIES
from tools.deploy.transitions import roll_back
from tools.systems.registry import PREVIOUS
from tools.systems.store import Kind, StaleRevision
from tools.systems.tool import Effect, Tool

if TYPE_CHECKING:
    from tools.systems.systems import Systems

__all__ = ["TOOL", "DeployArguments", "RolloutResult", "advance", "rollback", "run"]

RolloutResult = Rollout

SAME_MOMENT = timedelta(minutes=1)
"""Rollbacks of a model that are less apart are one."""


class DeployArguments(BaseModel):
    """Arguments of `deploy`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    strategy: str
    model: str
    version: str


def run(systems: Systems, arguments: DeployArguments) -> RolloutResult:
    """Starts the rollout of a model version by a declared deployment strategy. Refused unless this very version passed
    its quality gate and no other rollout of the model runs. Returns at once with the first stage in force; the stages
    then advance by themselves, each on the evidence of its gate, and roll back by themselves when a condition holds.

    Raises PolicyRefusal; InputError for a version that is unknown, or a strategy that lacks what it compares by (a
    prediction log, a table of outcomes); SystemDown where the artifact cannot be fetched (the rollout is then aborted).
    """
    declared = systems.operations.named("deployment_strategies", arguments.strategy)
    assert isinstance(declared, Canary | Shadow | BlueGreen | ABTest)
    routing = systems.operations.systems.traffic.get(arguments.model)
    for reason in unroutable(arguments.strategy, declared, routing):
        raise InputError(reason, where=f"systems.traffic.{arguments.model}")
    grounds = require_promotable(systems, arguments.model, arguments.version)
    now = systems.clock.now()
    state = STRATEGIES[declared.type].plan(
        systems,
        declared,
        strategy=arguments.strategy,
        model=arguments.model,
        version=arguments.version,
        champion=_champion(systems, arguments.model),
        now=now,
    )
    require_suitable(systems, arguments.model, arguments.strategy, declared)
    return start(systems, add_rollout(systems, state, grounds, now), now)


def advance(systems: Systems, now: datetime) -> list[RolloutResult]:
    """One reconcile step over every model's rollout: gates judged, stages advanced, failures rolled back.

    Returns the rollouts that had not ended before, as they are now. A rollout that cannot be judged keeps its stage and
    does not hold up the others; its error is raised at the end.
    """
    results, errors = [], []
    for model in systems.operations.models:
        row = unfinished(systems, model) or systems.store.latest(Kind.rollout, model)
        if row is None:
            continue
        state = state_of(row)
        try:
            if state.ended:
                settle(systems, row.id, now)
            else:
                results.append(advance_one(systems, row, now))
        except GuardianError as error:
            errors.append(error)
    if errors:
        raise errors[0]
    return results


def rollback(systems: Systems, model: str, why: str) -> RolloutResult:
    """Gives the champion all traffic, now; with no rollout running, the champion before this one.

    Within SAME_MOMENT of a rollback it changes nothing and gives that one: who presses second, or just after the
    Guardian itself, does not take away the champion that was just given all traffic.

    Needs no approval, no budget and, until the traffic has moved, no registry. Raises InputError where there is no
    earlier champion to go back to, it was itself rolled back since, or its artifact is gone.
    """
    systems.operations.model(model)
    while (row := unfinished(systems, model)) is not None:
        state = state_of(row)
        try:
            save(systems, row, roll_back(state, systems.clock.now(), why))
        except StaleRevision:
            continue
        return _gave_back(systems, row.id, state.version, why)
    done = _just_rolled_back(systems, model)
    return _back_to_previous(systems, model, why) if done is None else settle(systems, done, systems.clock.now())


def _just_rolled_back(systems: Systems, model: str) -> str | None:
    """The rollout whose end is the model's latest and was a rollback within SAME_MOMENT; None where there is none."""
    ends = [(state_of(row).events[-1].at, row.number, row) for row in systems.store.list(Kind.rollout, model, limit=20)]
    at, _, row = max(ends, default=(None, 0, None))
    recent = at is not None and timedelta() <= systems.clock.now() - at < SAME_MOMENT
    return row.id if row is not None and recent and row.status == Status.ROLLED_BACK.value else None


def _back_to_previous(systems: Systems, model: str, why: str) -> Rollout:
    now, split = systems.clock.now(), systems.traffic.split(model)
    if split is None:
        raise InputError("no version serves it, there is nothing to roll back", where=model)
    promoted = systems.store.latest(Kind.rollout, model, version=split.champion, status=Status.PROMOTED.value)
    previous = state_of(promoted).champion if promoted else None
    if previous is None:
        previous = systems.registry.alias(systems.operations.model(model).registry_name, PREVIOUS)
    if previous is None or previous == split.champion:
        raise InputError(f"version {split.champion} serves and no champion before it is known", where=model)
    taken_away = systems.store.latest(Kind.rollout, model, version=previous, status=Status.ROLLED_BACK.value)
    if taken_away and (promoted is None or taken_away.number > promoted.number):
        before = f"version {previous}, the champion before version {split.champion}, was itself rolled back by"
        raise InputError(f"{before} {taken_away.id}; evaluate and deploy it to have it again", where=model)
    try:
        with suppress(SystemDown):  # the gateway may hold what cannot be fetched now
            systems.registry.fetch(systems.operations.model(model).registry_name, previous)
    except InputError as error:
        gone = f"version {previous}, the champion before version {split.champion}, cannot serve: {error}"
        raise InputError(gone, where=model) from error
    told = Event(at=now, event=Status.ROLLED_BACK.value, stage=0, traffic_pct=0.0, detail=why)
    state = Rollout(
        strategy=ROLLBACK,
        model=model,
        version=split.champion,
        champion=previous,
        status=Status.ROLLED_BACK,
        started_at=now,
        reason=why,
        stages=(),
        events=(told,),
    )
    row = systems.store.add(
        Kind.rollout,
        model,
        state,
        at=now,
        version=split.champion,
        status=state.status.value,
        rests_on=promoted.id if promoted else None,
    )
    return _gave_back(systems, row.id, split.champion, why)


def _gave_back(systems: Systems, rollout_id: str, version: str, why: str) -> Rollout:
    settled = settle(systems, rollout_id, systems.clock.now())
    text = f"{settled.model}: version {version} was rolled back, {settled.champion} serves all traffic. {why}"
    tell(systems, settled.model, (Notice(severity=Severity.warning, text=text),))
    return settled


def _champion(systems: Systems, model: str) -> str:
    if (champion := serving_version(systems, model)) is None:
        raise InputError("has no champion to compare with; adopt a first one", where=model)
    return champion


TOOL = Tool(
    name="deploy",
    effect=Effect.WRITE,
    arguments=DeployArguments,
    result=RolloutResult,
    run=run,
    references={"strategy": "deployment_strategies", "model": "models"},
)
