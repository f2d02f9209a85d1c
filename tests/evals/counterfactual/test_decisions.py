from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from evals.counterfactual.decisions import decisions
from evals.suite.base import merged
from policies.declarations import Operations, parse
from tools.systems.store import Evidence, Kind

DECLARED = yaml.safe_load((Path(__file__).parents[3] / "evals" / "operations.yaml").read_text())
NIGHT = datetime(2026, 1, 20)
TRIGGER = {"type": "drift_detected", "source": "ChurnDrift"}


def operations(**changes: Any) -> Operations:
    return parse(yaml.safe_dump(merged(DECLARED, changes)), "operations.yaml")


def report(night: int, psi: float, *, p_value: float = 1e-9, severity: str = "warning") -> Evidence:
    check = {
        "type": "data_drift", "method": "psi", "subject": "spend_30d", "value": psi, "threshold": 0.2,
        "p_value": p_value, "severity": severity, "detail": "",
    }  # fmt: skip
    return row(Kind.drift_report, night, {"monitor": "ChurnDrift", "checks": [check]})


def evaluation(improvement: float, auc: float) -> Evidence:
    checks = [
        {"name": "auc_roc", "value": auc, "threshold": "> 0.80", "verdict": "passed" if auc > 0.8 else "failed"},
        {"name": "latency_ms", "value": 3.0, "threshold": "<= 200", "verdict": "passed"},
    ]
    body = {
        "challenge": "ChurnChallenger", "weighted_improvement": improvement, "interval": [0.01, 0.09],
        "contributions": [{"relative": 0.1}], "gate": {"checks": checks}, "challenger": {"metrics": {"auc_roc": auc}},
    }  # fmt: skip
    return row(Kind.evaluation, 0, body)


def row(kind: Kind, night: int, body: dict[str, Any]) -> Evidence:
    return Evidence(
        id=f"{kind.value}-{night}", kind=kind, model="ChurnModel", version=None, status=None,
        created_at=NIGHT + timedelta(days=night), rests_on=None, revision=1, body=body,
    )  # fmt: skip


def what(rows: list[Evidence], declared: Operations) -> list[str]:
    return [each.what for each in decisions(rows, declared)]


def with_threshold(threshold: float) -> Operations:
    monitors = [{**DECLARED["drift_monitors"]["ChurnDrift"]["monitors"][0], "threshold": threshold}]
    return operations(drift_monitors={"ChurnDrift": {"monitors": monitors}})


def test_another_threshold_changes_which_nights_retrain() -> None:
    rows = [report(0, 0.15, severity="ok"), report(2, 0.35), report(4, 0.15, p_value=0.4, severity="ok")]
    assert what(rows, operations()) == ["quiet", "retrain", "quiet"]
    assert what(rows, with_threshold(0.1)) == ["retrain", "retrain", "quiet"], "noise stays noise"
    assert what(rows, with_threshold(0.4)) == ["quiet", "quiet", "quiet"]


def test_a_cooldown_counts_from_the_retrainings_it_would_have_started_itself() -> None:
    rows = [report(night, 0.35) for night in range(4)]
    trigger = {"type": "drift_detected", "source": "ChurnDrift", "cooldown_hours": 48}
    longer = operations(retraining_pipelines={"ChurnRetrain": {"triggers": [trigger]}})
    held = "no retraining (retraining_cooldown)"
    assert what(rows, operations()) == ["retrain"] * 4
    assert what(rows, longer) == ["retrain", held, "retrain", held]


def test_another_margin_or_gate_changes_the_verdict() -> None:
    evaluations = [evaluation(0.03, 0.83)]
    strict = operations(quality_gates={"ChurnGate": {"metrics": {"auc_roc": "> 0.85"}}})
    margin = {"ChurnChallenger": {"evaluation": {"min_weighted_improvement": 0.05}}}
    assert what(evaluations, operations()) == ["challenger_wins, gate passed"]
    assert what(evaluations, strict) == ["challenger_wins, gate failed"]
    assert what(evaluations, operations(champion_challengers=margin)) == ["tie"]


def night(number: int, *, skipped: str | None = None, policy: str | None = None, status: str = "finished") -> Evidence:
    """The run of a night whose retraining began, or was refused by a rule."""
    facts = {"started": skipped is None, "skipped_because": skipped, "policy": policy}
    step = {"call": {"name": "retrain", "arguments": {}}, "status": "done", "facts": facts}
    body = {
        "planner": "runbook", "because": "nightly triage", "models": ["ChurnModel"],
        "measured": {"ChurnModel": {"drift": [{"report_id": report(number, 0.35).id}]}},
        "conversations": {} if status == "waiting" else {"t": {"model": "ChurnModel", "steps": [step]}},
        "done": {"ChurnModel": {"status": status, "outcome": "rollout-1 is running"}},
    }  # fmt: skip
    return row(Kind.run, number, body)


def test_what_held_a_night_back_holds_it_back_here_too_and_starts_no_cooldown() -> None:
    reports = [report(number, 0.35) for number in range(5)]
    runs = [
        night(0, skipped="nothing_to_learn_yet: the drift began on 2026-01-19"),
        night(1, skipped="rollout-0 is still running", policy="no_retraining_during_rollout"),
        night(2),
        night(3, skipped="the last run started 2026-01-22", policy="retraining_cooldown"),
        night(4, status="waiting"),
    ]
    none = operations(retraining_pipelines={"ChurnRetrain": {"triggers": [{**TRIGGER, "cooldown_hours": 0}]}})
    longer = operations(retraining_pipelines={"ChurnRetrain": {"triggers": [{**TRIGGER, "cooldown_hours": 72}]}})
    held = ["no retraining (nothing_to_learn_yet)", "no retraining (no_retraining_during_rollout)"]
    assert what([*reports, *runs], none) == [*held, "retrain", "retrain", "no retraining (waiting)"]
    cooldown = "no retraining (retraining_cooldown)"
    assert what([*reports, *runs], longer) == [*held, "retrain", cooldown, "no retraining (waiting)"]
