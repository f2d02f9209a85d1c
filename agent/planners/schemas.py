"""Strict JSON schemas of the tools, as language models are shown them.

The toolbox builds them from the arguments and the declarations; here they are reduced to the keywords that strict tool
schemas take (https://platform.openai.com/docs/guides/structured-outputs#supported-schemas). What is dropped, such as
bounds of numbers, is still checked when the call is parsed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from policies.declarations import Operations
from tools.systems.tool import Tool
from tools.toolbox import schema

NOT_PLANNED = ("at", "force_trigger")
"""Arguments of tools that people set and planners do not: they are not shown, and refused where given."""

_KEPT = ("type", "enum", "description")


class ToolSchema(BaseModel):
    """What a language model reads about one tool."""

    model_config = ConfigDict(frozen=True)

    name: str
    description: str
    parameters: dict[str, Any]


def tool_schemas(toolbox: Mapping[str, Tool], operations: Operations) -> tuple[ToolSchema, ...]:
    """One schema a tool, in the toolbox's order: the same bytes for the same declarations."""
    return tuple(
        ToolSchema(name=tool.name, description=_told(tool), parameters=strict(schema(tool, operations)))
        for tool in toolbox.values()
    )


def _told(tool: Tool) -> str:
    """The tool's description without the sentences about arguments that planners do not see."""
    sentences = re.split(r"(?<=\.) ", tool.description)
    return " ".join(each for each in sentences if not any(f"`{name}`" in each for name in NOT_PLANNED))


def strict(shown: Mapping[str, Any]) -> dict[str, Any]:
    """`shown` with references resolved, every object closed and every property required."""
    return _strict(shown, shown.get("$defs", {}))


def _strict(shown: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    if "$ref" in shown:
        referred = definitions[shown["$ref"].rsplit("/", 1)[-1]]
        # an enum of declared names stands beside the reference and wins
        return _strict({**referred, **{k: v for k, v in shown.items() if k != "$ref"}}, definitions)
    kept = {key: shown[key] for key in _KEPT if key in shown}
    if "const" in shown:
        kept["enum"] = [shown["const"]]
    if "anyOf" in shown:
        kept["anyOf"] = [_strict(each, definitions) for each in shown["anyOf"]]
    if "items" in shown:
        kept["items"] = _strict(shown["items"], definitions)
    if shown.get("type") == "object":
        properties = {name: each for name, each in shown.get("properties", {}).items() if name not in NOT_PLANNED}
        kept["properties"] = {name: _strict(each, definitions) for name, each in properties.items()}
        kept["required"] = list(properties)
        kept["additionalProperties"] = False
    return kept
