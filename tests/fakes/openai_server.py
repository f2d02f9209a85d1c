"""An OpenAI-compatible server on loopback, in the real wire format of Chat Completions and Responses, by a script.

A script is a function from the request's JSON to a reply: `Call`, `Calls`, `Say`, `Refuse`, `Truncated`, `Failure`,
`Hang`, `HalfJson`, `Body` or `Misreported`. Requests are recorded. `python -m tests.fakes.openai_server --port N`
plays `follow_the_book`.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from agent.tokens import count_bytes, counter


@dataclass(frozen=True)
class Call:
    """A tool call; `arguments` as text is sent as it is."""

    name: str
    arguments: Mapping[str, Any] | str


@dataclass(frozen=True)
class Calls:
    """Several tool calls at once."""

    calls: Sequence[Call]


@dataclass(frozen=True)
class Say:
    """A message without a tool call; empty text is an empty answer."""

    text: str


@dataclass(frozen=True)
class Refuse:
    """The model declines."""

    text: str = "I can't help with that."


@dataclass(frozen=True)
class Truncated:
    """An answer cut off at the output limit."""

    text: str = "I would now"


@dataclass(frozen=True)
class Failure:
    """An HTTP error with OpenAI's error body."""

    status: int
    message: str = "The server had an error while processing your request."
    type: str = "server_error"
    code: str | None = None
    retry_after: float | None = None


@dataclass(frozen=True)
class Hang:
    """No answer for `seconds`."""

    seconds: float = 30.0


@dataclass(frozen=True)
class HalfJson:
    """A 200 whose body stops in the middle."""


@dataclass(frozen=True)
class Body:
    """A 200 with this body."""

    body: bytes


@dataclass(frozen=True)
class Misreported:
    """A message whose reported usage (prompt and output tokens) is anything."""

    text: str
    prompt: Any
    output: Any = 10


Reply = Call | Calls | Say | Refuse | Truncated | Failure | Hang | HalfJson | Body | Misreported
Script = Callable[[dict[str, Any]], Reply]


@dataclass
class OpenAIServer:
    """A running server: its base URL, and the requests it got (path, headers, body)."""

    script: Script
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    prompts: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    url: str = ""

    def answer(self, path: str, request: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a request."""
        kind = {"/v1/chat/completions": "chat", "/v1/responses": "responses"}.get(path)
        if kind is None:
            return _error(Failure(404, f"Unknown request URL: POST {path}.", "invalid_request_error", "unknown_url"))
        if fault := _fault(kind, request):
            return _error(Failure(400, fault, "invalid_request_error"))
        reply = self.script(request)
        if isinstance(reply, Failure):
            return _error(reply)
        if isinstance(reply, Hang):
            self.stopping.wait(reply.seconds)
            reply = Say("too late")
        if isinstance(reply, Body):
            return 200, {}, reply.body
        usage = self._usage(request, reply)
        body = json.dumps((_chat if kind == "chat" else _response)(request, reply, usage)).encode()
        if isinstance(reply, HalfJson):
            body = body[: len(body) // 2]
        return 200, {"x-request-id": f"req_{uuid.uuid4().hex}"}, body

    def _usage(self, request: dict[str, Any], reply: Reply) -> tuple[int, int, int]:
        """Prompt tokens, of them cached (a shared prefix, 128 by 128 from 1024), output."""
        if isinstance(reply, Misreported):
            return reply.prompt, 0, reply.output
        prompt = "".join(json.dumps(each) for each in _prompt(request))
        longest = max((_common(prompt, earlier) for earlier in self.prompts), default=0)
        self.prompts.append(prompt)
        shared = tokens_of(prompt[:longest])
        cached = shared // 128 * 128 if shared >= 1024 else 0
        return tokens_of(prompt), cached, max(8, tokens_of(str(reply)))


def tokens_of(text: str) -> int:
    """gpt-4o's tokens where its vocabulary is in the reference data, else one for three characters: JSON is dense."""
    return _counter()(text)


@cache
def _counter() -> Callable[[str], int]:
    reference = os.environ.get("GUARDIAN_REFERENCE_DATA")
    with pytest.MonkeyPatch.context() as environment:
        if reference:
            environment.setenv("TIKTOKEN_CACHE_DIR", str(Path(reference) / "data" / "tiktoken"))
        found = counter("o200k_base")
    return found if found is not count_bytes else lambda text: len(text) // 3


def _prompt(request: Mapping[str, Any]) -> list[Any]:
    items = request.get("messages") or [request.get("instructions"), *_items(request)]
    return [request.get("tools"), *items]


def _items(request: Mapping[str, Any]) -> list[dict[str, Any]]:
    given = request.get("input", [])
    return [{"role": "user", "content": given}] if isinstance(given, str) else list(given)


def _common(one: str, other: str) -> int:
    short = min(len(one), len(other))
    return next((place for place in range(short) if one[place] != other[place]), short)


def _fault(kind: str, request: Mapping[str, Any]) -> str | None:
    """What OpenAI would reject: strict schemas that are not strict, and tool outputs without their call."""
    for tool in request.get("tools", []):
        function = tool["function"] if kind == "chat" else tool
        if fault := _lax(function["parameters"]) if function.get("strict") else None:
            return f"Invalid schema for function '{function['name']}': {fault}"
    calls: set[str] = set()
    for item in request.get("messages", []) if kind == "chat" else _items(request):
        calls |= {call["id"] for call in item.get("tool_calls") or []}
        if item.get("type") == "function_call":
            calls.add(item["call_id"])
        output = item.get("tool_call_id") if item.get("role") == "tool" else None
        output = item["call_id"] if item.get("type") == "function_call_output" else output
        if output is not None and output not in calls:
            return f"No tool call found for function call output with call_id {output}."
    return None


def _lax(schema: Mapping[str, Any]) -> str | None:
    if schema.get("type") == "object":
        if schema.get("additionalProperties") is not False:
            return "'additionalProperties' is required to be supplied and to be false."
        missing = set(schema.get("properties", {})) - set(schema.get("required", []))
        if missing:
            return f"'required' is required to include every key in properties. Missing {sorted(missing)}."
    if "default" in schema:
        return "'default' is not permitted."
    nested = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    nested += [schema["items"]] if "items" in schema else []
    return next((fault for each in nested if (fault := _lax(each))), None)


def _error(failure: Failure) -> tuple[int, dict[str, str], bytes]:
    error = {"message": failure.message, "type": failure.type, "param": None, "code": failure.code}
    headers = {} if failure.retry_after is None else {"retry-after": f"{failure.retry_after:g}"}
    return failure.status, headers, json.dumps({"error": error}).encode()


def _calls(reply: Reply) -> list[Call]:
    return [reply] if isinstance(reply, Call) else list(reply.calls) if isinstance(reply, Calls) else []


def _arguments(call: Call) -> str:
    return call.arguments if isinstance(call.arguments, str) else json.dumps(dict(call.arguments))


def _text(reply: Reply) -> str | None:
    return reply.text if isinstance(reply, Say | Truncated | Misreported) else None


def _sum(prompt: Any, output: Any) -> Any:
    return prompt + output if isinstance(prompt, int) and isinstance(output, int) else None


def _chat(request: Mapping[str, Any], reply: Reply, usage: tuple[int, int, int]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": _text(reply), "refusal": None, "annotations": []}
    if isinstance(reply, Refuse):
        message["refusal"] = reply.text
    if calls := _calls(reply):
        message["tool_calls"] = [
            {
                "id": f"call_{uuid.uuid4().hex[:24]}",
                "type": "function",
                "function": {"name": call.name, "arguments": _arguments(call)},
            }
            for call in calls
        ]
    reason = "tool_calls" if calls else "length" if isinstance(reply, Truncated) else "stop"
    prompt, cached, output = usage
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex[:29]}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": f"{request['model']}-2024-08-06",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": reason}],
        "usage": {
            "prompt_tokens": prompt,
            "completion_tokens": output,
            "total_tokens": _sum(prompt, output),
            "prompt_tokens_details": {"cached_tokens": cached, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": 0,
                "audio_tokens": 0,
                "accepted_prediction_tokens": 0,
                "rejected_prediction_tokens": 0,
            },
        },
        "service_tier": "default",
        "system_fingerprint": "fp_loopback",
    }


def _response(request: Mapping[str, Any], reply: Reply, usage: tuple[int, int, int]) -> dict[str, Any]:
    incomplete = isinstance(reply, Truncated)
    status = "incomplete" if incomplete else "completed"
    output: list[dict[str, Any]] = [
        {
            "id": f"fc_{uuid.uuid4().hex}",
            "type": "function_call",
            "status": "completed",
            "call_id": f"call_{uuid.uuid4().hex[:24]}",
            "name": call.name,
            "arguments": _arguments(call),
        }
        for call in _calls(reply)
    ]
    content: list[dict[str, Any]] = []
    if isinstance(reply, Refuse):
        content = [{"type": "refusal", "refusal": reply.text}]
    elif _text(reply):
        content = [{"type": "output_text", "text": _text(reply), "annotations": [], "logprobs": []}]
    if content:
        identity = {"id": f"msg_{uuid.uuid4().hex}", "type": "message", "status": status}
        output.append({**identity, "role": "assistant", "content": content})
    prompt, cached, written = usage
    return {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "background": False,
        "error": None,
        "incomplete_details": {"reason": "max_output_tokens"} if incomplete else None,
        "instructions": request.get("instructions"),
        "max_output_tokens": request.get("max_output_tokens"),
        "model": f"{request['model']}-2024-08-06",
        "output": output,
        "parallel_tool_calls": request.get("parallel_tool_calls", True),
        "previous_response_id": None,
        "store": request.get("store", True),
        "temperature": request.get("temperature", 1.0),
        "tool_choice": "auto",
        "tools": request.get("tools", []),
        "truncation": "disabled",
        "usage": {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 0},
            "output_tokens": written,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": _sum(prompt, written),
        },
        "metadata": {},
    }


@contextmanager
def serve(script: Script, port: int = 0) -> Iterator[OpenAIServer]:
    """A server on loopback until the block ends; `url` is what OPENAI_BASE_URL takes."""
    server = OpenAIServer(script)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.requests.append(request)
            server.headers.append({key.lower(): value for key, value in self.headers.items()})
            server.paths.append(self.path)
            status, headers, body = server.answer(self.path, request)
            try:
                self.send_response(status)
                for key, value in {**headers, "content-type": "application/json"}.items():
                    self.send_header(key, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    listening = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    listening.daemon_threads = True
    server.url = f"http://127.0.0.1:{listening.server_port}/v1"
    thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping.set()
        listening.shutdown()
        listening.server_close()


def in_turn(*replies: Reply) -> Script:
    """A script that gives the replies one after another, and the last one from then on."""
    left = list(replies)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


def follow_the_book(request: dict[str, Any]) -> Reply:
    """Plays the seed's flow by reading the briefing and the tool outputs of the conversation."""
    briefing, outputs = conversation(request)
    names = _declared(briefing)
    report = outputs.get("check_drift") or _embedded(briefing, "drift report")
    if report is None:
        return Call("check_drift", {"monitor": names["monitors"]})
    if report.get("checks_by_type", {}).get("schema_drift") == "critical":
        return Say("The pipeline is broken, not the world: no retraining; the source's owner must mend it.")
    if not report.get("drift_detected"):
        return Say("No drift; nothing to do.")
    if "retrain" not in outputs:
        return Call("retrain", {"pipeline": names["pipeline"]})
    if not outputs["retrain"].get("started"):
        return Say(f"No retraining: {outputs['retrain'].get('skipped_because', outputs['retrain'])}.")
    if "evaluate" not in outputs:
        return Call("evaluate", {"challenge": names["challenge"]})
    judged = outputs["evaluate"]
    if judged.get("verdict") != "challenger_wins" or judged.get("gate", {}).get("status") != "passed":
        return Say(f"The champion stays: {judged.get('verdict')}, gate {judged.get('gate', {}).get('status')}.")
    if "deploy" not in outputs:
        model = re.search(r"Model (\S+),", briefing)
        version = str(outputs["retrain"]["version"])
        return Call("deploy", {"strategy": names["strategy"], "model": model[1] if model else "", "version": version})
    if "track_kpis" not in outputs and "trackers" in names:
        return Call("track_kpis", {"tracker": names["trackers"]})
    return Say("Drift was found; the retrained version won, passed its gate and its canary started. KPIs are read.")


def conversation(request: Mapping[str, Any]) -> tuple[str, dict[str, dict[str, Any]]]:
    """The briefing's text, and the newest output of each tool (as JSON, else as `{"text": …}`)."""
    items = request.get("messages") or _items(request)
    briefing = next(str(item["content"]) for item in items if item.get("role") == "user")
    called: dict[str, str] = {}
    outputs: dict[str, dict[str, Any]] = {}
    for item in items:
        for call in item.get("tool_calls") or []:
            called[call["id"]] = call["function"]["name"]
        if item.get("type") == "function_call":
            called[item["call_id"]] = item["name"]
        if item.get("role") == "tool":
            outputs[called[item["tool_call_id"]]] = _parsed(item["content"])
        if item.get("type") == "function_call_output":
            outputs[called[item["call_id"]]] = _parsed(item["output"])
    return briefing, outputs


def _parsed(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError:
        return {"text": text}
    return found if isinstance(found, dict) else {"text": text}


def _embedded(briefing: str, label: str) -> dict[str, Any] | None:
    match = re.search(rf"^{label}: (\{{.*\}})$", briefing, re.MULTILINE)
    return json.loads(match[1]) if match else None


def _declared(briefing: str) -> dict[str, str]:
    match = re.search(r"^Declared: (.*?)\. Sources", briefing, re.MULTILINE)
    pairs = (part.split(" ", 1) for part in match[1].split("; ")) if match else ()
    return {key: value.split(", ")[0] for key, value in pairs}


def main() -> None:
    """Serves `follow_the_book` until interrupted."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--port", type=int, default=8765)
    with serve(follow_the_book, parser.parse_args().port) as server:
        print(f"OPENAI_BASE_URL={server.url}", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
