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
from tools.serving.sla import read_sla
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
        "request_id": [f"{name}-{i}" for i in range(requests)],
        "at": pa.array(at, pa.timestamp("us")),
        "variant": np.where(mine, "champion", "challenger"),
        "error": pa.array(np.where(mine, error, "fell back"), pa.string()),
        "latency_ms": np.full(requests, milliseconds),
    }
    world.systems.warehouse.append(world.systems.operations.model(MODEL).prediction_log or "", pa.table(log), name)


def loaded(world: World, seconds: int, answered: int, refused: bool, name: str) -> None:
    """Whole seconds until now, each of which answered so many requests of two instances, and turned others away."""
    now = world.systems.clock.now()
    rows = [
        (f"{name}-{second}-{i // 2}", now - timedelta(seconds=second, milliseconds=500), "champion", None)
        for second in range(seconds)
        for i in range(2 * answered)
    ]
    if refused:
        rows += [
            (f"{name}-r{second}", now - timedelta(seconds=second, milliseconds=400), "refused", "overloaded")
            for second in range(seconds)
        ]
    ids, at, variant, error = zip(*rows, strict=True)
    log = {
        "request_id": ids,
        "at": pa.array(at, pa.timestamp("us")),
        "variant": variant,
        "error": pa.array(error, pa.string()),
        "latency_ms": np.full(len(rows), 12.0),
    }
    world.systems.warehouse.append(world.systems.operations.model(MODEL).prediction_log or "", pa.table(log), name)


def test_a_request_of_many_instances_is_one_request_of_the_budget(world: World) -> None:
    served(world, 1_000, 0, "fine")
    now = world.systems.clock.now()
    log = {
        "request_id": ["large"] * 200,
        "at": pa.array([now] * 200, pa.timestamp("us")),
        "variant": ["champion"] * 200,
        "error": ["boom"] + [None] * 199,
        "latency_ms": np.full(200, 1e6),
    }
    world.systems.warehouse.append(world.systems.operations.model(MODEL).prediction_log or "", pa.table(log), "large")
    reading = read_sla(world.systems, MODEL, now)
    assert reading is not None
    assert (reading.requests, reading.failed) == (1_001, 1)
    assert reading.latency_p99_ms == 12.0, "one of a thousand was slow"


@pytest.mark.parametrize(
    ("answered", "refused", "called"),
    [(40, False, False), (520, True, False), (40, True, True), (0, True, True)],
    ids=["little traffic", "more asked than promised", "fewer carried than promised", "none carried"],
)
def test_requests_turned_away_below_the_promised_throughput_call_people(
    world: World, answered: int, refused: bool, called: bool
) -> None:
    systems = world.systems
    served(world, 100, 0, "before")
    wait(world, hours=1)
    loaded(world, 60, answered, refused, "load")
    reconcile(systems)
    reconcile(systems)
    alerts = systems.notifications.open(MODEL)
    assert [(each.key, each.calls) for each in alerts] == ([(f"{MODEL}/sla/throughput", 1)] if called else [])
    told = render.status(status(systems))
    assert ("; 60 s short of 500 requests/s" in told) == called
    if called:
        assert alerts[0].severity == "critical"
        told = f"over 1h requests were turned away in 60 seconds that answered {answered} on average"
        assert told in alerts[0].text
        wait(world, hours=2)
        reconcile(systems)
        assert not systems.notifications.open(MODEL)


def test_a_few_broken_seconds_call_nobody(world: World) -> None:
    loaded(world, 9, 40, True, "hiccup")
    reconcile(world.systems)
    assert not world.systems.notifications.open(MODEL)


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
