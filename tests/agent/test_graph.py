"""The loop, whoever plans."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.graph import Ending, Loop
from agent.planners.protocol import Answer, Briefing, Conversation, Finish, ToolCall
from tests.agent.world import MODEL, World
from tools.systems.store import Kind

DEPLOY = ToolCall(name="deploy", arguments={"strategy": "CanaryDeploy", "model": MODEL, "version": "2"})
EVALUATE = ToolCall(name="evaluate", arguments={"challenge": "ChurnChallenger"})
TOOLS = ["check_drift", "retrain", "evaluate", "deploy", "track_kpis", "rollback", "", "DROP TABLE runs"]
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
VALUES = st.one_of(
    TEXT,
    st.none(),
    st.integers(-(2**62), 2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["ChurnDrift", "ChurnRetrain", "ChurnChallenger", "ChurnKPIs", "CanaryDeploy", MODEL, "1", "2"]),
)
KEYS = ["monitor", "pipeline", "challenge", "strategy", "model", "version", "tracker", "at", "force_trigger"]
ARGUMENTS = st.dictionaries(st.one_of(st.sampled_from(KEYS), TEXT), VALUES, max_size=4)
CALLS = st.builds(ToolCall, name=st.one_of(st.sampled_from(TOOLS), TEXT), arguments=ARGUMENTS, call_id=TEXT)
SENSIBLE = st.sampled_from([DEPLOY, EVALUATE, ToolCall(name="retrain", arguments={"pipeline": "ChurnRetrain"})])


class Scripted:
    """Answers in turn, then finishes."""

    name = "scripted"
    about: Mapping[str, str] = {}

    def __init__(self, answers: list[Answer]) -> None:
        self._answers = answers

    def next(self, conversation: Conversation) -> Answer:
        return self._answers.pop(0) if self._answers else Finish(summary="Done.")


def converse(world: World, answers: list[Answer], thread: str = "run-1/ChurnModel") -> Ending:
    loop = Loop(world.systems, world.toolbox(), Scripted(answers))
    return loop.run("run-1", thread, lambda: Briefing(model=MODEL, text="a briefing"))


def test_a_call_refused_before_its_evidence_stood_is_allowed_after(world: World) -> None:
    ending = converse(world, [DEPLOY, EVALUATE, DEPLOY])
    assert [step.status for step in ending.steps] == ["refused", "done", "done"]
    assert world.calls == ["evaluate", "deploy"]


def test_a_refusal_of_the_tool_itself_is_asked_for_twice_at_most(world: World) -> None:
    world.down.add("refuse retrain")
    retrain = ToolCall(name="retrain", arguments={"pipeline": "ChurnRetrain"})
    ending = converse(world, [retrain, retrain, retrain, retrain])
    assert world.calls == ["retrain", "retrain"]
    assert ending.status == "stopped"


def test_a_run_about_one_model_does_not_touch_another(world: World) -> None:
    operations = world.systems.operations
    other = operations.models[MODEL].model_copy(update={"holdout": "other_holdout"})
    pipeline = operations.retraining_pipelines["ChurnRetrain"].model_copy(update={"model": "Other"})
    world.systems.operations = operations.model_copy(
        update={
            "models": {**operations.models, "Other": other},
            "retraining_pipelines": {**operations.retraining_pipelines, "OtherRetrain": pipeline},
        }
    )
    ending = converse(world, [ToolCall(name="retrain", arguments={"pipeline": "OtherRetrain"})])
    assert ending.steps[0].status == "refused"
    assert "one_model_per_run" in ending.steps[0].text
    assert world.calls == []


def test_a_finished_conversation_is_not_held_again(world: World) -> None:
    first = converse(world, [EVALUATE])
    assert converse(world, [EVALUATE]) == first
    assert world.calls == ["evaluate"]


@pytest.mark.parametrize("gate", ["failed", "inconclusive"])
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(answers=st.lists(st.one_of(CALLS, SENSIBLE), max_size=14))
def test_no_planner_gets_a_version_into_production_without_a_passed_gate(
    world: World, gate: str, answers: list[Any]
) -> None:
    world.gate = gate
    world.calls.clear()
    turn = len(world.systems.store.list(Kind.gate)) + len(world.systems.store.list(Kind.training_run))
    ending = converse(world, list(answers), thread=f"run-1/{turn}-{id(answers)}")
    assert "deploy" not in world.calls
    assert world.systems.traffic.split(MODEL) is None
    assert ending.status in ("finished", "stopped")
    assert len(ending.steps) <= 12
