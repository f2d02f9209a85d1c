"""The planner against a server on loopback that behaves as badly as servers do: every run ends, in time and budget."""

from __future__ import annotations

import random
import time

import pytest

from agent.budget import Ledger
from agent.graph import Loop
from agent.planners.openai import OpenAIPlanner
from agent.planners.profiles import profile_for
from agent.planners.protocol import Briefing
from agent.planners.schemas import tool_schemas
from agent.prompting import load_prompt
from agent.state import Ending
from policies.declarations.binding import Budget
from tests.agent.world import MODEL, World
from tests.fakes.openai_server import (
    Body,
    Call,
    Calls,
    Failure,
    HalfJson,
    Hang,
    Misreported,
    Refuse,
    Reply,
    Say,
    Truncated,
    in_turn,
    serve,
)

RETRAIN = Call("retrain", {"pipeline": "ChurnRetrain"})
BAD: list[Reply] = [
    Failure(429, "Rate limit reached", "requests", "rate_limit_exceeded"),
    Failure(500),
    Failure(503),
    Hang(30.0),
    HalfJson(),
    Body(b"[" * 100_000),
    Misreported("Done.", -(10**9)),
    Call("drop_tables", {"all": True}),
    Calls([RETRAIN] * 50),
    Call("retrain", '{"pipeline": "Churn'),
    Call("deploy", {"strategy": "CanaryDeploy", "model": MODEL, "version": "2"}),
    Say(""),
    Refuse(),
    Truncated(),
    RETRAIN,
]


def planner(world: World, url: str, budget: Budget, per_run: Budget | None = None, **patience: float) -> OpenAIPlanner:
    return OpenAIPlanner(
        profile_for("gpt-4o", url),
        tool_schemas(world.toolbox(), world.systems.operations),
        load_prompt("operator"),
        Ledger(world.systems.store, world.systems.clock, "ChurnMLOps", budget, per_run),
        api_key="sk-loopback-secret",
        base_url=url,
        pauses=(0.0, 0.0),
        **patience,  # type: ignore[arg-type]
    )


def converse(world: World, planner: OpenAIPlanner, thread: str = "run-1/ChurnModel") -> Ending:
    loop = Loop(world.systems, world.toolbox(), planner)
    return loop.run(thread.split("/", maxsplit=1)[0], thread, lambda: Briefing(model=MODEL, text="a briefing"))


RICH = Budget(cost=50.0, tokens=500_000)


def test_a_hanging_server_is_given_up_in_time_and_stays_charged(world: World) -> None:
    with serve(in_turn(Hang(60.0))) as server:
        began = time.monotonic()
        ending = converse(world, planner(world, server.url, RICH, timeout=0.3))
        assert time.monotonic() - began < 15
    assert "openai is down" in ending.account
    assert "runbook took over" in ending.account
    ledger = Ledger(world.systems.store, world.systems.clock, "ChurnMLOps", RICH)
    assert ledger.spent().llm_calls == 3
    assert ledger.spent().cost_usd > 3 * 600 * 10e-6


def test_a_provider_that_is_slow_for_too_long_is_given_up(world: World) -> None:
    def drag(request: object) -> Reply:
        time.sleep(0.2)
        return Call("check_drift", {"monitor": "ChurnDrift"})

    with serve(drag) as server:
        slow = planner(world, server.url, RICH, timeout=5.0, patience=0.1)
        ending = converse(world, slow)
    assert "took more than 0.1 s of this run" in ending.account


def test_a_cap_a_run_holds_below_the_budget_a_day(world: World) -> None:
    with serve(in_turn(Call("check_drift", {"monitor": "ChurnDrift"}))) as server:
        ending = converse(world, planner(world, server.url, RICH, per_run=Budget(cost=0.03, tokens=500_000)))
    assert ending.status == "budget_exhausted"
    assert "a run" in ending.account
    assert "Left to do: retrain" in ending.account


@pytest.mark.parametrize("seed", range(6))
def test_whatever_a_server_answers_a_run_ends_in_time_and_budget_with_a_report(world: World, seed: int) -> None:
    dice = random.Random(seed)
    budget = Budget(cost=0.05, tokens=500_000)
    with serve(lambda request: dice.choice(BAD)) as server:
        for number in range(3):
            began = time.monotonic()
            ending = converse(world, planner(world, server.url, budget, timeout=0.3), f"run-{number}/ChurnModel")
            assert time.monotonic() - began < 30
            assert ending.status in ("finished", "stopped", "budget_exhausted")
            assert ending.account.startswith(f"{MODEL}: ")
            assert "sk-loopback" not in ending.account
    assert Ledger(world.systems.store, world.systems.clock, "ChurnMLOps", budget).spent().cost_usd <= budget.cost
    assert world.calls.count("deploy") <= 1
