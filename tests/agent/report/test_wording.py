"""What a report says in sentences, to a reader who knows none of our names."""

from __future__ import annotations

from datetime import datetime

import pytest

from agent.report import reasons
from agent.report.gates import shown, why_open
from agent.report.model import KpiReading, Measurement
from agent.report.sentences import event_of
from agent.report.targets import business, on_target
from tools.systems.store import Evidence, Kind


def row(kind: Kind, body: dict[str, object]) -> Evidence:
    return Evidence(
        id=f"{kind.value}-1",
        kind=kind,
        model="ChurnModel",
        version="2",
        status=None,
        created_at=datetime(2026, 1, 24),
        rests_on=None,
        revision=1,
        body=body,
    )


def finding(kind: str, subject: str) -> dict[str, object]:
    return {"type": kind, "method": "m", "subject": subject, "value": 1.0, "threshold": 0.2, "severity": "critical"}


def test_a_drift_report_is_told_in_whole_sentences() -> None:
    late = "crm_loaded_at: data are up to 52.0 h old when used, allowed 1d"
    crm = {"source": "crm", "owner": "data-team", "features": [], "signs": [late]}
    web = {"source": "web", "owner": "data-team", "features": ["sessions_30d"], "signs": []}
    checks = [
        finding("data_drift", "sessions_30d"),
        finding("feature_drift", "sessions_30d"),
        finding("concept_drift", "auc_roc"),
        finding("schema_drift", "crm_loaded_at"),
        {**finding("data_drift", "plan"), "severity": "ok"},
    ]
    diagnosis = {"kind": "both", "sources": [web, crm], "first_seen": "2026-01-08", "sudden": True}
    body = {"monitor": "ChurnDrift", "status": "checked", "checks": checks, "diagnosis": diagnosis}
    assert event_of(row(Kind.drift_report, body)).text == (
        "ChurnDrift finds drift in 4 of 5 checks (1 feature, AUC, the contract of 1 column). "
        "This looks like a broken pipeline and a changed world, suddenly since 8 Jan 2026; from web and crm. "
        "The source crm of data-team looks broken: crm_loaded_at (data are up to 52.0 h old when used, allowed 1d)."
    )


@pytest.mark.parametrize(
    ("trigger", "said"),
    [
        ("first_champion", "Version 2 is trained as the first champion."),
        ("drift_detected", "Version 2 is trained because drift was found."),
        ("a_person", "Version 2 is trained because of a person."),
        ("", "Version 2 is trained."),
    ],
)
def test_a_training_says_what_set_it_off(trigger: str, said: str) -> None:
    assert event_of(row(Kind.training_run, {"triggered_by": trigger})).text == said


def test_a_refusal_loses_its_rule_s_name_and_its_raw_dates() -> None:
    text = "nothing_to_learn_yet: the drift began on 2026-01-07 (until 2026-01-28 08:23)"
    told = reasons.sentence(reasons.refusal(text))
    assert told == "Nothing to learn yet. The drift began on 7 Jan 2026 (until 28 Jan 2026, 08:23)."
    assert reasons.rule(text) == "nothing to learn yet"
    assert reasons.refusal("crm is broken since 23 January.") == "crm is broken since 23 January"


def test_kpis_are_held_against_their_targets_and_their_baselines() -> None:
    assert on_target([False, False, False]) == "none of 3 is on target"
    assert on_target([True, False, None]) == "1 of 2 is on target"
    assert on_target([True, True]) == "all 2 are on target"
    assert on_target([None]) == "no targets to hold them against"
    kpis = [
        KpiReading(kpi="churn_rate", direction="lower", change_pct=-11.9, baseline=0.14, on_target=False),
        KpiReading(kpi="intervention_roi", change_pct=-4.0, baseline=3.0, on_target=False),
        KpiReading(kpi="net_revenue_retention", change_pct=-0.2, baseline=1.1, on_target=False),
    ]
    assert business(kpis) == (
        "None of 3 KPIs is on target. Since the baseline, churn rate improved; intervention ROI worsened; "
        "net revenue retention moved by less than 1%."
    )
    assert business([]) == ""


def test_an_open_question_is_told_with_what_it_lacks() -> None:
    detail = "309 labelled rows, fewer than 20 of a class"
    unknown = Measurement(name="auc_degradation", limit=0.05, verdict="inconclusive", detail=detail)
    assert why_open(unknown) == detail
    assert why_open(unknown.model_copy(update={"asked": False})) == "not asked at this stage"
    assert why_open(unknown.model_copy(update={"verdict": "pass"})) == ""


def test_a_degradation_is_told_as_auc_won_or_lost() -> None:
    won = Measurement(name="auc_degradation", value=-0.074, champion_value=0.0, limit=0.05)
    assert " ".join(shown(won)) == "AUC 0.074 above the champion's, limit 0.050 below"
    assert " ".join(shown(won.model_copy(update={"value": 0.02}))[:2]) == "AUC 0.020 below"
    assert shown(won.model_copy(update={"value": None}))[1] == "not known yet"
    rate = Measurement(name="error_rate", value=0.004, champion_value=0.0, limit=0.01)
    assert shown(rate) == ("error rate", "0.4%", "champion 0%, limit 1%")
