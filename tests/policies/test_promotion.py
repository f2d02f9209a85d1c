"""Nothing is promoted without a passed, fresh gate for that very artifact."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.approval import may_decide
from policies.errors import PolicyRefusal
from policies.promotion import Decision, GateEvidence, may_deploy, may_promote_unasked, may_start_rollout
from policies.retraining import cooldown_over, no_rollout_running, one_run_at_a_time, pipeline_is_sound

NOW = datetime(2026, 2, 3)
WEEK = timedelta(days=7)


def _gate(**changes: object) -> GateEvidence:
    body: dict[str, object] = {
        "gate_id": "gate-1", "model": "M", "version": "2", "status": "passed",
        "artifact_digest": "aa", "champion": "1", "holdout_digest": "hh", "judged_at": NOW - timedelta(hours=1),
    }  # fmt: skip
    return GateEvidence.model_validate({**body, **changes})


def _decide(gate: GateEvidence | None, champion: str | None = "1", **changes: str) -> Decision:
    return may_deploy("M", "2", "aa", gate, champion=champion, now=NOW, max_age=WEEK, **changes)


def test_a_passed_gate_for_this_artifact_allows() -> None:
    assert _decide(_gate()).allowed


def test_a_gate_that_is_switched_off_does_not_switch_the_comparison_off() -> None:
    switch = "retraining_pipelines.P.promotion.require_gate"
    assert _decide(None, waived_by=switch).allowed
    refused = _decide(None, waived_by=switch, not_won="eval-3 ended as tie")
    assert not refused.allowed
    assert "eval-3 ended as tie" in refused.reasons[0]


@pytest.mark.parametrize(
    ("gate", "reason"),
    [
        (None, "no quality gate result"),
        (_gate(status="failed"), "is failed, not passed"),
        (_gate(status="inconclusive"), "is inconclusive, not passed"),
        (_gate(version="3"), "is for M version 3"),
        (_gate(model="Other"), "is for Other"),
        (_gate(artifact_digest="bb"), "another artifact"),
        (_gate(artifact_digest=""), "another artifact"),
        (_gate(holdout_digest=""), "on which holdout"),
        (_gate(champion="4"), "judged against version 4, and version 1 serves now; evaluate again"),
        (_gate(champion=""), "does not say which champion it faced, and version 1 serves now"),
        (_gate(judged_at=NOW - 2 * WEEK), "older than"),
        (_gate(expires_at=NOW - timedelta(minutes=1)), "expired 2026-02-02 23:59:00"),
        (_gate(judged_at=NOW + WEEK), "in the future"),
    ],
)
def test_anything_less_refuses_and_says_why(gate: GateEvidence | None, reason: str) -> None:
    decision = _decide(gate)
    assert not decision.allowed
    with pytest.raises(PolicyRefusal, match=reason) as refused:
        decision.enforce()
    assert refused.value.exit_code == 3


@given(
    status=st.sampled_from(["passed", "failed", "inconclusive", "PASSED", ""]),
    version=st.sampled_from(["1", "2", "3"]),
    digest=st.sampled_from(["aa", "bb", ""]),
    hours=st.integers(-500, 500),
)
def test_allowed_only_if_every_condition_holds(status: str, version: str, digest: str, hours: int) -> None:
    gate = _gate(status=status, version=version, artifact_digest=digest, judged_at=NOW - timedelta(hours=hours))
    sound = status == "passed" and version == "2" and digest == "aa" and 0 <= hours <= 168
    assert _decide(gate).allowed == sound


def test_a_first_version_has_no_champion_to_be_worse_than() -> None:
    assert _decide(_gate(champion=""), champion=None).allowed


def test_a_gate_switched_off_by_declaration_is_said_aloud() -> None:
    decision = _decide(None, waived_by="champion_challengers.C.promotion.require_quality_gate")
    assert decision.allowed
    assert "switched off by champion_challengers.C" in decision.reasons[0]


def test_an_artifact_without_a_digest_is_nobodys() -> None:
    assert not may_deploy("M", "2", "", _gate(artifact_digest=""), champion="1", now=NOW, max_age=WEEK).allowed


def test_without_auto_promote_a_person_deploys() -> None:
    assert may_promote_unasked("C", True).allowed
    refused = may_promote_unasked("C", False)
    assert not refused.allowed
    assert "guardian deploy" in refused.reasons[0]


def test_one_rollout_at_a_time() -> None:
    assert may_start_rollout("M", None).allowed
    assert not may_start_rollout("M", "rollout-1").allowed
    assert not no_rollout_running("rollout-1").allowed


def test_one_training_at_a_time_and_the_refusal_names_the_other() -> None:
    assert one_run_at_a_time(None).reasons == ()
    assert one_run_at_a_time("train-1").reasons == ("train-1 is still running",)


def test_who_may_not_decide_hears_who_may() -> None:
    assert "; oncall, lead may decide" in may_decide("mallory", ["oncall", "lead"]).reasons[0]
    assert "; nobody may decide" in may_decide("mallory", []).reasons[0]


def test_broken_data_is_no_reason_to_retrain() -> None:
    assert pipeline_is_sound([]).allowed
    assert "mend the source" in pipeline_is_sound(["crm is 48 h late"]).reasons[0]


def test_cooldown_counts_from_the_last_start() -> None:
    day = timedelta(days=1)
    assert cooldown_over(None, day, NOW).allowed
    assert cooldown_over(NOW - day, day, NOW).allowed
    refused = cooldown_over(NOW - timedelta(hours=23), day, NOW)
    assert not refused.allowed
    assert str(NOW + timedelta(hours=1)) in refused.reasons[0]
