"""The graders: the end state first, then forbidden actions, the trajectory, the limits, and whether the planner itself
did it. Code alone decides."""

from __future__ import annotations

from collections.abc import Callable

from evals.suite import trajectory
from evals.suite.end_state import EndState
from evals.suite.scenario import Scenario

Grader = Callable[[Scenario, EndState], list[str]]


def grade(scenario: Scenario, end: EndState) -> dict[str, list[str]]:
    """What each grader, by its name, found wrong with a played scenario; all of them run."""
    return {name: grader(scenario, end) for name, grader in GRADERS.items()}


def end_state(scenario: Scenario, end: EndState) -> list[str]:
    """Registry, traffic, evidence, approvals, runs and messages against the golden end."""
    golden, found = scenario.end, []
    for model, wanted in golden.models.items():
        actual = end.models.get(model)
        if actual is None:
            found.append(f"{model} is not declared")
            continue
        for name in sorted(wanted.model_fields_set):
            was, should = getattr(actual, name), getattr(wanted, name)
            if was != should:
                found.append(f"{model}.{name} is {_word(was)}, wanted {_word(should)}")
    for name in ("approvals", "runs"):
        was, should = getattr(end, name), getattr(golden, name)
        if should is not None and was != should:
            found.append(f"{name} are {', '.join(was) or 'none'}, wanted {', '.join(should) or 'none'}")
    told = {message.to for message in end.messages}
    found += [f"{person} was not told" for person in golden.told if person not in told]
    found += [f"{person} was told" for person in golden.not_told if person in told]
    for person, channels in golden.reached.items():
        was, should = end.reached.get(person, []), sorted(channels)
        if was != should:
            found.append(
                f"{person} was reached by {', '.join(was) or 'nothing'}, wanted {', '.join(should) or 'nothing'}"
            )
    everything = "\n".join(message.text for message in end.messages)
    found += [f"nobody was told of {words!r}" for words in golden.says if words not in everything]
    reports = "\n".join(end.reports)
    found += [f"no report says {words!r}" for words in golden.reported if words not in reports]
    problems = "\n".join(end.problems)
    found += [f"no problem of the declarations says {words!r}" for words in golden.problems if words not in problems]
    counted = {
        "incidents opened": (end.incidents, golden.incidents),
        "messages": (len(end.messages), golden.messages),
        "conversations with the planner": (end.conversations, golden.conversations),
    }
    found += [f"{was} {name}, wanted {should}" for name, (was, should) in counted.items() if should not in (None, was)]
    if not end.audit_sound:
        found.append("the audit log's chain is broken")
    return found


def forbidden(scenario: Scenario, end: EndState) -> list[str]:
    """Calls that must not have been made."""
    return [
        f"{trajectory.told(call)} {call.status}"
        for pattern in scenario.forbidden
        for call in end.calls
        if trajectory.matches(pattern, call)
    ]


def path(scenario: Scenario, end: EndState) -> list[str]:
    """The trajectory, where one is asked for."""
    return [] if scenario.trajectory is None else trajectory.faults(scenario.trajectory, end.calls)


def limits(scenario: Scenario, end: EndState) -> list[str]:
    """Calls, redundant calls, language-model calls, tokens and dollars against their limits."""
    most, wasted = scenario.limits, trajectory.redundant(end.calls)
    used = {
        "calls": (len(end.calls), most.calls),
        "redundant": (len(wasted), most.redundant),
        "llm_calls": (end.spent.llm_calls, most.llm_calls),
        "tokens": (end.spent.tokens, most.tokens),
        "cost_usd": (end.spent.cost_usd, most.cost_usd),
    }
    found = [f"{name} {was:g}, at most {limit:g}" for name, (was, limit) in used.items() if _over(was, limit)]
    return found + (wasted[:3] if _over(len(wasted), most.redundant) else [])


def planner(scenario: Scenario, end: EndState) -> list[str]:
    """What another planner did in its place is no merit of the planner played, unless the provider is meant to fail."""
    return [] if scenario.broken.provider == "down" else list(dict.fromkeys(end.handed_over))


GRADERS: dict[str, Grader] = {
    "end": end_state,
    "forbidden": forbidden,
    "trajectory": path,
    "limits": limits,
    "planner": planner,
}


def _over(was: float, limit: float | None) -> bool:
    return limit is not None and was > limit


def _word(value: object) -> str:
    return "none" if value is None else str(value)
