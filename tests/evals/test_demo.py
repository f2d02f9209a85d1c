"""The demo with nobody watching, on a small shop, and the command line on the shop that it leaves behind."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent.cli.app import run as guardian
from evals.demo.result import DemoResult
from evals.demo.run import run_demo

Cli = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> DemoResult:
    """Seven weeks without the agent."""
    folder = tmp_path_factory.mktemp("demo") / "shop"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns about its own type hints while it is imported
        return run_demo(folder, 20, None, lambda line: None, customers=4_000)


@pytest.fixture
def cli(demo: DemoResult, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Calls the command line on the demo's shop with --json: its exit code, and the one document it printed."""
    operations = Path(demo.report).parent / "operations.yaml"

    def call(*arguments: str) -> tuple[int, dict[str, Any]]:
        capsys.readouterr()
        code = guardian([*arguments, "--operations", str(operations), "--json"])
        document: dict[str, Any] = json.loads(capsys.readouterr().out)
        return code, document

    return call


def test_with_nobody_watching_the_model_decays_and_nothing_tells(demo: DemoResult) -> None:
    outcome = demo.outcome
    assert not demo.with_agent
    assert (outcome.deploy_strategy, outcome.deploy_health, outcome.drift_detection) == ("manual", "unmonitored", None)
    assert (outcome.drift_detected, outcome.retrained) == (False, False)
    assert (outcome.verdict, outcome.gate, outcome.rollout_status, outcome.stages) == (None, None, None, [])
    assert outcome.serving_version == "1"
    assert len(outcome.live_auc) >= 5
    assert outcome.live_auc[-1].auc < outcome.model_auc - 0.03, "quietly wrong"
    assert all(each.auc == each.without for each in outcome.live_auc)
    assert outcome.flagged.customers == 200
    assert (demo.budget.cost_usd, demo.budget.tokens, demo.budget.llm_calls) == (0, 0, 0)
    assert "<html" in Path(demo.report).read_text(encoding="utf-8")


def test_a_version_without_a_passed_gate_is_refused(cli: Cli) -> None:
    code, document = cli("deploy", "CanaryDeploy", "--model", "ChurnModel", "--version", "1")
    assert code == 3
    assert set(document) == {"error"}
    assert set(document["error"]) == {"kind", "message", "where"}
    assert document["error"]["kind"] == "policy"
    assert "promotion_needs_passed_gate" in document["error"]["message"]


def test_the_looking_commands_print_one_document(cli: Cli) -> None:
    code, status = cli("status")
    assert code == 0
    (model,) = status["models"]
    assert (model["model"], model["serving_version"], model["deploy_strategy"]) == ("ChurnModel", "1", "manual")
    assert (model["deploy_health"], model["drift_detection"]) == ("unmonitored", None)

    code, why = cli("why", "ChurnModel")
    assert code == 0
    assert [each["kind"] for each in why["chain"]] == ["traffic_change", "training_run"]

    code, runs = cli("runs")
    assert (code, runs) == (0, {"runs": []})

    code, validation = cli("validate")
    assert code == 0
    assert validation["models"] == ["ChurnModel"]

    code, schema = cli("schema")
    assert code == 0
    assert "drift_monitors" in schema["properties"]

    code, kpis = cli("kpis", "ChurnKPIs")
    assert code == 0
    assert {each["kpi"] for each in kpis["readings"]} == {"churn_rate", "intervention_roi", "net_revenue_retention"}


def test_a_look_finds_the_drift_that_nobody_looked_for(cli: Cli) -> None:
    code, report = cli("check-drift", "ChurnDrift")
    assert code == 0
    assert report["drift_detected"] is True
    assert report["severity"] in ("warning", "critical")


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("deploy", "CanaryDeploy"), "usage"),
        (("no-such-command",), "usage"),
        (("runs", "--limit", "none"), "usage"),
        (("check-drift", "NoSuchMonitor"), "input"),
        (("why", "NoSuchModel"), "input"),
        (("deploy", "CanaryDeploy", "--model", "ChurnModel", "--version", "99"), "input"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_a_mistake_on_the_command_line_exits_with_2_and_says_what(
    cli: Cli, arguments: tuple[str, ...], kind: str
) -> None:
    code, document = cli(*arguments)
    assert code == 2
    assert set(document) == {"error"}
    assert document["error"]["kind"] == kind
    assert document["error"]["message"]
