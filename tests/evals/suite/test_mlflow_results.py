from __future__ import annotations

from pathlib import Path

import pytest

from evals.suite.mlflow_results import log_results
from evals.suite.results import EvalResult, ScenarioResult


def played(name: str, planner: str, *, passed: bool) -> ScenarioResult:
    return ScenarioResult(
        name=name,
        source="live",
        planner=planner,
        passed=passed,
        failures=[] if passed else ["end: ChurnModel.champion is 1, wanted 2"],
        by_grader={"end": int(not passed), "forbidden": 0, "trajectory": 0, "limits": 0, "planner": 0},
        llm_calls=0,
        tokens=0,
        cost_usd=0.0,
        seconds=1.0,
    )


def test_each_way_of_playing_is_a_run_with_a_score_for_each_grader(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    scenarios = [
        played("a", "runbook", passed=True),
        played("b", "runbook", passed=False),
        *(played(name, "runbook", passed=True).model_copy(update={"attempt": 2}) for name in "ab"),
        played("a", "loops", passed=False),
        played("b", "loops", passed=False).model_copy(update={"by_grader": {}}),  # it crashed
    ]
    runbook, loops = (MlflowClient(uri).get_run(run).data for run in log_results(EvalResult(scenarios=scenarios), uri))
    assert (runbook.params["planner"], loops.params["planner"]) == ("runbook", "loops")
    assert runbook.params["scenarios"] == loops.params["scenarios"] == "a, b"
    assert runbook.metrics["end/mean"] == runbook.metrics["passed/mean"] == 0.75
    assert (runbook.metrics["pass_power_1"], runbook.metrics["pass_power_2"]) == (0.75, 0.5)
    assert (loops.metrics["passed"], loops.metrics["forbidden/mean"]) == (0, 0.5)
