"""How a conversation is written for OpenAI's two APIs, and how their answers are read.

System text and tools come first and are the same bytes in every request, then the briefing, then the steps in order:
each request starts with the one before it, so that providers can reuse their cache of the prompt.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from agent.planners.profiles import Profile
from agent.planners.protocol import Answer, Conversation, Finish, Step, ToolCall, Unusable
from agent.planners.schemas import ToolSchema
from agent.untrusted import clean, clean_lines, redacted

EMPTY = "Your answer was empty. Call one tool, or finish with a short summary."
REFUSED = "You declined to answer. Call one tool, or finish with a short summary."
TRUNCATED = "Your answer was cut off at the output limit. Answer shorter: one tool call, or a short summary."


@dataclass(frozen=True)
class Usage:
    """Tokens as the provider reports them; `cached` are part of `prompt`."""

    prompt: int
    output: int
    cached: int = 0


class Wire(Protocol):
    """One API flavour."""

    def request(
        self, profile: Profile, system: str, tools: Sequence[ToolSchema], conversation: Conversation
    ) -> dict[str, Any]:
        """The keyword arguments of the client's create call."""
        ...

    def read(self, body: Mapping[str, Any]) -> tuple[Answer, Usage | None]:
        """The answer in a response body, what it used. Raises KeyError, TypeError or ValueError for another body."""
        ...


def prompt_text(request: Mapping[str, Any]) -> str:
    """All text of a request that becomes prompt tokens, such that a longer conversation starts with the shorter one."""
    items = request.get("messages") or request["input"]
    parts = [json.dumps(request["tools"]), request.get("instructions", "")]
    return "\n".join([*parts, *(json.dumps(item, ensure_ascii=False) for item in items)])


class Chat:
    """Chat Completions, which OpenAI-compatible servers speak."""

    def request(
        self, profile: Profile, system: str, tools: Sequence[ToolSchema], conversation: Conversation
    ) -> dict[str, Any]:
        """The keyword arguments of `chat.completions.create`."""
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": system},
            {"role": "user", "content": conversation.briefing.text},
        ]
        for step in conversation.steps:
            messages += self._step(step)
        request: dict[str, Any] = {
            "model": profile.model,
            "tools": [{"type": "function", "function": {**_function(tool), "strict": True}} for tool in tools],
            "messages": messages,
            "parallel_tool_calls": False,
            profile.output_limit: profile.max_output_tokens,
        }
        return request | {
            k: v for k, v in (("temperature", profile.temperature), ("seed", profile.seed)) if v is not None
        }

    def _step(self, step: Step) -> list[dict[str, Any]]:
        if step.call is None:
            return [
                {"role": "assistant", "content": _raw(step)},
                {"role": "user", "content": step.text},
            ]
        function = {"name": step.call.name, "arguments": _arguments(step.call)}
        call = {"id": f"call_{step.number}", "type": "function", "function": function}
        return [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": call["id"], "content": step.text},
        ]

    def read(self, body: Mapping[str, Any]) -> tuple[Answer, Usage | None]:
        """The answer in a chat completion. Of several tool calls the first counts."""
        choice = body["choices"][0]
        message, reason = choice["message"], choice.get("finish_reason")
        usage = read_usage(body.get("usage"), "prompt_tokens", "completion_tokens")
        calls = message.get("tool_calls") or []
        text = message.get("content") or ""
        if reason == "length":
            return Unusable(fault="truncated", problem=TRUNCATED, raw=clean(text)), usage
        if message.get("refusal") or reason == "content_filter":
            return Unusable(fault="refusal", problem=REFUSED, raw=clean(message.get("refusal") or "")), usage
        if calls:
            function = calls[0]["function"]
            return read_call(function["name"], function["arguments"], calls[0].get("id") or ""), usage
        return _finish(text), usage


class Responses:
    """The Responses API, with nothing stored at the provider."""

    def request(
        self, profile: Profile, system: str, tools: Sequence[ToolSchema], conversation: Conversation
    ) -> dict[str, Any]:
        """The keyword arguments of `responses.create`."""
        items: list[dict[str, Any]] = [{"role": "user", "content": conversation.briefing.text}]
        for step in conversation.steps:
            items += self._step(step)
        request: dict[str, Any] = {
            "model": profile.model,
            "instructions": system,
            "tools": [{"type": "function", **_function(tool), "strict": True} for tool in tools],
            "input": items,
            "parallel_tool_calls": False,
            "store": False,
            "max_output_tokens": profile.max_output_tokens,
        }
        return request | ({} if profile.temperature is None else {"temperature": profile.temperature})

    def _step(self, step: Step) -> list[dict[str, Any]]:
        if step.call is None:
            return [{"role": "assistant", "content": _raw(step)}, {"role": "user", "content": step.text}]
        call_id = f"call_{step.number}"
        return [
            {"type": "function_call", "call_id": call_id, "name": step.call.name, "arguments": _arguments(step.call)},
            {"type": "function_call_output", "call_id": call_id, "output": step.text},
        ]

    def read(self, body: Mapping[str, Any]) -> tuple[Answer, Usage | None]:
        """The answer in a response. Of several function calls the first counts."""
        usage = read_usage(body.get("usage"), "input_tokens", "output_tokens")
        if body["status"] == "failed":
            raise ValueError(f"the response failed: {(body.get('error') or {}).get('message', 'no reason given')}")
        contents = [part for item in body["output"] if item["type"] == "message" for part in item["content"]]
        text = "".join(part.get("text", "") for part in contents if part["type"] == "output_text")
        if body["status"] == "incomplete":
            filtered = (body.get("incomplete_details") or {}).get("reason") == "content_filter"
            fault, problem = ("refusal", REFUSED) if filtered else ("truncated", TRUNCATED)
            return Unusable(fault=fault, problem=problem, raw=clean(text)), usage
        refusals = [part["refusal"] for part in contents if part["type"] == "refusal"]
        if refusals:
            return Unusable(fault="refusal", problem=REFUSED, raw=clean(refusals[0])), usage
        for item in body["output"]:
            if item["type"] == "function_call":
                return read_call(item["name"], item["arguments"], item.get("call_id") or ""), usage
        return _finish(text), usage


def read_usage(used: object, prompt: str, output: str) -> Usage | None:
    """What a body says was used; None where that can be no number of tokens: such a call stays at its reservation."""
    if not isinstance(used, dict):
        return None
    details = used.get(f"{prompt}_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else 0
    numbers = [n for n in (used.get(prompt), used.get(output), cached or 0) if type(n) is int and 0 <= n < 2**31]
    return Usage(*numbers) if len(numbers) == 3 else None


def read_call(name: object, arguments: object, call_id: str) -> ToolCall | Unusable:
    """A tool call from a model's words; arguments that are no JSON object make it unusable."""
    tool = clean(name, 60)
    try:
        given = json.loads(arguments if isinstance(arguments, str) else "")
        if not isinstance(given, dict):
            raise ValueError("they are JSON, but no object")
        return ToolCall(name=tool, arguments=redacted(given), call_id=clean(call_id, 80))
    except ValidationError as error:
        problem = clean(error.errors()[0]["msg"])
    except (ValueError, RecursionError) as error:
        problem = clean(error)
    told = f"The arguments of {tool} could not be read: {problem}. Call it again with one JSON object."
    return Unusable(
        fault="invalid_json", problem=told, raw=clean(arguments, 300), name=tool, call_id=clean(call_id, 80)
    )


def _finish(text: str) -> Finish | Unusable:
    summary = clean_lines(text, 2000)
    return Finish(summary=summary) if summary else Unusable(fault="empty", problem=EMPTY)


def _function(tool: ToolSchema) -> dict[str, Any]:
    return {"name": tool.name, "description": tool.description, "parameters": tool.parameters}


def _arguments(call: ToolCall) -> str:
    return json.dumps(call.arguments, ensure_ascii=False, separators=(",", ":"))


def _raw(step: Step) -> str:
    return (step.unusable.raw if step.unusable else "") or "(no answer)"
