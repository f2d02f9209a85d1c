"""Reads scenarios from their folders: every fault in every file is named, with its line and what would be right."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

from pydantic import ValidationError

from agent.planners.schemas import NOT_PLANNED
from evals.suite.bad_planners import HABITS
from evals.suite.base import declared, merged
from evals.suite.hollow import Fault, hollow
from evals.suite.planners import PLANNERS
from evals.suite.scenario import CallPattern, Scenario
from policies.declarations import Operations, Severity
from policies.declarations.loader import Written, read, refused
from policies.declarations.operations import Place, check_references
from policies.errors import DeclarationError, InputError, Problem
from tools.deploy.rollout import Status
from tools.evaluate.comparison import Outcome
from tools.evaluate.result import GateResult
from tools.systems.tool import Tool
from tools.toolbox import toolbox

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
FILE = "scenario.yaml"
_NAME = re.compile(r"[a-z0-9_]+")

ENDS: Mapping[str, Sequence[str]] = {
    "verdict": list(Outcome),
    "gate": get_args(GateResult.model_fields["status"].annotation),
    "rollout": list(Status),
    "severity": list(Severity),
}
"""What an end of a model may say."""


def load_all(names: Sequence[str] = (), root: Path = SCENARIOS) -> list[Scenario]:
    """The named scenarios, or all of them by name.

    Raises InputError for an unknown one, DeclarationError with every fault in all of their files.
    """
    known = sorted(each.parent.name for each in root.glob(f"*/{FILE}"))
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"no scenario {', '.join(unknown)}; there are {', '.join(known)}", where=str(root))
    found: list[Scenario] = []
    problems: list[Problem] = []
    for name in dict.fromkeys(names or known):
        try:
            found.append(load(root / name))
        except DeclarationError as error:
            problems += error.problems
    if problems:
        raise DeclarationError(problems)
    return found


def load(folder: Path) -> Scenario:
    """The scenario in a folder. Raises InputError without its file, DeclarationError with every fault in it."""
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise InputError(f"cannot be read: {reason}; a scenario is a folder with {FILE}", str(path)) from None
    written = read(text, str(path))
    if not isinstance(written.data, Mapping):
        raise DeclarationError([written.problem((), "must be a mapping with about, world and end")])
    problems = list(written.repeated)
    if not _NAME.fullmatch(folder.name):
        problems.append(written.problem((), f"the folder {folder.name!r} is the scenario's name: write a-z, 0-9 and _"))
    problems += [
        written.problem((key,), "is the folder, and not declared") for key in ("name", "folder") if key in written.data
    ]
    try:
        scenario = Scenario.model_validate({**written.data, "name": folder.name, "folder": folder})
    except ValidationError as error:
        raise DeclarationError([*problems, *refused(written, error, Scenario)]) from None
    try:
        operations = _operations(written, scenario)
    except DeclarationError as error:
        raise DeclarationError([*problems, *error.problems]) from None
    problems += [written.problem(place, cause) for place, cause in _faults(scenario, operations)]
    if problems:
        raise DeclarationError(problems)
    return scenario


def _operations(written: Written, scenario: Scenario) -> Operations:
    """The declarations as the scenario changes them. Raises DeclarationError: its faults are the scenario's."""
    if not scenario.operations:
        return _unchanged()
    inside = {place[1:]: line for place, line in written.lines.items() if place[:1] == ("operations",)}
    changes = replace(written, lines=inside)
    data = merged(declared(), scenario.operations)
    try:
        operations = Operations.model_validate({key: value for key, value in data.items() if value is not None})
        found = [changes.problem(place, cause) for place, cause in check_references(operations)]
    except ValidationError as error:
        found = refused(changes, error, Operations)
    if found:
        raise DeclarationError([replace(each, place=f"operations.{each.place}") for each in found])
    return operations


@cache
def _unchanged() -> Operations:
    return Operations.model_validate(declared())


def _faults(scenario: Scenario, operations: Operations) -> Iterator[Fault]:
    """What names something that is not there, so that it could never be played or never hold."""
    try:
        _ = scenario.world.story
    except ValueError as error:
        yield ("world", "causes"), str(error)
    if scenario.world.converts and len(scenario.world.converts) == 1:
        yield ("world", "converts"), "must have a chance for champion and for challenger"
    for number, night in enumerate(scenario.broken.warehouse_down):
        if not 1 <= night <= scenario.world.nights:
            yield ("broken", "warehouse_down", number), f"{night} is no night: there are 1 to {scenario.world.nights}"
    yield from _unknown_columns(scenario, operations)
    yield from _unknown_in_the_end(scenario, operations)
    tools = toolbox()
    for number, pattern in enumerate(scenario.forbidden):
        yield from _unknown_call(("forbidden", number), pattern, tools, operations)
    for number, pattern in enumerate(scenario.trajectory.calls if scenario.trajectory else ()):
        yield from _unknown_call(("trajectory", "calls", number), pattern, tools, operations)
    for number, name in enumerate(scenario.catches):
        yield from _unknown(("catches", number), name, list(HABITS), "bad planner")
    for number, name in enumerate(scenario.planners or ()):
        yield from _unknown(("planners", number), name, PLANNERS, "planner")
    yield from hollow(scenario)


def _unknown_in_the_end(scenario: Scenario, operations: Operations) -> Iterator[Fault]:
    models, people = list(operations.models), list(operations.systems.people)
    for number, asked in enumerate(scenario.asked):
        yield from _unknown(("asked", number, "model"), asked.model, models, "model")
    for model, end in scenario.end.models.items():
        yield from _unknown(("end", "models", model), model, models, "model")
        for name, allowed in ENDS.items():
            if (value := getattr(end, name)) is not None:
                yield from _unknown(("end", "models", model, name), value, allowed, name)
    for key in ("told", "not_told"):
        for number, person in enumerate(getattr(scenario.end, key)):
            yield from _unknown(("end", key, number), person, people, "person under systems.people")


def _unknown(place: Place, name: str, known: Sequence[str], kind: str) -> Iterator[Fault]:
    if name not in known:
        yield place, f"{name!r} is no {kind}; there are {', '.join(known)}"


def _unknown_call(
    place: Place, pattern: CallPattern, tools: Mapping[str, Tool], operations: Operations
) -> Iterator[Fault]:
    """What no planner can call: a pattern that asks for it would never match."""
    if pattern.tool not in tools:
        yield from _unknown((*place, "tool"), pattern.tool, list(tools), "tool")
        return
    tool = tools[pattern.tool]
    takes = [name for name in tool.arguments.model_fields if name not in NOT_PLANNED]
    for argument, value in pattern.arguments.items():
        at = (*place, "arguments", argument)
        if argument not in takes:
            yield from _unknown(at, argument, takes, f"argument of {pattern.tool}")
        elif not isinstance(value, str):
            yield at, f"is text in every call: write '{value}', in quotes"
        elif block := tool.references.get(argument):
            yield from _unknown(at, value, list(getattr(operations, block)), f"name under {block}")


def _unknown_columns(scenario: Scenario, operations: Operations) -> Iterator[Fault]:
    bindings = operations.models.values()
    numeric = sorted({name for each in bindings for name in each.features.numeric})
    named = {name for each in bindings for name in (each.id, each.time, *each.features.names)}
    sources = {str(source.loaded_at) for each in bindings for source in each.sources.values() if source.loaded_at}
    for number, column in enumerate(scenario.broken.columns):
        yield from _unknown(("broken", "columns", number, "column"), column.column, sorted(named | sources), "column")
        if column.named in named | sources:
            yield ("broken", "columns", number, "named"), f"{column.named!r} is a column already; write another name"
    for number, scaled in enumerate(scenario.broken.scaled):
        yield from _unknown(("broken", "scaled", number, "column"), scaled.column, numeric, "numeric feature")
