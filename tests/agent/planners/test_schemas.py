"""Tool schemas are strict and name what is declared."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel

from agent.planners.schemas import strict, tool_schemas
from tests.agent.world import World


class Mood(StrEnum):
    calm = "calm"


class Inner(BaseModel):
    size: int


class Arguments(BaseModel):
    mood: Mood
    inner: Inner
    several: list[Inner]
    perhaps: str | None


def test_schemas_name_what_is_declared_and_keep_their_bytes(world: World) -> None:
    shown = tool_schemas(world.toolbox(), world.systems.operations)
    deploy = next(each for each in shown if each.name == "deploy").parameters
    assert deploy["properties"]["strategy"]["enum"] == list(world.systems.operations.deployment_strategies)
    assert deploy["properties"]["model"]["enum"] == ["ChurnModel"]
    assert [each.name for each in shown] == ["check_drift", "retrain", "evaluate", "deploy", "track_kpis"]
    again = tool_schemas(world.toolbox(), world.systems.operations)
    assert [each.model_dump_json() for each in shown] == [each.model_dump_json() for each in again]


def test_nested_objects_are_closed_and_references_resolved() -> None:
    shown = strict(Arguments.model_json_schema())
    assert shown["required"] == ["mood", "inner", "several", "perhaps"]
    assert shown["properties"]["mood"]["enum"] == ["calm"]
    assert shown["properties"]["perhaps"]["anyOf"] == [{"type": "string"}, {"type": "null"}]
    closed: list[dict[str, Any]] = [shown, shown["properties"]["inner"], shown["properties"]["several"]["items"]]
    assert all(each["additionalProperties"] is False for each in closed)
    assert "$ref" not in str(shown)
