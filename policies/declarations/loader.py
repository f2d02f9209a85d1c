"""Reads `operations.yaml`: every problem is reported with its file, line and what would be right."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from policies.declarations.operations import Operations, Place, check_references
from policies.errors import DeclarationError, InputError, Problem


def load(path: Path) -> Operations:
    """The declarations in `path`.

    Raises InputError where the file cannot be read, DeclarationError with every problem found.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"cannot be read: {reason}; name a declarations file with --operations", str(path)) from None
    return parse(text, str(path))


def parse(text: str, file: str) -> Operations:
    """Declarations from YAML text; `file` is named in problems. Raises DeclarationError."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        data = yaml.safe_load(text)
        lines: dict[Place, int] = {}
        repeated = [] if root is None else list(_walk(root, (), lines))
    except RecursionError:
        raise DeclarationError([Problem(file, 0, "", "an anchor refers to itself")]) from None
    except ValueError as error:  # a date that is none, say
        raise DeclarationError([Problem(file, 0, "", f"holds a value that cannot be read: {error}")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        cause = f"not YAML: {getattr(error, 'problem', None) or error}"
        raise DeclarationError([Problem(file, mark.line + 1 if mark else 0, "", cause)]) from None
    if root is None:
        raise DeclarationError([Problem(file, 0, "", "the file declares nothing")])
    duplicates = [Problem(file, line, _dotted(place), "is declared twice") for place, line in repeated]
    if not isinstance(data, dict):
        raise DeclarationError([Problem(file, 1, "", f"top level must be a mapping of {_blocks()}")])
    problems = list(duplicates)
    try:
        operations = Operations.model_validate({key: value for key, value in data.items() if value is not None})
    except ValidationError as error:
        problems += [_problem(file, lines, each) for each in error.errors()]
        raise DeclarationError(problems) from None
    problems += [Problem(file, _line(lines, at), _dotted(at), cause) for at, cause in check_references(operations)]
    if problems:
        raise DeclarationError(problems)
    return operations


def _walk(node: yaml.Node, place: Place, lines: dict[Place, int]) -> Iterator[tuple[Place, int]]:
    """Fills `lines`; yields the places of duplicate keys."""
    lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            at = (*place, str(key.value))
            if at in lines:
                yield at, key.start_mark.line + 1
            lines[at] = key.start_mark.line + 1
            yield from _walk(value, at, lines)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _walk(value, (*place, number), lines)


def _problem(file: str, lines: dict[Place, int], error: Any) -> Problem:
    place = _place(error["loc"], lines)
    cause = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        cause = _unknown_key(str(place[-1]), _siblings(place))
    elif error["type"] == "missing":
        cause = "is missing"
    elif "input" in error and not isinstance(error["input"], dict | list):
        shown = repr(error["input"])
        cause = cause if shown in cause else f"{cause}, not {shown}"
    return Problem(file, _line(lines, place), _dotted(place), cause)


def _place(loc: tuple[str | int, ...], lines: dict[Place, int]) -> Place:
    """The place in the file: pydantic's `loc` without the tags of union members, which the file does not have."""
    place: Place = ()
    for number, part in enumerate(loc):
        if (*place, part) in lines or number == len(loc) - 1:
            place = (*place, part)
    return place


def _longest_known(place: Place, lines: dict[Place, int]) -> Place:
    while place and place not in lines:
        place = place[:-1]
    return place


def _line(lines: dict[Place, int], place: Place) -> int:
    return lines.get(_longest_known(place, lines), 0)


def _unknown_key(key: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(key, allowed, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    names = f"; allowed: {', '.join(allowed)}" if allowed else ""
    return f"unknown key{hint}{names}"


def _siblings(place: Place) -> list[str]:
    """The keys allowed beside the last part of `place`, from the JSON schema of the declarations."""
    schema = Operations.model_json_schema()
    nodes = [schema]
    for part in place[:-1]:
        nodes = [child for node in nodes for child in _children(schema, node, part)]
    found: dict[str, None] = {}
    for node in (resolved for each in nodes for resolved in _resolve(schema, each)):
        found.update(dict.fromkeys(node.get("properties", {})))
    return list(found)


def _children(schema: dict[str, Any], node: dict[str, Any], part: str | int) -> Iterator[dict[str, Any]]:
    for each in _resolve(schema, node):
        if isinstance(part, int):
            if isinstance(each.get("items"), dict):
                yield each["items"]
        elif part in each.get("properties", {}):
            yield each["properties"][part]
        elif isinstance(each.get("additionalProperties"), dict):
            yield each["additionalProperties"]


def _resolve(schema: dict[str, Any], node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if "$ref" in node:
        yield from _resolve(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[1]])
        return
    yield node
    for each in [*node.get("anyOf", []), *node.get("oneOf", [])]:
        yield from _resolve(schema, each)


def _blocks() -> str:
    return ", ".join(Operations.model_fields)


def _dotted(place: Place) -> str:
    text = ""
    for part in place:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
