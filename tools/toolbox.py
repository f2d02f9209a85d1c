"""The tools a planner may pick from, the schema each shows the model, and dispatch. A new tool is a line in `TOOLS`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from policies.declarations import Operations
from policies.errors import InputError
from tools.systems.tool import Tool

TOOL_NAMES = ("check_drift", "retrain", "evaluate", "deploy", "track_kpis")


def toolbox() -> dict[str, Tool]:
    """All tools by name, imported now."""
    tools = (import_module(f"tools.{name}.tool").TOOL for name in TOOL_NAMES)
    return {tool.name: tool for tool in tools}


def schema(tool: Tool, operations: Operations) -> dict[str, Any]:
    """The strict JSON schema of a tool's arguments: every key required, none added, declared names as enums."""
    shown = tool.arguments.model_json_schema()
    shown.pop("title", None)
    shown.pop("description", None)
    for name, field in shown["properties"].items():
        field.pop("title", None)
        if name in tool.references:
            field["enum"] = list(getattr(operations, tool.references[name]))
    shown["required"] = list(shown["properties"])
    shown["additionalProperties"] = False
    return dict(shown)


def parse_arguments(tool: Tool, operations: Operations, arguments: Mapping[str, Any]) -> Any:
    """The validated arguments of a call. Raises InputError that names the argument and what it may be."""
    try:
        parsed = tool.arguments.model_validate(dict(arguments))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        takes = ", ".join(tool.arguments.model_fields)
        raise InputError(f"{place}: {first['msg']}; takes {takes}", where=tool.name) from None
    for name, block in tool.references.items():
        operations.named(block, getattr(parsed, name))
    return parsed
