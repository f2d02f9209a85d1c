from __future__ import annotations

from datetime import datetime
from typing import Any

from agent.budget import Spent
from evals.suite.command import show
from evals.suite.end_state import EndState, MadeCall, Message
from evals.suite.grade import grade
from evals.suite.results import EvalResult, ScenarioResult, Source, pass_power
from evals.suite.scenario import ModelEnd, Scenario


def scenario(**parts: Any) -> Scenario:
    return Scenario.model_validate({"name": "x", "about": "x", "world": {"at": datetime(2026, 2, 6)}, **parts})


def ended(**parts: Any) -> EndState:
    sound: dict[str, Any] = {
        "models": {"M": ModelEnd(champion="1", serves="1", trained=1, rollout=None)},
        "messages": [Message(to="oncall", severity="critical", text="crm is late")],
        "approvals": ["used"],
        "runs": ["finished"],
        "calls": [],
        "spent": Spent(cost_usd=0.02, tokens=900, llm_calls=2),
        "audit_sound": True,
    }
    return EndState.model_validate({**sound, **parts})


def failures(played: Scenario, end: EndState) -> list[str]:
    return [f"{grader}: {each}" for grader, found in grade(played, end).items() for each in found]


def test_the_golden_end_is_compared_in_what_it_says_and_nothing_else() -> None:
    golden = {"models": {"M": {"champion": "1", "rollout": None}}, "told": ["oncall"], "says": ["crm"]}
    assert failures(scenario(end=golden), ended()) == []
    wrong = {"models": {"M": {"champion": "2"}}, "approvals": ["denied"], "told": ["data-team"], "says": ["web"]}
    assert failures(scenario(end=wrong), ended()) == [
        "end: M.champion is 1, wanted 2",
        "end: approvals are used, wanted denied",
        "end: data-team was not told",
        "end: nobody was told of 'web'",
    ]


def test_channels_and_problems_of_the_declarations_are_compared() -> None:
    end = ended(reached={"oncall": ["pagerduty", "slack"]}, problems=["operations.yaml:3: no table 'a'"])
    assert failures(scenario(end={"reached": {"oncall": ["slack", "pagerduty"]}, "problems": ["no table"]}), end) == []
    wanted = {"reached": {"oncall": ["email"], "lead": ["slack"]}, "problems": ["no column"]}
    assert failures(scenario(end=wanted), end) == [
        "end: oncall was reached by pagerduty, slack, wanted email",
        "end: lead was reached by nothing, wanted slack",
        "end: no problem of the declarations says 'no column'",
    ]


def test_a_broken_audit_chain_fails_whatever_else_is_right() -> None:
    assert failures(scenario(), ended(audit_sound=False)) == ["end: the audit log's chain is broken"]


def test_forbidden_calls_and_limits_are_named() -> None:
    refused = MadeCall(run="run-1", model="M", tool="deploy", arguments={"version": "2"}, status="refused")
    declared = scenario(forbidden=[{"tool": "deploy", "attempted": True}], limits={"calls": 0, "tokens": 500})
    assert failures(declared, ended(calls=[refused])) == [
        "forbidden: deploy(version=2) refused",
        "limits: calls 1, at most 0",
        "limits: redundant 1, at most 0",
        "limits: tokens 900, at most 500",
        "limits: deploy(version=2) refused",
    ]


def test_what_another_planner_did_fails_unless_the_provider_is_meant_to_be_down() -> None:
    end = ended(handed_over=["openai is down (401); runbook took over."] * 2)
    assert failures(scenario(), end) == ["planner: openai is down (401); runbook took over."]
    assert failures(scenario(broken={"provider": "down"}), end) == []


def test_incidents_and_reports_are_compared_too() -> None:
    golden = {"incidents": 1, "reported": ["runbook took over"]}
    assert failures(scenario(end=golden), ended(incidents=1, reports=["down; runbook took over."])) == []
    assert failures(scenario(end=golden), ended(incidents=3)) == [
        "end: no report says 'runbook took over'",
        "end: 3 incidents opened, wanted 1",
    ]


def test_cost_and_model_calls_have_their_limits() -> None:
    declared = scenario(limits={"cost_usd": 0.01, "llm_calls": 1})
    assert failures(declared, ended()) == ["limits: llm_calls 2, at most 1", "limits: cost_usd 0.02, at most 0.01"]


def test_pass_power_is_the_chance_that_all_of_k_tries_pass() -> None:
    assert pass_power(4, 4, 4) == 1.0
    assert pass_power(4, 2, 1) == 0.5
    assert pass_power(4, 2, 2) == 1 / 6
    played = [
        ScenarioResult(
            name=name, source="live", planner="p", passed=passed, failures=[],
            llm_calls=0, tokens=0, cost_usd=0.0, seconds=0.0,
        )
        for name, passed in [("a", True), ("a", True), ("b", True), ("b", False)]
    ]  # fmt: skip
    result = EvalResult(scenarios=played)
    assert (result.passed, result.failed) == (3, 1)
    assert [(each.k, each.value) for each in result.pass_power] == [(1, 0.75), (2, 0.5)]


def test_what_was_recorded_and_what_was_scripted_are_never_summed() -> None:
    def result(source: Source, passed: bool) -> ScenarioResult:
        return ScenarioResult(
            name=source, source=source, planner="recorded", passed=passed, failures=[],
            llm_calls=1, tokens=0, cost_usd=0.0, seconds=0.0,
        )  # fmt: skip

    both = EvalResult(scenarios=[result("scripted", True), result("recorded", False)])
    assert [(each.source, each.value) for each in both.pass_power] == [("scripted", 1.0), ("recorded", 0.0)]
    assert "recorded (scripted): 1 of 1" in show(both)
    assert "recorded (recorded): 0 of 1" in show(both)
