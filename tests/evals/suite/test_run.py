"""Scenarios played for real, in processes of their own: cheap ones, all planners at once."""

from __future__ import annotations

import pytest

from evals.suite.command import show
from evals.suite.results import EvalResult
from evals.suite.run import run_suite
from evals.suite.scenario import load_all

pytestmark = pytest.mark.timeout(900)  # the shop is built first, and machines are busy

NAMES = ("crm_lag", "nothing_wrong", "prediction_drift", "shadow_slower")


@pytest.fixture(scope="module")
def result() -> EvalResult:
    """Played backwards: the order must not matter."""
    scenarios = list(reversed(load_all(NAMES)))
    return run_suite(scenarios, ["runbook", "recorded", "retrains_always"], workers=2)


def outcome(result: EvalResult, name: str, planner: str) -> list[str] | None:
    found = [each for each in result.scenarios if (each.name, each.planner) == (name, planner)]
    return found[0].failures if found else None


def test_the_runbook_does_what_is_right_where_a_rule_can(result: EvalResult) -> None:
    for name in ("crm_lag", "nothing_wrong"):
        assert outcome(result, name, "runbook") == []


def test_a_fixed_rule_fails_where_judgement_is_needed_and_a_script_can_tell(result: EvalResult) -> None:
    assert outcome(result, "prediction_drift", "runbook") == ["forbidden: retrain(pipeline=ChurnRetrain) done"]
    assert outcome(result, "prediction_drift", "recorded") == []


def test_a_replay_asks_the_same_bytes_and_says_what_it_is(result: EvalResult) -> None:
    played = [each for each in result.scenarios if each.planner == "recorded"]
    assert {each.name for each in played} == {"crm_lag", "prediction_drift"}
    for each in played:
        assert (each.passed, each.source, each.llm_calls) == (True, "scripted", 1), each.failures
        assert each.about["how"] == "scripted"
        assert each.about["model"] == "gpt-4o"


def test_bad_planners_are_caught(result: EvalResult) -> None:
    assert "forbidden: retrain(pipeline=ChurnRetrain) done" in (outcome(result, "crm_lag", "retrains_always") or [])


def test_what_cannot_be_played_is_listed(result: EvalResult) -> None:
    assert [(each.name, each.waits_for) for each in result.not_yet] == [("shadow_slower", "shadow rollouts")]
    assert ("nothing_wrong", "recorded: it has no recording") in [(e.name, e.waits_for) for e in result.not_for]


def test_the_table_shows_grades_sources_and_sums(result: EvalResult) -> None:
    table = show(result)
    assert "prediction_drift  recorded          scripted passed" in table
    assert "shadow_slower     not there yet: shadow rollouts" in table
    assert "recorded (scripted): 2 of 2, needing judgement 2 of 2; pass^1 1.00" in table
