"""The seed's four declarations, as SimShop has them, each planned as a rollout."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from policies.declarations import load
from tools.deploy.rollout import Rollout, Wanted, wanted
from tools.deploy.strategies import STRATEGIES, strategy_of
from tools.deploy.transitions import transition

OPERATIONS = Path(__file__).parents[3] / "evals" / "operations.yaml"
NOW = datetime(2026, 2, 2)
OUTCOME = {"table": "offers", "id": "customer_id", "time": "offered_at", "value": "accepted", "arrived": "known_at"}


def planned(name: str, live: dict[str, str] | None = None) -> Rollout:
    operations = load(OPERATIONS)
    binding = operations.model("ChurnModel")
    outcomes = {"intervention_conversion_rate": type(binding.labels).model_validate(OUTCOME)}
    models = {"ChurnModel": binding.model_copy(update={"outcomes": outcomes})}
    split = SimpleNamespace(endpoints=live) if live is not None else None
    systems: Any = SimpleNamespace(
        operations=operations.model_copy(update={"models": models}), traffic=SimpleNamespace(split=lambda _: split)
    )
    declared = operations.deployment_strategies[name]
    plan = STRATEGIES[declared.type].plan(
        systems, declared, strategy=name, model="ChurnModel", version="4", champion="3", now=NOW
    )
    assert strategy_of(Rollout.model_validate_json(plan.model_dump_json())) is STRATEGIES[declared.type]
    return plan


def first_traffic(plan: Rollout) -> Wanted:
    return wanted(transition(plan, NOW, None).state)


def test_every_declared_type_has_a_strategy() -> None:
    assert {each.type for each in load(OPERATIONS).deployment_strategies.values()} == set(STRATEGIES)


def test_canary() -> None:
    plan = planned("CanaryDeploy")
    assert [stage.traffic_pct for stage in plan.stages] == [5, 10, 25, 50, 100]
    assert first_traffic(plan) == Wanted(champion="3", challenger="4", challenger_pct=5)


def test_shadow() -> None:
    (stage,) = planned("ShadowDeploy").stages
    assert (stage.traffic_pct, stage.duration, stage.max_wait) == (0, timedelta(days=7), timedelta(days=21))
    assert first_traffic(planned("ShadowDeploy")) == Wanted(champion="3", challenger="4", mirrored=True)


@pytest.mark.parametrize(
    ("live", "environments"),
    [
        (None, ("blue", "green")),
        ({}, ("blue", "green")),
        ({"/v1/churn/predict-green": "3"}, ("green", "blue")),
        ({"/v1/churn/predict-blue": "3"}, ("blue", "green")),
    ],
)
def test_blue_green(live: dict[str, str] | None, environments: tuple[str, str]) -> None:
    plan = planned("BlueGreenDeploy", live)
    health, watch = plan.stages
    assert (health.mirrored, health.traffic_pct, health.duration) == (True, 0, timedelta(seconds=30))
    assert (watch.mirrored, watch.traffic_pct, watch.duration) == (False, 100, timedelta(seconds=300))
    assert plan.conditions == ("error_rate > 0.01", "p99_latency_ms > 200.0"), "the promised latency"
    theirs, ours = (f"/v1/churn/predict-{colour}" for colour in environments)
    assert first_traffic(plan).endpoints == {theirs: "3", ours: "4"}


def test_ab_test() -> None:
    plan, other = planned("ABTestDeploy"), planned("ABTestDeploy")
    (stage,) = plan.stages
    assert (stage.traffic_pct, stage.duration, stage.early) == (50, timedelta(days=14), True)
    assert stage.undecided == "keep_champion"
    assert plan.salt == other.salt != ""
    assert first_traffic(plan).salt == plan.salt
