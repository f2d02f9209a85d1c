"""PagerDuty's Events API v2 on loopback: incidents by deduplication key, as the real one keeps them."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ROUTING_KEY = "R0" + "0123456789abcdef" * 2


@dataclass
class PagerDutyServer:
    """A running service. `paged` is how often somebody was called; `statuses` are answers to give first: 429, 500."""

    url: str = ""
    keys: tuple[str, ...] = (ROUTING_KEY,)
    events: list[dict[str, Any]] = field(default_factory=list)
    incidents: dict[str, dict[str, Any]] = field(default_factory=dict)
    statuses: deque[tuple[int, dict[str, str]]] = field(default_factory=deque)
    paged: int = 0

    def take(self, event: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Enqueues an event as PagerDuty does."""
        if event.get("routing_key") not in self.keys:
            return 400, {"status": "invalid event", "message": "Event object is invalid", "errors": ["routing_key"]}
        action, key = event["event_action"], event["dedup_key"]
        if action == "trigger" and not {"summary", "source", "severity"} <= event["payload"].keys():
            return 400, {"status": "invalid event", "message": "Event object is invalid", "errors": ["payload"]}
        self.events.append(event)
        known = self.incidents.get(key)
        if action == "trigger" and (known is None or known["status"] == "resolved"):
            self.incidents[key] = {"status": "triggered", **event["payload"]}
            self.paged += 1
        elif action == "trigger" and known is not None:
            known["severity"] = event["payload"]["severity"]
        elif known is not None and known["status"] != "resolved":
            known["status"] = {"acknowledge": "acknowledged", "resolve": "resolved"}[action]
        return 202, {"status": "success", "message": "Event processed", "dedup_key": key}


class _Handler(BaseHTTPRequestHandler):
    service: PagerDutyServer

    def do_POST(self) -> None:
        event = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers: dict[str, str] = {}
        if self.path != "/v2/enqueue":
            status, said = 404, {"message": "Not Found"}
        elif self.service.statuses:
            status, headers = self.service.statuses.popleft()
            said = {"message": "later"}
        else:
            status, said = self.service.take(event)
        body = json.dumps(said).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def running_pagerduty() -> Iterator[PagerDutyServer]:
    """A service while the context lasts."""
    service = PagerDutyServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": service}))
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
