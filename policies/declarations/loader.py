"""Reads `operations.yaml`: every problem is reported with its file, line and what would be right."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from policies.declarations.operations import Operations, Place, check_references
from policies.errors import DeclarationError, InputError, Problem

MOST_VALUES = 1_000_000
"""In one file: anchors within anchors can stand for more than any machine holds."""


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


@dataclass(frozen=True)
class Written:
    """A YAML file as it is written: its data, the line of every place in it, and the keys that are declared twice."""

    file: str
    data: Any
    lines: Mapping[Place, int]
    repeated: Sequence[Problem]

    def problem(self, place: Place, cause: str) -> Problem:
        """A problem at a place, or the nearest one above it that the file has."""
        return Problem(self.file, _line(self.lines, place), _dotted(place), cause)


def read(text: str, file: str) -> Written:
    """What YAML text says. Raises DeclarationError where it is none, holds values that cannot be read, or is empty."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        lines: dict[Place, int] = {}
        repeated = [] if root is None else list(_walk(root, (), lines))
        reader = yaml.SafeLoader("")
        unreadable = [] if root is None else list(_unreadable(reader, root, (), file))
        if unreadable:
            raise DeclarationError(unreadable)
        data = None if root is None else reader.construct_document(root)
    except RecursionError:
        line = next((number for number, each in enumerate(text.splitlines(), 1) if "*" in each), 0)
        raise DeclarationError(
            [Problem(file, line, "", "an anchor refers to itself, or it is nested too deep")]
        ) from None
    except _TooManyValues as many:
        cause = f"holds more than {MOST_VALUES:,} values, each alias counted as all that it stands for"
        raise DeclarationError([Problem(file, many.line, "", cause)]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        cause = f"not YAML: {getattr(error, 'problem', None) or error}"
        raise DeclarationError([Problem(file, mark.line + 1 if mark else 0, "", cause)]) from None
    if root is None:
        raise DeclarationError([Problem(file, 0, "", "the file declares nothing")])
    twice = [Problem(file, line, _dotted(place), "is declared twice") for place, line in repeated]
    return Written(file, data, lines, twice)


def refused(written: Written, error: ValidationError, model: type[BaseModel]) -> list[Problem]:
    """What pydantic found wrong with the data of a file, as problems in that file."""
    return [_problem(written.file, written.lines, each, model) for each in error.errors()]


def parse(text: str, file: str) -> Operations:
    """Declarations from YAML text; `file` is named in problems. Raises DeclarationError."""
    written = read(text, file)
    data, lines = written.data, written.lines
    if not isinstance(data, dict):
        raise DeclarationError([Problem(file, 1, "", f"top level must be a mapping of {_blocks()}")])
    problems = list(written.repeated)
    try:
        operations = Operations.model_validate({key: value for key, value in data.items() if value is not None})
    except ValidationError as error:
        problems += refused(written, error, Operations)
        sound = _sound_part(data)
        problems += [] if sound is None else _references(sound, data, file, lines)
        raise DeclarationError(problems) from None
    problems += _references(operations, data, file, lines)
    if problems:
        raise DeclarationError(problems)
    return operations


def line_of(path: Path) -> Callable[[str], int]:
    """Looks up the line at which a dotted place of the file stands, or the nearest place above it; 0 for none."""
    root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    lines: dict[Place, int] = {}
    for _ in () if root is None else _walk(root, (), lines):
        pass
    dotted = {_dotted(place): line for place, line in lines.items()}

    def line(place: str) -> int:
        while place and place not in dotted:
            place = place[: max(place.rfind("."), place.rfind("["), 0)]
        return dotted.get(place, 0) if place else 0

    return line


def _references(operations: Operations, data: dict[str, Any], file: str, lines: Mapping[Place, int]) -> list[Problem]:
    """Dangling names; one that the file does declare, in a body with problems of its own, does not dangle."""
    written = {str(name) for body in data.values() if isinstance(body, dict) for name in body}
    found = []
    for at, cause in check_references(operations):
        named = cause.split("'")[1] if cause.startswith("'") else ""
        if named not in written:
            found.append(Problem(file, _line(lines, at), _dotted(at), cause))
    return found


def _sound_part(data: dict[str, Any]) -> Operations | None:
    """The declarations without what is wrong in itself, so that the names in the rest can be checked too."""
    kept = copy.deepcopy(data)
    while True:
        try:
            return Operations.model_validate({key: value for key, value in kept.items() if value is not None})
        except ValidationError as error:
            pruned = [_prune(kept, each["loc"]) for each in error.errors()]
            if not any(pruned):
                return None


def _prune(data: dict[str, Any], loc: tuple[str | int, ...]) -> bool:
    """Takes away the innermost key on the way to `loc` that a mapping holds; tells whether there was one."""
    path: list[tuple[dict[str, Any], str]] = []
    at: Any = data
    for part in loc:
        if isinstance(at, dict) and part in at:
            path.append((at, str(part)))
            at = at[part]
        elif isinstance(at, list):
            break
    if path:
        holder, key = path[-1]
        del holder[key]
    return bool(path)


def _unreadable(reader: yaml.SafeLoader, node: yaml.Node, place: Place, file: str) -> Iterator[Problem]:
    """Scalars that look like a date or number and are none."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _unreadable(reader, value, (*place, str(key.value)), file)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield from _unreadable(reader, value, (*place, number), file)
    else:
        try:
            reader.construct_object(node)
        except ValueError as error:
            cause = f"{node.value!r} cannot be read: {error}"
            yield Problem(file, node.start_mark.line + 1, _dotted(place), cause)


class _TooManyValues(Exception):
    """From this line on."""

    def __init__(self, line: int) -> None:
        super().__init__(line)
        self.line = line


def _walk(node: yaml.Node, place: Place, lines: dict[Place, int]) -> Iterator[tuple[Place, int]]:
    """Fills `lines`; yields the places of duplicate keys. Raises _TooManyValues."""
    if len(lines) >= MOST_VALUES:
        raise _TooManyValues(node.start_mark.line + 1)
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


def _problem(file: str, lines: Mapping[Place, int], error: Any, model: type[BaseModel]) -> Problem:
    place = _place(error["loc"], lines)
    cause = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        cause = _unknown_key(str(place[-1]), _siblings(place, model))
    elif error["type"] == "missing":
        cause = "is missing"
    elif "input" in error and not isinstance(error["input"], dict | list):
        given = error["input"]
        shown = str(given) if isinstance(given, date) else repr(given)
        cause = cause if shown in cause else f"{cause}, not {shown}"
    return Problem(file, _line(lines, place), _dotted(place), cause)


def _place(loc: tuple[str | int, ...], lines: Mapping[Place, int]) -> Place:
    """The place in the file: pydantic's `loc` without the tags of union members, which the file does not have."""
    place: Place = ()
    for number, part in enumerate(loc):
        if (*place, part) in lines or number == len(loc) - 1:
            place = (*place, part)
    return place


def _longest_known(place: Place, lines: Mapping[Place, int]) -> Place:
    while place and place not in lines:
        place = place[:-1]
    return place


def _line(lines: Mapping[Place, int], place: Place) -> int:
    return lines.get(_longest_known(place, lines), 0)


def _unknown_key(key: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(key, allowed, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    names = f"; allowed: {', '.join(allowed)}" if allowed else ""
    return f"unknown key{hint}{names}"


def _siblings(place: Place, model: type[BaseModel]) -> list[str]:
    """The keys allowed beside the last part of `place`, from the model's JSON schema."""
    schema = model.model_json_schema()
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
