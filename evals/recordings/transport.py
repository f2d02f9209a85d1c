"""Transports for the real `openai` client: one writes down what passes, one answers from a recording, one refuses.

They sit below the client, so that building requests, parsing answers, retries and the budget run as they do live.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence

import httpx2

from agent.untrusted import redact
from evals.recordings.recording import Exchange
from policies.errors import InputError

KEPT_HEADERS = ("content-type", "retry-after", "x-request-id")


class Recorder(httpx2.BaseTransport):
    """Passes requests on and keeps every exchange, without credentials."""

    def __init__(self, inner: httpx2.BaseTransport | None = None) -> None:
        self._inner = inner or httpx2.HTTPTransport()
        self.exchanges: list[Exchange] = []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The endpoint's own answer. Raises its own errors, which are kept too."""
        body = request.read().decode()
        try:
            response = self._inner.handle_request(request)
            response.read()
        except httpx2.TransportError as error:
            self._keep(request, body, None, {}, f"{type(error).__name__}: {error}")
            raise
        headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        self._keep(request, body, response.status_code, headers, response.text)
        return httpx2.Response(response.status_code, headers=headers, text=response.text, request=request)

    def _keep(
        self, request: httpx2.Request, body: str, status: int | None, headers: dict[str, str], response: str
    ) -> None:
        self.exchanges.append(
            Exchange(
                method=request.method,
                path=redact(_api(request.url.path)),
                request=redact(body),
                status=status,
                headers={name: redact(value) for name, value in headers.items()},
                response=redact(response),
            )
        )

    def close(self) -> None:
        """Closes the connection."""
        self._inner.close()


class Replay(httpx2.BaseTransport):
    """Answers requests from a recording, in its order. A request that differs is refused, and so is all after it."""

    def __init__(self, exchanges: Sequence[Exchange]) -> None:
        self._exchanges = exchanges
        self._asked = 0
        self._fault: str | None = None

    @property
    def faults(self) -> list[str]:
        """What kept the replay from being the recorded run; empty where it was."""
        if self._fault is not None:
            return [self._fault]
        left = len(self._exchanges) - self._asked
        return [f"{left} of {len(self._exchanges)} recorded answers were not asked for"] if left else []

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """The recorded answer. Raises InputError with a diff where the request is not the recorded one, ConnectError
        where the recorded one got no answer."""
        if self._fault is None:
            self._fault = self._difference(request)
        if self._fault is not None:
            raise InputError(self._fault, where="recording")
        exchange = self._exchanges[self._asked]
        self._asked += 1
        if exchange.status is None:
            raise httpx2.ConnectError(exchange.response, request=request)
        return httpx2.Response(exchange.status, headers=exchange.headers, text=exchange.response, request=request)

    def _difference(self, request: httpx2.Request) -> str | None:
        if self._asked >= len(self._exchanges):
            return f"request {self._asked + 1} was never recorded: the recording ends after {self._asked}"
        recorded = self._exchanges[self._asked]
        if (request.method, _api(request.url.path)) != (recorded.method, _api(recorded.path)):
            asked = f"{request.method} {request.url.path}"
            return f"request {self._asked + 1} is {asked}, recorded was {recorded.method} {recorded.path}"
        asked = redact(request.read().decode())
        if asked == recorded.request:
            return None
        return f"request {self._asked + 1} differs from the recorded one:\n{difference(recorded.request, asked)}"


class Refused(httpx2.BaseTransport):
    """A provider that is down."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Never an answer."""
        raise httpx2.ConnectError("connection refused", request=request)


def difference(recorded: str, asked: str, most_lines: int = 40) -> str:
    """A unified diff of two JSON bodies, broken into lines that people can read."""
    lines = list(
        difflib.unified_diff(_lines(recorded), _lines(asked), "recorded", "asked", lineterm="", n=1),
    )
    cut = [f"… {len(lines) - most_lines} more lines"] if len(lines) > most_lines else []
    return "\n".join([*lines[:most_lines], *cut])


def _api(path: str) -> str:
    """What a path asks for, wherever the endpoint has its API: under /v1, /openai, or at its root."""
    return next((api for api in ("/chat/completions", "/responses") if path.endswith(api)), path)


def _lines(body: str) -> list[str]:
    """One line a value, long texts broken at their own line ends and commas."""
    try:
        shown = json.dumps(json.loads(body), indent=1, ensure_ascii=False)
    except ValueError:
        shown = body
    return [
        part for line in shown.splitlines() for part in line.replace("\\n", "\n").replace(",\\", ",\n\\").split("\n")
    ]
