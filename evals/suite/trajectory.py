"""Whether the calls a planner made are those a scenario asks for; pure functions over lists of calls."""

from __future__ import annotations

import json
from collections.abc import Sequence

from evals.suite.end_state import MadeCall
from evals.suite.scenario import CallPattern, Trajectory


def matches(pattern: CallPattern, call: MadeCall) -> bool:
    """Tool and written arguments agree. Without `attempted` the call must have been carried out, a training begun."""
    if pattern.tool != call.tool:
        return False
    if any(call.arguments.get(name) != value for name, value in pattern.arguments.items()):
        return False
    return pattern.attempted or took_effect(call)


def took_effect(call: MadeCall) -> bool:
    """Whether the call did what it names: carried out, and of a training not skipped."""
    return call.status == "done" and call.facts.get("started", True) is not False


def faults(wanted: Trajectory, calls: Sequence[MadeCall]) -> list[str]:
    """What is wrong with the calls carried out; empty where they match as asked."""
    made = [call for call in calls if call.status == "done"]
    if wanted.match in ("exact", "ordered"):
        return _in_order(wanted.calls, made, exact=wanted.match == "exact")
    left = list(made)
    missing = []
    for pattern in wanted.calls:
        found = next((call for call in left if matches(pattern, call)), None)
        if found is None:
            missing.append(f"{shown(pattern)} was not called")
        else:
            left.remove(found)
    extra = [f"{told(call)} was called too" for call in left] if wanted.match == "unordered" else []
    return missing + extra


def redundant(calls: Sequence[MadeCall]) -> list[str]:
    """Calls that brought nothing: refused, failed or unusable, or the same as one of that run before, with no call
    between that changed anything."""
    found, seen = [], set[str]()
    for call in calls:
        key = json.dumps([call.run, call.model, call.tool, call.arguments], sort_keys=True)
        if call.status != "done":
            found.append(f"{told(call)} {call.status}")
        elif key in seen:
            found.append(f"{told(call)} repeated")
        if call.status == "done" and call.tool in ("retrain", "deploy") and took_effect(call):
            seen.clear()
        seen.add(key)
    return found


def shown(pattern: CallPattern) -> str:
    """A pattern as people read it."""
    return f"{pattern.tool}{_arguments(pattern.arguments)}"


def told(call: MadeCall) -> str:
    """A call as people read it."""
    return f"{call.tool}{_arguments(call.arguments)}"


def _in_order(wanted: Sequence[CallPattern], made: Sequence[MadeCall], *, exact: bool) -> list[str]:
    place = 0
    for pattern in wanted:
        while place < len(made) and not matches(pattern, made[place]):
            if exact:
                return [f"call {place + 1} is {told(made[place])}, wanted {shown(pattern)}"]
            place += 1
        if place == len(made):
            return [f"{shown(pattern)} was not called{'' if exact else ' in its turn'}"]
        place += 1
    if exact and place < len(made):
        return [f"{told(call)} was called too" for call in made[place:]]
    return []


def _arguments(arguments: dict[str, object]) -> str:
    return f"({', '.join(f'{name}={value}' for name, value in arguments.items())})"
