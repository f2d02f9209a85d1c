"""Slack's Socket Mode over a real websocket on loopback: envelopes out, acknowledgements back, cut connections.

As Slack does it: `apps.connections.open` names the address, the server says hello, an envelope that is not acknowledged
is sent again (`deliver` with the same event).
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from socket import SHUT_RDWR
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve

from tests.fakes.slack_server import SlackServer, running_slack

PATIENCE = 60.0


@dataclass
class Socket:
    """The socket side of a workspace: delivers what happens to whoever is connected last."""

    slack: SlackServer
    url: str = ""
    connections: list[ServerConnection] = field(default_factory=list)
    acknowledged: dict[str, Any] = field(default_factory=dict)
    heard: threading.Condition = field(default_factory=threading.Condition)
    clock: int = 0

    def connected(self, times: int = 1) -> None:
        """Waits until somebody connected for the `times`th time."""
        with self.heard:
            assert self.heard.wait_for(lambda: len(self.connections) >= times, PATIENCE), "nobody connected"

    def cut(self) -> None:
        """Breaks the newest connection, without a word."""
        self.connections[-1].socket.shutdown(SHUT_RDWR)

    def refresh(self) -> None:
        """Asks the newest connection to make another one, as Slack does every few hours."""
        self.connections[-1].send(json.dumps({"type": "disconnect", "reason": "refresh_requested"}))

    def deliver(self, kind: str, payload: dict[str, Any], **more: Any) -> Any:
        """Sends an envelope and waits for its acknowledgement: what it carried."""
        id = uuid.uuid4().hex
        envelope = {"type": kind, "envelope_id": id, "payload": payload, "accepts_response_payload": True, **more}
        self.connections[-1].send(json.dumps(envelope))
        with self.heard:
            assert self.heard.wait_for(lambda: id in self.acknowledged, PATIENCE), f"{kind} was not acknowledged"
        return self.acknowledged[id]

    def event(self, event: dict[str, Any], event_id: str = "") -> None:
        """An event of the Events API."""
        body = {
            "type": "event_callback",
            "team_id": "T1",
            "api_app_id": "A1",
            "token": "verification",
            "event_id": event_id or f"Ev{uuid.uuid4().hex[:10]}",
            "authorizations": [{"team_id": "T1", "user_id": "UBOT", "is_bot": True}],
            "event": event,
        }
        self.deliver("events_api", body, retry_attempt=0, retry_reason="")

    def mention(self, text: str, *, user: str = "U0ANNA", thread: str | None = None, event_id: str = "") -> str:
        """Somebody mentions the app in #oncall; the ts of the thread."""
        self.clock += 1
        ts = f"1770000000.{self.clock:06d}"
        event = {"type": "app_mention", "channel": "C0ONCALL", "user": user, "text": f"<@UBOT> {text}", "ts": ts}
        self.event(event | ({"thread_ts": thread} if thread else {}), event_id)
        return thread or ts

    def click(self, action: str, approval: str, *, user: str = "U0ANNA", channel: str, ts: str) -> None:
        """Somebody clicks a button of a card."""
        body = {
            "type": "block_actions",
            "team": {"id": "T1"},
            "user": {"id": user},
            "api_app_id": "A1",
            "trigger_id": f"trigger-{user}",
            "channel": {"id": channel},
            "container": {"type": "message", "channel_id": channel, "message_ts": ts, "is_ephemeral": False},
            "actions": [{"type": "button", "action_id": action, "block_id": approval, "value": approval}],
        }
        self.deliver("interactive", body)

    def submit(self, trigger: str, why: str, *, user: str = "U0ANNA") -> None:
        """Somebody enters the reason of a denial."""
        view = {
            **self.slack.views[trigger],
            "state": {"values": {"why": {"why": {"type": "plain_text_input", "value": why}}}},
        }
        self.deliver(
            "interactive", {"type": "view_submission", "team": {"id": "T1"}, "user": {"id": user}, "view": view}
        )

    def command(self, text: str, *, user: str = "U0ANNA") -> None:
        """Somebody types /guardian."""
        body = {
            "command": "/guardian",
            "text": text,
            "user_id": user,
            "channel_id": "C0ONCALL",
            "team_id": "T1",
            "trigger_id": f"trigger-{user}",
            "response_url": self.slack.url.replace("/api/", "/respond"),
        }
        self.deliver("slash_commands", body)


def until(condition: Any, what: str) -> None:
    """Waits until `condition()` holds."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"{what} did not come about"
        time.sleep(0.02)


@contextmanager
def running_socket(channels: dict[str, str] | None = None) -> Iterator[Socket]:
    """A workspace with Socket Mode while the context lasts."""
    with running_slack(channels) as slack:
        socket = Socket(slack)

        def connection(there: ServerConnection) -> None:
            there.send(json.dumps({"type": "hello", "num_connections": 1}))
            with socket.heard:
                socket.connections.append(there)
                socket.heard.notify_all()
            try:
                for text in there:
                    answer = json.loads(text)
                    with socket.heard:
                        socket.acknowledged[answer["envelope_id"]] = answer.get("payload")
                        socket.heard.notify_all()
            except ConnectionClosed:
                pass

        with serve(connection, "127.0.0.1", 0) as server:
            thread = threading.Thread(target=server.serve_forever, daemon=True)
            thread.start()
            slack.socket_url = lambda: f"ws://127.0.0.1:{server.socket.getsockname()[1]}/link"
            yield socket
            server.shutdown()
            thread.join()
