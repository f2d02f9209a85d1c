"""What a checkpoint holds, and what can be read off it without acting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, TypedDict

from pydantic import BaseModel, ConfigDict

from agent.planners.protocol import Briefing, Conversation, Step, ToolCall

WAITING = "waiting_approval"
NO_CALL: dict[str, Any] = {"answer": {}, "approval": "", "waits": False}
"""The change of state that lays a call aside."""


class LoopState(TypedDict):
    """What a checkpoint holds. Everything is JSON data."""

    run_id: str
    thread: str
    model: str
    planner: str
    briefing: dict[str, Any]
    steps: list[dict[str, Any]]
    answer: dict[str, Any]
    approval: str
    waits: bool
    notes: list[str]
    ending: dict[str, Any]


class Ending(BaseModel):
    """How a run over one model ended: `finished`, `budget_exhausted`, `stopped`; or `waiting_approval`, not yet.

    `approval` is the id of what it waits for.
    """

    model_config = ConfigDict(frozen=True)

    status: str
    summary: str
    planner: str
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    account: str
    approval: str | None = None


def after_plan(state: LoopState) -> str:
    """Where `plan` leads."""
    return "report" if state["ending"] else "authorize" if state["answer"] else "plan"


def after_authorize(state: LoopState) -> str:
    """Where `authorize` leads."""
    if state["ending"] or not state["answer"]:
        return "report" if state["ending"] else "plan"
    return "wait" if state["waits"] else "act"


def empty(run_id: str, thread: str, planner: str) -> LoopState:
    """A conversation that was not begun."""
    return LoopState(
        run_id=run_id,
        thread=thread,
        model="",
        planner=planner,
        briefing={},
        steps=[],
        answer={},
        approval="",
        waits=False,
        notes=[],
        ending={},
    )


def steps_of(state: LoopState) -> tuple[Step, ...]:
    """The steps so far."""
    return tuple(Step.model_validate(each) for each in state["steps"])


def conversation_of(state: LoopState) -> Conversation:
    """What a planner decides by."""
    briefing = Briefing.model_validate(state["briefing"])
    return Conversation(run_id=state["run_id"], briefing=briefing, steps=steps_of(state))


def signature(call: ToolCall) -> str:
    """A call's tool and arguments: the same for the same call."""
    return f"{call.name} {json.dumps(call.arguments, sort_keys=True)}"


def ending_of(state: Mapping[str, Any]) -> Ending:
    """How the conversation ended, or what it waits for."""
    ending = state["ending"]
    return Ending(
        status=ending["status"],
        summary=ending["summary"],
        planner=state["planner"],
        steps=tuple(Step.model_validate(each) for each in state["steps"]),
        notes=tuple(state["notes"]),
        account=ending["account"],
        approval=state["approval"] if ending["status"] == WAITING else None,
    )
