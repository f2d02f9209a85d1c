"""What a planner is: something that looks at a conversation and names the next step."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, model_validator

from policies.errors import SystemDown

MOST_BYTES = 4000
"""A planner's call is at most this long."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class ToolCall(_Value):
    """One tool to call. `call_id` is the planner's own name for it; it decides nothing.

    `arguments` are small and plain: JSON that every store can hold (no NaN, integers of 64 bits, whole characters).
    """

    name: str
    arguments: dict[str, Any]
    call_id: str = ""

    @model_validator(mode="after")
    def _is_plain(self) -> ToolCall:
        text = json.dumps([self.name, self.arguments, self.call_id], ensure_ascii=False, allow_nan=False)
        if len(text.encode()) > MOST_BYTES:
            raise ValueError(f"a call is at most {MOST_BYTES} bytes long")
        if any(abs(each) >= 2**63 for each in _integers(self.arguments)):
            raise ValueError("an integer needs more than 64 bits")
        return self


def _integers(value: object) -> Iterator[int]:
    if isinstance(value, int):
        yield value
    elif isinstance(value, list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _integers(each)


class Finish(_Value):
    """Nothing more to do; `summary` is what people are told."""

    summary: str


class Unusable(_Value):
    """An answer that is neither: `fault` is its kind (such as `invalid_json`), `problem` the plain error sent back."""

    fault: str
    problem: str
    raw: str = ""
    name: str = ""


Answer = ToolCall | Finish | Unusable


class Briefing(_Value):
    """Where a run starts: what is known about one model, as text for people and language models, and as facts."""

    model: str
    text: str
    facts: dict[str, Any] = {}


class Step(_Value):
    """One answer of the planner and what came of it: `facts` is the compact result, `text` what the planner reads."""

    number: int
    call: ToolCall | None = None
    unusable: Unusable | None = None
    status: Literal["done", "failed", "refused", "invalid"]
    text: str
    facts: dict[str, Any] = {}


class Conversation(_Value):
    """All a planner may decide by: the briefing and the steps so far."""

    run_id: str
    briefing: Briefing
    steps: tuple[Step, ...] = ()

    def last(self, tool: str) -> Step | None:
        """The newest step that did call `tool` and was carried out."""
        return next((s for s in reversed(self.steps) if s.call and s.call.name == tool and s.status == "done"), None)


class ProviderDown(SystemDown):
    """The planner's provider did not answer usefully, after retries."""


class Planner(Protocol):
    """Names the next step. It never acts, and nothing it says is trusted."""

    name: str

    def next(self, conversation: Conversation) -> Answer:
        """One tool call, or the end. Raises ProviderDown, or PolicyRefusal (`budget`) before an unaffordable call."""
        ...

    @property
    def about(self) -> Mapping[str, str]:
        """What is logged with every run: model, profile, version of the prompts."""
        ...
