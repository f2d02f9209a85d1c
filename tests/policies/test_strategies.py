"""When to use which strategy: what cannot work is refused with a reason, and what would suit is known."""

from __future__ import annotations

from typing import Any

import pytest

from policies.declarations import load
from policies.declarations.binding import ModelBinding
from policies.declarations.deployment import Canary
from policies.strategies import StrategyFacts, may_use_strategy, suitable
from tests.policies.test_seed_declarations import SIMSHOP

STRATEGIES = load(SIMSHOP).deployment_strategies
BINDING = load(SIMSHOP).models["ChurnModel"]
LABELLED, UNLABELLED = StrategyFacts(labelled=True), StrategyFacts(labelled=False)


def canary(*stages: dict[str, Any], conditions: tuple[str, ...] = ()) -> Canary:
    stages = (*stages, {"traffic_pct": 100, "duration": "stable", "gate": "none"})
    return Canary.model_validate({"type": "canary", "stages": stages, "rollback": {"conditions": conditions}})


def reason(declared: Any, facts: StrategyFacts = LABELLED, **changes: Any) -> str:
    binding = ModelBinding.model_validate({**BINDING.model_dump(), **changes})
    decision = may_use_strategy("Mine", declared, binding, facts)
    assert decision.allowed == (not decision.reasons)
    return "; ".join(decision.reasons)


def test_without_labels_nothing_that_compares_by_labels() -> None:
    assert "no label of ml_labels.churn_actuals has arrived" in reason(STRATEGIES["CanaryDeploy"], UNLABELLED)
    assert "stage at 10% (latency_errors_metrics)" in reason(STRATEGIES["CanaryDeploy"], UNLABELLED)
    assert "nobody wins on auc_roc, f1" in reason(STRATEGIES["ShadowDeploy"], UNLABELLED)
    assert "AUC" in reason(canary({"traffic_pct": 5, "duration": "1h", "gate": ["auc_degradation < 2%"]}), UNLABELLED)
    assert reason(canary({"traffic_pct": 5, "duration": "1h", "gate": "latency_and_errors"}), UNLABELLED) == ""
    assert reason(canary({"traffic_pct": 5, "duration": "1h", "gate": ["error_rate < 2%"]}), UNLABELLED) == ""


def test_a_limit_on_what_another_task_measures_is_refused() -> None:
    gated = canary({"traffic_pct": 5, "duration": "1h", "gate": ["error_rate < 2%", "auc_degradation < 2%"]})
    assert reason(gated) == ""
    wanted = "Mine: auc_degradation is not measured of a regression model; write mae_increase"
    assert reason(gated, task="regression") == wanted
    named = canary({"traffic_pct": 5, "duration": "1h", "gate": "full_metrics"})
    assert reason(named, task="multiclass") == ""
    assert "compares the accuracy" in reason(named, UNLABELLED, task="multiclass")


def test_a_high_risk_model_goes_by_a_shadow() -> None:
    assert "deploy it by a shadow" in reason(STRATEGIES["CanaryDeploy"], risk="high")
    assert suitable(STRATEGIES, BINDING.model_copy(update={"risk": "high"}), LABELLED) == ["ShadowDeploy"]


def test_a_canary_needs_something_that_could_stop_it() -> None:
    bare = {"traffic_pct": 5, "duration": "1h", "gate": "none"}
    assert "nothing could stop a bad version" in reason(canary(bare))
    assert reason(canary(bare, conditions=("error_rate > 1%",))) == ""
    assert reason(canary(), prediction_log=None) == "", "without requests no stage can be judged"


def test_an_ab_test_needs_what_it_decides_by() -> None:
    assert "outcomes do not name its table (none are declared)" in reason(STRATEGIES["ABTestDeploy"], outcomes={})
    assert {"CanaryDeploy", "ShadowDeploy", "BlueGreenDeploy"} <= set(suitable(STRATEGIES, BINDING, LABELLED))


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("error_rate > 0.01", "write error_rate <= LIMIT"),
        ("error_rate < 1% or p99_latency_ms < 300", "all of a gate's conditions must hold"),
        ("recall < 0.5", "not measured"),
    ],
)
def test_a_gate_of_conditions_that_cannot_be_asked_is_refused(text: str, right: str) -> None:
    with pytest.raises(ValueError, match=right):
        canary({"traffic_pct": 5, "duration": "1h", "gate": [text]})
