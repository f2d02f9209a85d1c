"""Blue-green: both environments warm, a health check, one atomic switch, and the old one at hand until time is up.

The new environment gets a copy of each request while its health is checked; then it answers all of them in its own
process, the old one stays loaded beside it and answers at once whatever the new one fails on. Each also answers alone
at its declared endpoint. Which environment is live is what the split in force says; the first time it is `blue`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from policies.declarations.deployment import BlueGreen
from policies.errors import InputError
from tools.deploy.comparison import Slices
from tools.deploy.evidence import Period, of_requests
from tools.deploy.gates import FAIL_ALPHA, champion_rate, judge, limits, rate
from tools.deploy.harm import harm_conditions
from tools.deploy.rollout import SHORTEST_WAIT, Rollout, StageState
from tools.deploy.verdicts import GateVerdict

if TYPE_CHECKING:
    from tools.systems.systems import Systems

UNHEALTHY = 0.1
"""A health check asks whether it answers at all, not whether it is as good: about forty clean answers pass it."""
HEALTH = "health"


def plan(
    systems: Systems, declared: BlueGreen, *, strategy: str, model: str, version: str, champion: str, now: datetime
) -> Rollout:
    """A pending rollout of two stages: the health check, and all the traffic with the old one at hand."""
    if systems.operations.model(model).prediction_log is None:
        raise InputError("name the table of the prediction log: prediction_log", where=f"models.{model}")
    check = timedelta(seconds=declared.switch.health_check_seconds)
    watch = timedelta(seconds=declared.switch.rollback_timeout_seconds)
    return Rollout(
        strategy=strategy,
        declared=declared,
        model=model,
        version=version,
        champion=champion,
        started_at=now,
        stages=(
            StageState(traffic_pct=0.0, duration=check, gate=HEALTH, max_wait=SHORTEST_WAIT, mirrored=True),
            StageState(traffic_pct=100.0, duration=watch, gate="latency_and_errors", max_wait=SHORTEST_WAIT + watch),
        ),
        conditions=harm_conditions(systems, model),
        environments=_environments(systems, declared, model),
    )


def assess(systems: Systems, state: Rollout, now: datetime) -> GateVerdict:
    """The current stage's gate, on its own evidence. Raises SystemDown, InputError."""
    started = state.current.started_at
    assert started is not None
    if state.current.gate == HEALTH:
        period = Period(state.champion, state.version, (started,), now, variant="shadow")
        errors = _errors(systems, state, period)
        share = errors.k / errors.n if errors.n else None
        measured = rate("error_rate", UNHEALTHY, UNHEALTHY, share, champion_rate(errors), errors, FAIL_ALPHA)
        return GateVerdict(name=HEALTH, verdict=measured.verdict, measurements=(measured,))
    # Since the switch the old one gets no requests, so the limits alone decide. An outage of both is still nobody's
    # fault: what the old one could not answer either is logged as the old one's failure.
    period = Period(state.champion, state.version, (started,), now)
    latency = [each.bound.limit for each in limits(state.current.gate, state.conditions) if "p99" in each.name]
    return judge(state.current.gate, state.conditions, of_requests(systems, state.model, period, latency))


def _errors(systems: Systems, state: Rollout, period: Period) -> Slices:
    """How often the new environment failed: on copies of requests, or where there are none on being asked now."""
    adapter = systems.traffic.adapter(state.model)
    if adapter.mirrors:
        return of_requests(systems, state.model, period, ()).errors
    asked, failed = adapter.health(state.version)
    none = np.zeros(1, np.int64)
    return Slices(np.array([asked]), np.array([failed]), none, none)


def _environments(systems: Systems, declared: BlueGreen, model: str) -> tuple[str, str]:
    """The endpoints of the live environment and of the other."""
    blue, green = declared.environments.blue.endpoint, declared.environments.green.endpoint
    split = systems.traffic.split(model)
    return (green, blue) if split is not None and green in split.endpoints else (blue, green)
