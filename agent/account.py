"""The account of a run: what was found, what was done, how it ended, what is left. Deterministic, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from agent.planners.protocol import Briefing, Conversation, Finish, Planner, Step, ToolCall
from agent.rendering import headline
from agent.untrusted import clean


def outcome_of(step: Step) -> str:
    """What came of a step, in a few words."""
    return headline(step.facts) if step.status == "done" else f"{step.status}: {step.text}"


def given(call: ToolCall) -> str:
    """A call's arguments in a line, whatever a model wrote into them."""
    return " ".join(f"{clean(key, 40)}={clean(value, 80)}" for key, value in list(call.arguments.items())[:12])


def account(
    briefing: Briefing,
    steps: Sequence[Step],
    ending: Mapping[str, Any],
    *,
    notes: Sequence[str] = (),
    left_to_do: str | None = None,
) -> str:
    """A few lines of text: one for the model, one a step, then the ending, notes, and what is left to do."""
    lines = [f"{briefing.model}: {briefing.facts.get('because', 'asked')}"]
    for step in steps:
        if step.call is not None:
            lines.append(f"  {step.number}. {step.call.name} {given(step.call)}: {outcome_of(step)}")
        else:
            lines.append(f"  {step.number}. an answer that could not be used: {step.text}")
    lines += [f"  Note: {note}" for note in notes]
    lines.append(f"  Ended {str(ending['status']).replace('_', ' ')}: {ending['summary']}")
    if left_to_do:
        lines.append(f"  Left to do: {left_to_do}")
    return "\n".join(lines)


def what_is_left(runbook: Planner, conversation: Conversation) -> str | None:
    """What the fixed rules would do next, for a run that ended early."""
    following = runbook.next(conversation)
    if isinstance(following, ToolCall):
        return f"{following.name} {given(following)}".strip()
    return following.summary if isinstance(following, Finish) else None
