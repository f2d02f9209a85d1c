"""The daemon's HTTP server: pages to look at, `/healthz`, `/status.json`, and Slack's requests, which are signed.

Nothing here changes anything but what Slack has signed. With GUARDIAN_API_KEY set the pages ask for it, as the
password of any user or as a bearer token.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import logging
import threading
from collections.abc import Callable, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from agent.daemon.page import DaemonState, front_page, model_page, overview, report_page
from policies.errors import GuardianError, InputError
from tools.systems.systems import Systems

if TYPE_CHECKING:
    from slack_bolt import App

_log = logging.getLogger(__name__)

SLACK_PATH = "/slack/events"
MOST_BODY = 1_000_000
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
_HTML, _JSON = "text/html; charset=utf-8", "application/json"


class StatusServer:
    """Serves from the moment it is made. Raises InputError where it cannot listen."""

    def __init__(
        self,
        systems: Systems,
        host: str,
        port: int,
        *,
        state: Callable[[], DaemonState],
        slack: Callable[[], App | None],
        key: str | None,
    ) -> None:
        handler = type("Handler", (_Handler,), {"systems": systems, "state": staticmethod(state), "key": key})
        handler.slack = staticmethod(slack)  # type: ignore[attr-defined]
        handler.names = _names(host)  # type: ignore[attr-defined]
        try:
            self._server = _Server((host, port), handler)
        except OSError as error:
            raise InputError(f"cannot listen: {error.strerror or error}", where=f"{host}:{port}") from error
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self._server.server_address[1]}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="status page", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Who went away before the answer is no error."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "guardian", ""
    timeout = 15
    systems: Systems
    state: Callable[[], DaemonState]
    slack: Callable[[], App | None]
    key: str | None
    names: frozenset[str] | None

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if path == "/healthz":
            return self._say(200, _JSON, '{"status":"ok"}')
        if self.names is not None and self._asked_host() not in self.names:
            return self._say(421, _JSON, '{"error":"this is not the name of this server"}')
        if not self._may_look():
            return self._say(401, _JSON, '{"error":"send the API key"}', {"WWW-Authenticate": 'Basic realm="guardian"'})
        try:
            kind, body = self._page(path)
        except InputError as error:
            return self._say(404, _JSON, json.dumps({"error": str(error)}))
        except Exception as error:
            _log.exception("%s failed", path)
            cause = str(error) if isinstance(error, GuardianError) else type(error).__name__
            return self._say(500, _JSON, json.dumps({"error": cause}))
        return self._say(200, kind, body)

    do_HEAD = do_GET

    def do_POST(self) -> None:
        app = self.slack() if urlsplit(self.path).path == SLACK_PATH else None
        if app is None:
            self.close_connection = True
            return self._say(405, _JSON, '{"error":"nothing is changed here"}', {"Allow": "GET, HEAD"})
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > MOST_BODY:
            self.close_connection = True
            return self._say(413, _JSON, '{"error":"send a Content-Length of at most 1 MB"}')
        from slack_bolt import BoltRequest

        body = self.rfile.read(int(length)).decode(errors="replace")
        headers: dict[str, str | Sequence[str]] = {name.lower(): value for name, value in self.headers.items()}
        answer = app.dispatch(BoltRequest(body=body, query=urlsplit(self.path).query, headers=headers))
        kind = (answer.headers.get("content-type") or ["text/plain"])[0]
        return self._say(answer.status, kind, answer.body or "")

    def _page(self, path: str) -> tuple[str, str]:
        if path == "/":
            return _HTML, front_page(overview(self.systems, self.state()))
        if path == "/status.json":
            return _JSON, overview(self.systems, self.state()).model_dump_json()
        if path.startswith("/models/"):
            return _HTML, model_page(self.systems, path.removeprefix("/models/"))
        if path.startswith("/runs/"):
            return _HTML, report_page(self.systems, path.removeprefix("/runs/"))
        raise InputError("there is no such page", where=path)

    def _may_look(self) -> bool:
        if self.key is None:
            return True
        scheme, _, sent = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            try:
                sent = base64.b64decode(sent).decode().partition(":")[2]
            except (binascii.Error, UnicodeDecodeError):
                return False
        return hmac.compare_digest(sent.encode(), self.key.encode())

    def _asked_host(self) -> str:
        return (urlsplit(f"//{self.headers.get('Host', '')}").hostname or "").lower()

    def _say(self, status: int, kind: str, body: str, more: dict[str, str] | None = None) -> None:
        data = body.encode()
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(data)),
            "Cache-Control": "no-store",
            "Content-Security-Policy": _POLICY,
            "X-Content-Type-Options": "nosniff",
            "X-Frame-Options": "DENY",
            "Referrer-Policy": "no-referrer",
            **(more or {}),
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Not one line a request."""


def _names(host: str) -> frozenset[str] | None:
    """The names by which a server on loopback is asked, so that no other site's name leads to it; None elsewhere."""
    try:
        loopback = ip_address(host).is_loopback
    except ValueError:
        loopback = host == "localhost"
    return frozenset({"localhost", "127.0.0.1", "::1", host.lower()}) if loopback else None
