"""The canary: a rising share of the traffic, each stage judged against the champion before the next."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from policies.declarations.deployment import Canary
from tools import tasks
from tools.deploy.evidence import Period, of_requests, with_labels
from tools.deploy.gates import judge, limits
from tools.deploy.rollout import Rollout, StageState
from tools.deploy.verdicts import GateVerdict

if TYPE_CHECKING:
    from tools.systems.systems import Systems


def plan(
    _: Systems, canary: Canary, *, strategy: str, model: str, version: str, champion: str, now: datetime
) -> Rollout:
    """A pending rollout; what is declared now holds for all of it. Raises InputError for a lower limit."""
    for stage in canary.stages:
        limits(stage.gate_name, canary.rollback.conditions, stage.requires)
    return Rollout(
        strategy=strategy,
        declared=canary,
        model=model,
        version=version,
        champion=champion,
        started_at=now,
        stages=tuple(StageState.declared(each) for each in canary.stages),
        auto_rollback=canary.rollback.auto,
        conditions=tuple(canary.rollback.conditions),
    )


def assess(systems: Systems, state: Rollout, now: datetime) -> GateVerdict:
    """The current stage's gate on everything seen since the first stage began. Raises SystemDown, InputError."""
    gate, requires = state.current.gate, state.current.requires
    starts = tuple(each.started_at for each in state.stages if each.started_at is not None)
    period = Period(champion=state.champion, challenger=state.version, stages=starts, until=now)
    degradation = _degradation(systems, state.model)
    measured = limits(gate, state.conditions, requires, degradation)
    latency = [each.bound.limit for each in measured if each.name == "p99_latency_ms"]
    seen = of_requests(systems, state.model, period, latency)
    found = judge(gate, state.conditions, seen, requires, degradation)
    # A challenger that fails its requests goes at once: no label could bring it back.
    if found.breached:
        return found
    return judge(gate, state.conditions, with_labels(systems, state.model, period, seen), requires, degradation)


def _degradation(systems: Systems, model: str) -> str:
    """What is measured of the labels of a model of its task."""
    return tasks.of(systems.operations.model(model).task).degradation
