"""A Slack workspace's Web API on loopback, in Slack's wire format: channels, messages, threads, metadata, faults.

Messages live in memory. A fault is queued with `fail` and hits the next request of its method: a refusal, a rate limit,
a server error, an answer that never comes though the message was posted (`swallow`), or a closed connection.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

TOKEN = "xoxb-fake-1234567890"
APP_TOKEN = "xapp-fake-1234567890"


@dataclass(frozen=True)
class Fault:
    """`status` with Slack's `error`; `retry_after` of a 429. `swallow`: the request is carried out, its answer lost."""

    status: int = 200
    error: str = ""
    retry_after: int | None = None
    swallow: bool = False


@dataclass
class SlackServer:
    """A running workspace: `url` is what SLACK_API_URL takes; `calls` are (method, arguments) in order."""

    channels: dict[str, str]
    url: str = ""
    token: str = TOKEN
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    messages: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    faults: dict[str, deque[Fault]] = field(default_factory=lambda: defaultdict(deque))
    views: dict[str, dict[str, Any]] = field(default_factory=dict)
    whispers: list[tuple[str, str]] = field(default_factory=list)
    panes: set[str] = field(default_factory=set)
    statuses: list[str] = field(default_factory=list)
    responses: list[dict[str, Any]] = field(default_factory=list)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    socket_url: Callable[[], str] = lambda: ""
    clock: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fail(self, method: str, *faults: Fault) -> None:
        """Queues faults of the next requests of `method`."""
        self.faults[method].extend(faults)

    def shown(self, channel: str) -> list[dict[str, Any]]:
        """What people see in the channel `#name`: messages, and replies that were broadcast."""
        there = self.messages[self.channels[channel.removeprefix("#")]]
        return [each for each in there if each.get("thread_ts") in (None, each["ts"]) or each.get("broadcast")]

    def answer(self, method: str, arguments: dict[str, Any]) -> dict[str, Any]:
        """What Slack says to a call."""
        handlers = {
            "auth.test": lambda given: {"user_id": "UBOT", "team_id": "T1", "bot_id": "B1", "user": "guardian"},
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "conversations.list": self._list,
            "conversations.open": lambda given: {"channel": {"id": self._channel(given["users"])}},
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "apps.connections.open": lambda given: {"url": self.socket_url()},
            "chat.postEphemeral": self._whisper,
            "views.open": lambda given: self._view(given["trigger_id"], given),
            "views.publish": lambda given: self._view(given["user_id"], given),
            "files.getUploadURLExternal": self._upload_url,
            "files.completeUploadExternal": self._uploaded,
            "assistant.threads.setStatus": self._status,
            "assistant.threads.setSuggestedPrompts": self._status,
        }
        if method not in handlers:
            return {"ok": False, "error": "unknown_method"}
        try:
            return {"ok": True, **handlers[method](arguments)}
        except LookupError as error:
            return {"ok": False, "error": str(error.args[0])}

    def thread(self, channel: str, ts: str) -> list[str]:
        """What people read in a thread's replies, in order."""
        return [_read(each) for each in self.messages[channel] if each.get("thread_ts") == ts]

    def _upload_url(self, given: dict[str, Any]) -> dict[str, Any]:
        id = f"F{len(self.files):04d}"
        self.files[id] = {"filename": given["filename"], "length": int(given["length"]), "alt": given.get("alt_txt")}
        return {"file_id": id, "upload_url": self.url.replace("/api/", f"/upload/{id}")}

    def _uploaded(self, given: dict[str, Any]) -> dict[str, Any]:
        shared = json.loads(given["files"])
        for each in shared:
            kept = self.files.get(each["id"], {})
            if len(kept.get("body", b"")) != kept.get("length"):
                raise LookupError("invalid_arguments")
            kept["title"] = each["title"]
            self._post({"channel": given["channel_id"], "thread_ts": given["thread_ts"], "text": f"[{each['title']}]"})
        return {"files": shared}

    def _whisper(self, given: dict[str, Any]) -> dict[str, Any]:
        self.whispers.append((given["user"], given["text"]))
        return {"message_ts": "1"}

    def _view(self, key: str, given: dict[str, Any]) -> dict[str, Any]:
        view = given["view"]
        self.views[key] = json.loads(view) if isinstance(view, str) else view
        return {"view": self.views[key]}

    def _status(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["thread_ts"] not in self.panes:
            raise LookupError("invalid_thread_ts")
        self.statuses.append(str(given.get("status", given.get("prompts"))))
        return {}

    def _channel(self, given: str) -> str:
        if given in self.channels.values():
            return given
        if given[:1] in ("U", "D"):
            return f"D{given[1:]}"  # the direct message with this user
        if given.removeprefix("#") not in self.channels:
            raise LookupError("channel_not_found")
        return self.channels[given.removeprefix("#")]

    def _post(self, given: dict[str, Any]) -> dict[str, Any]:
        channel = self._channel(given["channel"])
        self.clock += 1
        message: dict[str, Any] = {"type": "message", "ts": f"1767225600.{self.clock:06d}", "bot_id": "B1"}
        message |= {key: given[key] for key in ("text", "blocks", "metadata", "thread_ts") if key in given}
        if given.get("reply_broadcast"):
            message["broadcast"] = True
        self.messages[channel].append(message)
        return {"channel": channel, "ts": message["ts"], "message": message}

    def _update(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["channel"] not in self.channels.values() and given["channel"] not in self.messages:
            raise LookupError("channel_not_found")  # Slack takes no name here
        message = self._message(given["channel"], given["ts"])
        message |= {key: given[key] for key in ("text", "blocks", "metadata") if key in given}
        message["edited"] = True
        return {"channel": given["channel"], "ts": given["ts"], "text": message.get("text", "")}

    def _list(self, given: dict[str, Any]) -> dict[str, Any]:
        listed = [{"id": id, "name": name, "is_channel": True} for name, id in self.channels.items()]
        return {"channels": listed, "response_metadata": {"next_cursor": ""}}

    def _history(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["channel"] not in self.channels.values() and given["channel"][:1] != "D":
            raise LookupError("channel_not_found")
        there = self.messages[given["channel"]]
        roots = [each for each in there if each.get("thread_ts") in (None, each["ts"])]
        return {"messages": [self._seen(each, given) for each in reversed(roots)], "has_more": False}

    def _replies(self, given: dict[str, Any]) -> dict[str, Any]:
        self._message(given["channel"], given["ts"])
        there = self.messages[given["channel"]]
        thread = [each for each in there if given["ts"] in (each["ts"], each.get("thread_ts"))]
        return {"messages": [self._seen(each, given) for each in thread], "has_more": False}

    def _seen(self, message: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
        hidden = () if str(given.get("include_all_metadata")).lower() in ("true", "1") else ("metadata",)
        return {key: value for key, value in message.items() if key not in hidden}

    def _message(self, channel: str, ts: str) -> dict[str, Any]:
        for each in self.messages[channel]:
            if each["ts"] == ts:
                return each
        raise LookupError("message_not_found")


def _read(message: dict[str, Any]) -> str:
    """The sections of a message; its text is shown where it has none."""
    parts = [block["text"]["text"] for block in message.get("blocks") or () if block["type"] == "section"]
    return "\n".join(parts) or str(message["text"])


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    slack: SlackServer

    def do_POST(self) -> None:
        self._handle(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def do_GET(self) -> None:
        self._handle(b"")

    def _handle(self, body: bytes) -> None:
        path, _, query = self.path.partition("?")
        if path == "/respond":
            self.slack.responses.append(json.loads(body))
            return self._say(200, {"ok": True})
        if path.startswith("/upload/"):
            self.slack.files[path.removeprefix("/upload/")]["body"] = body
            return self._say(200, {"ok": True})
        method = path.removeprefix("/api/")
        with self.slack.lock:
            arguments = _arguments(body, query, self.headers.get("Content-Type", ""))
            self.slack.calls.append((method, arguments))
            fault = self.slack.faults[method].popleft() if self.slack.faults[method] else None
            token = APP_TOKEN if method == "apps.connections.open" else self.slack.token
            if self.headers.get("Authorization") != f"Bearer {token}":
                return self._say(200, {"ok": False, "error": "invalid_auth"})
            if fault is None or fault.swallow:
                said = self.slack.answer(method, arguments)
        if fault is None:
            return self._say(200, said)
        if fault.swallow:
            self.close_connection = True
            return None
        headers = {} if fault.retry_after is None else {"Retry-After": str(fault.retry_after)}
        if fault.status >= 500:
            return self._say(fault.status, None, headers)
        return self._say(fault.status, {"ok": False, "error": fault.error or "ratelimited"}, headers)

    def _say(self, status: int, said: dict[str, Any] | None, headers: dict[str, str] | None = None) -> None:
        body = b"<html>down</html>" if said is None else json.dumps(said).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html" if said is None else "application/json; charset=utf-8")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


def _arguments(body: bytes, query: str, content_type: str) -> dict[str, Any]:
    found: dict[str, Any] = {key: values[0] for key, values in parse_qs(query).items()}
    if "json" in content_type:
        return found | dict(json.loads(body or b"{}"))
    for key, values in parse_qs(body.decode()).items():
        found[key] = (
            json.loads(values[0]) if key in ("blocks", "metadata", "attachments", "view", "prompts") else values[0]
        )
    return found


@contextmanager
def running_slack(channels: dict[str, str] | None = None) -> Iterator[SlackServer]:
    """A workspace with `channels` (name to id) while the context lasts."""
    slack = SlackServer(channels or {"data-team": "C0DATA", "oncall": "C0ONCALL"})
    handler = type("Handler", (_Handler,), {"slack": slack})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    slack.url = f"http://127.0.0.1:{server.server_address[1]}/api/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
