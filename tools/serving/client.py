"""A small load client: sends prediction requests over a few kept-alive connections and times every answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlsplit

import orjson

TIMEOUT_SECONDS = 30.0
TIMER_SECONDS = 0.001
"""As finely as the loop's timers tell: so much after its own time a request may be sent, and is timed from then."""


@dataclass(frozen=True, slots=True)
class Response:
    """One answer; status 0 where none came (`error` says why). `latency_ms` is from send to the body's last byte.

    `sent` is when its turn came, by `time.perf_counter`.
    """

    status: int
    body: dict[str, Any]
    latency_ms: float
    headers: Mapping[str, str]
    error: str | None = None
    sent: float = 0.0


class _Connection(asyncio.Protocol):
    """One HTTP/1.1 connection, one request at a time. Reads bodies with a Content-Length, which the gateway sends."""

    def __init__(self) -> None:
        self._buffer = b""
        self._answer: asyncio.Future[tuple[int, dict[str, str], bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def ask(self, request: bytes) -> tuple[int, dict[str, str], bytes]:
        assert self._transport is not None
        self._buffer = b""
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class, only by shape

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("the server closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator or self._answer is None or self._answer.done():
            return
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        if len(body) >= int(headers.get("content-length", 0)):
            self._answer.set_result((int(status[9:12]), headers, body))
            if headers.get("connection") == "close" and self._transport is not None:
                self._transport.close()


def send(
    url: str,
    requests: Sequence[Mapping[str, Any] | bytes],
    connections: int = 8,
    rate: float | None = None,
    ended: Callable[[], bool] | None = None,
) -> list[Response]:
    """Posts every request and gives the answers in the same order; never raises for one that fails.

    `rate` offers so many a second, each at its own time however late the others are (open loop, as long as a
    connection is free); without it every connection sends its next request when it has its answer. Once `ended` says
    so, no further ones are sent.
    """
    import uvloop

    responses: list[Response] = uvloop.run(send_async(url, requests, connections, rate, ended))
    return responses


async def send_async(
    url: str,
    requests: Sequence[Mapping[str, Any] | bytes],
    connections: int = 8,
    rate: float | None = None,
    ended: Callable[[], bool] | None = None,
) -> list[Response]:
    """As `send`, in a running event loop."""
    responses: list[Response | None] = [None] * len(requests)
    numbers = iter(range(len(requests)))
    start = time.perf_counter()

    async def work() -> None:
        connection: _Connection | None = None
        for number in numbers:
            due = start + number / rate if rate else None
            if due is not None and (pause := due - time.perf_counter()) > 0:
                await asyncio.sleep(pause)
                due = min(time.perf_counter(), due + TIMER_SECONDS)
            if ended is not None and ended():
                break
            body = requests[number]
            request = encode(url, body if isinstance(body, bytes) else orjson.dumps(body))
            connection, responses[number] = await _ask(url, connection, request, due)
        if connection is not None:
            connection.close()

    await asyncio.gather(*(work() for _ in range(max(1, min(connections, len(requests))))))
    return [response for response in responses if response is not None]


async def _ask(
    url: str, connection: _Connection | None, request: bytes, due: float | None
) -> tuple[_Connection | None, Response]:
    began = due if due is not None else time.perf_counter()
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            if connection is None or not connection.is_open:
                connection = await _connect(url)
            status, headers, body = await connection.ask(request)
        milliseconds = (time.perf_counter() - began) * 1000.0
        return connection, Response(status, orjson.loads(body) if body else {}, milliseconds, headers, None, began)
    except (OSError, TimeoutError, ValueError) as error:
        if connection is not None:
            connection.close()
        milliseconds = (time.perf_counter() - began) * 1000.0
        return None, Response(0, {}, milliseconds, {}, f"{type(error).__name__}: {error}", began)


async def _connect(url: str) -> _Connection:
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    _, connection = await loop.create_connection(_Connection, parts.hostname or "127.0.0.1", parts.port or 80)
    return connection


def encode(url: str, body: bytes) -> bytes:
    """The bytes of one POST."""
    parts = urlsplit(url)
    head = (
        f"POST {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def failures(responses: Sequence[Response]) -> Iterator[Response]:
    """The answers that are not 200."""
    return (response for response in responses if response.status != 200)
