from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from evals.counterfactual.decisions import UNREADABLE, decisions
from evals.counterfactual.unasked import unasked
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


CHECKS = [
    {"name": "holdout_rows", "value": 5000.0, "threshold": ">= 1000", "verdict": "passed"},
    {"name": "auc_roc", "value": 0.83, "threshold": "> 0.80", "verdict": "passed"},
    {"name": "improvement:auc_roc", "value": 0.03, "threshold": ">= 0.01", "verdict": "passed"},
    {"name": "data_quality_pass_rate", "value": 0.97, "threshold": ">= 0.95", "verdict": "passed"},
    {"name": "segment:market=EU", "value": 0.02, "threshold": "<= 0.05 below champion", "verdict": "passed"},
    {"name": "segment:channel=web", "value": -0.02, "threshold": "<= 0.05 below champion", "verdict": "passed"},
    {"name": "calibration_error", "value": 0.01, "threshold": "<= 0.05", "verdict": "passed"},
    {"name": "latency_ms", "value": 3.0, "threshold": "<= 200", "verdict": "passed"},
    {"name": "model_size_mb", "value": 0.2, "threshold": "<= 50", "verdict": "passed"},
    {"name": "artifact_replays", "value": 0.0, "threshold": "<= 1e-06", "verdict": "passed"},
]
"""What SimShop's gate asks."""


def evaluation(improvement: float, auc: float, **changed: dict[str, Any]) -> Evidence:
    """With every check of the gate, `changed` by the check's name."""
    found = {"auc_roc": {"value": auc, "verdict": "passed" if auc > 0.8 else "failed"}, **changed}
    checks = [each | found.get(str(each["name"]), {}) for each in CHECKS]
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


@pytest.mark.parametrize(
    ("gate", "ends", "why"),
    [
        ({}, "passed", ""),
        ({"max_latency_ms": 2}, "failed", "latency_ms 3, wanted <= 2"),
        ({"max_model_size_mb": 0.1}, "failed", "model_size_mb 0.2, wanted <= 0.1"),
        ({"data_quality_pass_rate": 1.0}, "failed", "data_quality_pass_rate 0.97, wanted >= 1"),
        ({"min_rows": 6000}, "inconclusive", "holdout_rows 5000, wanted >= 6000"),
        ({"segments": {"columns": ["market"], "max_degradation": 0.01}}, "inconclusive", "segment:market=EU 0.02"),
        ({"segments": {"columns": ["plan"]}}, "inconclusive", "segment:plan not measured then"),
        ({"metrics": {"f1": "> 0.3"}}, "inconclusive", "f1 not measured on these rows, wanted > 0.3"),
    ],
)
def test_every_declared_bound_of_a_gate_is_asked_again(gate: dict[str, Any], ends: str, why: str) -> None:
    [decided] = decisions([evaluation(0.03, 0.83)], operations(quality_gates={"ChurnGate": gate}))
    assert decided.what == f"challenger_wins, gate {ends}"
    assert why in decided.why


def test_what_a_gate_no_longer_asks_for_blocks_nothing() -> None:
    slow = [evaluation(0.03, 0.83, latency_ms={"value": 300.0, "verdict": "failed"})]
    assert what(slow, operations()) == ["challenger_wins, gate failed"]
    assert what(slow, operations(quality_gates={"ChurnGate": {"max_latency_ms": None}})) == [
        "challenger_wins, gate passed"
    ]
    broken = [evaluation(0.03, 0.83, artifact_replays={"value": None, "verdict": "failed", "detail": "does not load"})]
    assert what(broken, operations(quality_gates={"ChurnGate": {"max_latency_ms": 900}})) == [
        "challenger_wins, gate failed"
    ]


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


def test_what_stored_evidence_cannot_answer_is_named() -> None:
    assert unasked(operations(), with_threshold(0.1)) == []
    metrics = [dict(each) for each in DECLARED["champion_challengers"]["ChurnChallenger"]["evaluation"]["metrics"]]
    metrics[0]["weight"], metrics[1]["weight"] = 0.5, 0.2
    evaluation = {"metrics": metrics, "min_weighted_improvement": 0.5}
    other = operations(
        champion_challengers={"ChurnChallenger": {"evaluation": evaluation}},
        quality_gates={"ChurnGate": {"max_age": "3d", "min_rows": 5}},
    )
    place = "champion_challengers.ChurnChallenger.evaluation.metrics"
    assert unasked(operations(), other) == [
        f"{place}.auc_roc.weight",
        f"{place}.f1.weight",
        "quality_gates.ChurnGate.max_age",
    ]


def test_a_damaged_row_is_named_and_the_others_are_judged() -> None:
    rows = [
        report(0, 0.35),
        row(Kind.drift_report, 1, {"monitor": "ChurnDrift", "checks": [{"type": "data_drift"}]}),
        row(Kind.evaluation, 2, {"challenge": "ChurnChallenger", "interval": [0.01, 0.09]}),
        row(Kind.run, 3, {"measured": "nothing"}),
        evaluation(0.05, 0.85),
    ]
    found = {each.evidence: each for each in decisions(rows, operations())}
    assert [name for name, each in found.items() if each.what == UNREADABLE] == ["run-3", "drift-1", "eval-2"]
    assert found["eval-2"].why == "KeyError: 'contributions'"
    assert [found["drift-0"].what, found["eval-0"].what] == ["retrain", "challenger_wins, gate passed"]
