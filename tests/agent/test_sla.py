"""An SLA's error budget: shown by `status`, and people are called once while it burns."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from agent.cli import render
from agent.reconcile import reconcile
from agent.status import status
from tests.agent.world import MODEL, World
from tools.systems.clock import VirtualClock


def wait(world: World, **passing: float) -> None:
    clock = world.systems.clock
    assert isinstance(clock, VirtualClock)
    clock.set(clock.now() + timedelta(**passing))


def served(world: World, requests: int, failed: int, name: str, milliseconds: float = 12.0) -> None:
    """An hour of requests until now; half of them the challenger's, whose own failures the champion answered."""
    now = world.systems.clock.now()
    at = [now - timedelta(hours=1) * (1 - i / requests) for i in range(1, requests + 1)]
    mine = np.arange(requests) % 2 == 0
    error = np.where(mine & (np.cumsum(mine) <= failed), "boom", None)
    log = {
        "at": pa.array(at, pa.timestamp("us")),
        "variant": np.where(mine, "champion", "challenger"),
        "error": pa.array(np.where(mine, error, "fell back"), pa.string()),
        "latency_ms": np.full(requests, milliseconds),
    }
    world.systems.warehouse.append(world.systems.operations.model(MODEL).prediction_log or "", pa.table(log), name)


def test_a_burning_budget_calls_people_once_and_is_over_when_it_is_over(world: World) -> None:
    systems = world.systems
    served(world, 2_000, 0, "sound")
    reconcile(systems)
    assert not systems.notifications.open(MODEL)
    (shown,) = status(systems).models
    assert shown.sla is not None
    assert (shown.sla.requests, shown.sla.failed, shown.sla.budget_left) == (2_000, 0, 1.0)
    wait(world, hours=1)
    served(world, 2_000, 1_000, "broken")
    reconcile(systems)
    reconcile(systems)
    (alert,) = systems.notifications.open(MODEL)
    assert (alert.key, alert.severity, alert.calls) == (f"{MODEL}/sla", "critical", 1)
    assert "1,000 of 4,000 requests failed in 30 days, 99.9% availability is promised; 0% of the budget" in alert.text
    (shown,) = status(systems).models
    assert shown.sla is not None and shown.sla.budget_left == pytest.approx(-249.0)
    told = render.status(status(systems))
    assert "75.0000% of 4,000 requests answered in 30 days, the error budget is used up; p99 12 of 200 ms" in told
    wait(world, days=4)
    served(world, 2_000, 0, "mended")
    reconcile(systems)
    assert not systems.notifications.open(MODEL)


def test_answers_slower_than_promised_call_people_too(world: World) -> None:
    systems = world.systems
    served(world, 2_000, 0, "fast")
    wait(world, hours=1)
    served(world, 2_000, 0, "slow", milliseconds=340.0)
    reconcile(systems)
    (alert,) = systems.notifications.open(MODEL)
    assert (alert.key, alert.severity) == (f"{MODEL}/sla/latency", "critical")
    assert "99% of the answers are promised within 200 ms; over 1h 100% took longer" in alert.text
