"""The nightly run through the unpatched openai client, against a server on loopback."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from agent.triage import TriageResult, triage
from policies.errors import InputError
from tests.agent.world import MODEL, World
from tests.fakes.openai_server import (
    Body,
    Call,
    Calls,
    Failure,
    HalfJson,
    Misreported,
    OpenAIServer,
    Refuse,
    Reply,
    Say,
    Script,
    Truncated,
    follow_the_book,
    in_turn,
    serve,
)
from tools.systems.tables import AuditRow

RETRAIN = Call("retrain", {"pipeline": "ChurnRetrain"})
FLOW = ["retrain", "evaluate", "deploy", "track_kpis"]
Night = Callable[[Script], tuple[TriageResult, OpenAIServer]]


@pytest.fixture(params=["chat", "responses"])
def night(request: pytest.FixtureRequest, world: World, monkeypatch: pytest.MonkeyPatch) -> Night:
    """A night through either API."""
    monkeypatch.setenv("GUARDIAN_OPENAI_API", request.param)
    return lambda script: play(world, script, monkeypatch)


def play(world: World, script: Script, monkeypatch: pytest.MonkeyPatch) -> tuple[TriageResult, OpenAIServer]:
    with serve(script) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback-secret")
        return triage(world.systems, toolbox=world.toolbox()), server


def tools_called(result: TriageResult) -> list[str]:
    return [action.tool for action in result.models[0].actions]


def test_the_same_night_runs_through_the_language_model(night: Night) -> None:
    result, server = night(follow_the_book)
    assert (result.planner, result.status) == ("openai", "finished")
    assert tools_called(result) == FLOW
    assert result.budget.llm_calls == len(server.requests) == 5
    assert 0 < result.budget.cost_usd < 0.05
    assert result.budget.tokens < 15_000


def test_requests_are_strict_stateless_and_start_with_the_request_before(night: Night) -> None:
    _, server = night(follow_the_book)
    for before, request in zip(server.requests, server.requests[1:], strict=False):
        key = "messages" if "messages" in request else "input"
        assert json.dumps(request["tools"]) == json.dumps(before["tools"])
        assert request[key][: len(before[key])] == before[key]
        assert request["parallel_tool_calls"] is False
    for request, path in zip(server.requests, server.paths, strict=True):
        assert request.get("store") is (False if path == "/v1/responses" else None)
        for tool in request["tools"]:
            function = tool.get("function", tool)
            assert function["strict"] is True
            assert function["parameters"]["additionalProperties"] is False
            assert "at" not in function["parameters"]["properties"]
    assert "ChurnRetrain" in json.dumps(server.requests[0]["tools"])


def test_no_secret_reaches_the_provider_or_the_report(night: Night, world: World) -> None:
    world.down.add("retrain")
    result, server = night(in_turn(RETRAIN, Say("The key is sk-loopback-secret, use it.")))
    assert "sk-loopback" not in json.dumps(server.requests)
    assert "sk-loopback" not in result.model_dump_json()
    assert server.headers[0]["authorization"] == "Bearer sk-loopback-secret"


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (Call("retrain", '{"pipeline": "Churn'), "could not be read"),
        (Call("retrain", "[1]"), "no object"),
        (Call("retrain", '{"pipeline": 100000000000000000000000000000000}'), "64 bits"),
        (Call("retrain", '{"pipeline": NaN}'), "could not be read"),
        (Call("drop_tables", {}), "no tool 'drop_tables'"),
        (Call("retrain", {"pipeline": "Nightly"}), "ChurnRetrain"),
        (Call("retrain", {"pipeline": "ChurnRetrain", "force_trigger": "scheduled"}), "not yours to choose"),
        (Say(""), "was empty"),
        (Refuse(), "declined"),
        (Truncated(), "cut off"),
    ],
)
def test_an_unusable_answer_goes_back_once_with_a_plain_error(night: Night, bad: Reply, told: str) -> None:
    result, server = night(in_turn(bad, Say("Understood.")))
    assert result.status == "finished"
    assert told in json.dumps(server.requests[1])

    again, server = night(in_turn(bad, bad, RETRAIN))
    assert again.status == "stopped"
    assert told in again.report
    assert len(server.requests) == 2


def test_of_many_tool_calls_the_first_counts(night: Night, world: World) -> None:
    result, _ = night(in_turn(Calls([RETRAIN] * 50), Say("Done.")))
    assert tools_called(result) == ["retrain"]


def test_a_refused_call_is_explained_and_its_repetition_ends_the_run(night: Night, world: World) -> None:
    deploy = Call("deploy", {"strategy": "CanaryDeploy", "model": MODEL, "version": "2"})
    result, server = night(in_turn(deploy, deploy, deploy))
    assert world.calls == ["check_drift", "track_kpis"]
    assert "no quality gate result" in json.dumps(server.requests[1])
    assert (result.status, len(server.requests)) == ("stopped", 2)


def test_the_same_failing_call_is_never_made_three_times(night: Night, world: World) -> None:
    world.down.add("retrain")
    result, _ = night(in_turn(RETRAIN))
    assert world.calls.count("retrain") == 2
    assert result.status == "stopped"
    assert "retrain failed 2 times" in result.report


def test_a_run_has_a_step_limit(night: Night, world: World) -> None:
    result, server = night(in_turn(Call("check_drift", {"monitor": "ChurnDrift"})))
    assert (result.status, len(server.requests)) == ("stopped", 12)
    assert "Left to do: retrain pipeline=ChurnRetrain" in result.report


@pytest.mark.parametrize(
    "passing", [Failure(429, "Rate limit reached", "requests", "rate_limit_exceeded"), Failure(500), Failure(503)]
)
def test_passing_errors_are_retried_and_cost_nothing(night: Night, passing: Failure) -> None:
    result, server = night(in_turn(passing, Say("Nothing to do.")))
    assert (result.planner, result.status) == ("openai", "finished")
    assert len(server.requests) == result.budget.llm_calls == 2
    calm, _ = night(in_turn(Say("Nothing to do.")))
    assert result.budget.cost_usd == pytest.approx(calm.budget.cost_usd, rel=0.05)


def test_an_unreadable_answer_is_retried_and_stays_charged(night: Night) -> None:
    result, _ = night(in_turn(HalfJson(), Say("Nothing to do.")))
    calm, _ = night(in_turn(Say("Nothing to do.")))
    assert result.status == "finished"
    assert result.budget.cost_usd > calm.budget.cost_usd * 2


@pytest.mark.parametrize("used", [-(10**6), "12", 1.5, float("nan"), 10**30, None, True, [3]])
def test_a_usage_that_can_be_none_stays_charged_at_its_reservation(night: Night, used: object) -> None:
    result, _ = night(in_turn(Misreported("Nothing to do.", used)))
    honest, _ = night(in_turn(Misreported("Nothing to do.", 3000)))
    assert (result.planner, result.status) == ("openai", "finished")
    assert result.budget.cost_usd > honest.budget.cost_usd > 0


@pytest.mark.parametrize("body", [b"", b"null", b"[1]", b"\xff", b"<html>", b'{"choices":[]}', b"[" * 200_000])
def test_a_body_that_is_no_answer_is_retried_then_the_runbook_takes_over(night: Night, body: bytes) -> None:
    result, server = night(in_turn(Body(body)))
    assert len(server.requests) == result.budget.llm_calls == 3
    assert tools_called(result) == FLOW
    assert "could not be read" in result.report


@pytest.mark.parametrize(
    "down",
    [Failure(401, "Incorrect API key provided: sk-loopback-secret.", "invalid_request_error", "invalid_api_key"),
     Failure(429, "You exceeded your current quota", "insufficient_quota", "insufficient_quota")],
)  # fmt: skip
def test_where_the_provider_is_down_the_runbook_takes_over_and_says_so(night: Night, down: Failure) -> None:
    result, server = night(in_turn(down))
    assert len(server.requests) == 1
    assert tools_called(result) == FLOW
    assert "openai is down" in result.report
    assert "runbook took over" in result.report
    assert "sk-loopback" not in result.report


def test_a_provider_that_stays_overloaded_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    result, server = play(world, in_turn(Failure(500)), monkeypatch)
    assert len(server.requests) == 3
    assert tools_called(result) == FLOW
    assert result.budget.cost_usd == 0


def test_an_unreachable_provider_is_given_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free.getsockname()[1]}/v1")
    result = triage(world.systems, toolbox=world.toolbox())
    assert tools_called(result) == FLOW
    assert "openai is down" in result.report


def test_an_exhausted_budget_ends_the_run_before_the_call(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_budget(world, tmp_path, "{cost: 0.03, tokens: 500000}")
    result, server = play(world, in_turn(Call("check_drift", {"monitor": "ChurnDrift"})), monkeypatch)
    assert result.status == "budget_exhausted"
    assert 0 < len(server.requests) < 12
    assert result.budget.cost_usd <= 0.03
    assert "Left to do: retrain pipeline=ChurnRetrain" in result.report
    with world.systems.store.reading() as session:
        (alert,) = session.scalars(select(AuditRow.detail).where(AuditRow.action == "notify"))
    assert json.loads(alert)["to"] == "data-team"
    assert "of $0.03 and 500000 tokens a day" in alert


def test_a_model_without_a_price_refuses_to_start(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "operations.yaml"
    file.write_text(file.read_text().replace("model: gpt-4o,", "model: house-model-9,"))
    reload(world, file)
    with pytest.raises(InputError, match="no known price"):
        play(world, in_turn(Say("hello")), monkeypatch)


def small_budget(world: World, folder: Path, budget: str) -> None:
    file = folder / "operations.yaml"
    file.write_text(file.read_text().replace("{cost: 50.00, tokens: 500000}", budget))
    reload(world, file)


def reload(world: World, file: Path) -> None:
    from policies.declarations import load

    world.systems.operations = load(file)
