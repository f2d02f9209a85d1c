"""The gateway's HTTP: an ASGI application without a framework in the path of a prediction.

`POST {endpoint}` predicts; `GET /healthz` says that the process answers, `/readyz` whether it serves, `/metrics` how.
Every refusal is `{"error": {"kind", "message", "where"}}`.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Protocol

import orjson

from tools.serving.metrics import ARRIVED, INFLIGHT, Metrics
from tools.serving.requests import MAX_BODY_BYTES, MAX_ROWS, Refused, parse
from tools.serving.router import Answer, Router
from tools.tasks import Task

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_INFLIGHT = 512
BODY_SECONDS = 10.0
MAX_DISCARDED_BYTES = 16 * MAX_BODY_BYTES
"""So much of a body that is too large is read and thrown away before the refusal: a client that only listens once it
has sent everything would otherwise see a reset connection in place of the answer."""
MAX_HELD_BYTES = 64 * MAX_BODY_BYTES
"""So much is kept of bodies that are still being sent."""
_RETRY_AFTER = 1
_CLOSE = (b"connection", b"close")


class Lifetime(Protocol):
    """What starts and stops with the server, and what it shows."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def tell(self) -> None: ...


class GatewayApp:
    """One model at one endpoint. At most `max_inflight` predictions at once; the next are told to come back.

    With an `api_key`, predictions and /metrics are for those who send it as `Authorization: Bearer KEY`. Every
    `renew_every`th answer closes its connection, so that the caller's next one may reach another worker.
    """

    def __init__(
        self,
        endpoint: str,
        router: Router,
        lifetime: Lifetime,
        metrics: Metrics,
        timer: Callable[[], float],
        max_inflight: int = MAX_INFLIGHT,
        api_key: str | None = None,
        renew_every: int | None = None,
    ) -> None:
        self._endpoint = endpoint
        self._router = router
        self._lifetime = lifetime
        self._metrics = metrics
        self._timer = timer
        self._max_inflight = max_inflight
        self._inflight = 0
        self._held = 0  # bytes of bodies that are not whole yet
        self._renew_every = renew_every
        self._asked = 0
        self.draining = False
        self._key = None if api_key is None else f"Bearer {api_key}".encode()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            self._asked += 1
            if self.draining or (self._renew_every is not None and self._asked % self._renew_every == 0):
                send = _closing(send)
            try:
                await self._http(scope, receive, send)
            except Refused as refused:
                self._metrics.refused(refused.status)
                await _refuse(send, refused)

    def _admit(self, scope: Message) -> None:
        """Raises Refused (401) for a wrong key or none; how long that takes does not tell how wrong it is."""
        assert self._key is not None
        sent = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        if not hmac.compare_digest(sent, self._key):
            raise Refused(401, "unauthorized", "send the API key: Authorization: Bearer KEY", "authorization")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await self._lifetime.start()
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._lifetime.stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _http(self, scope: Message, receive: Receive, send: Send) -> None:
        path, method = scope["path"], scope["method"]
        if self._key is not None and path not in ("/healthz", "/readyz"):
            self._admit(scope)
        if path == self._endpoint:
            if method != "POST":
                raise Refused(405, "method", f"{path} takes POST, not {method}")
            await self._predict(scope, receive, send)
            return
        if path not in ("/healthz", "/readyz", "/metrics"):
            serving = self._router.serving
            if method == "POST" and serving is not None and path in serving.split.endpoints:
                await self._predict(scope, receive, send, serving.split.endpoints[path])
                return
            raise Refused(404, "not_found", f"there is no {path}; predictions are at POST {self._endpoint}")
        if method not in ("GET", "HEAD"):
            raise Refused(405, "method", f"{path} takes GET, not {method}")
        if path == "/healthz":
            await _json(send, 200, {"status": "ok"})
        elif path == "/readyz":
            state = self._lifetime.state()
            await _json(send, 200 if state["ready"] else 503, state)
        else:
            self._lifetime.tell()
            text = self._metrics.render()
            await _send(send, 200, text.encode(), b"text/plain; version=0.0.4; charset=utf-8")

    async def _predict(self, scope: Message, receive: Receive, send: Send, version: str | None = None) -> None:
        """Answers by the split, or by `version` alone where it is asked at its own endpoint."""
        self._metrics.add(ARRIVED)
        self._find_room(version)
        body = await self._body(scope, receive)  # who sends slowly takes nobody's place
        self._find_room(version)
        self._count(1)
        try:
            started = self._timer()
            serving = self._router.serving
            if serving is None:
                raise Refused(503, "not_ready", "no model is loaded yet", "/readyz", _RETRY_AFTER)
            request = parse(body, serving.champion.schema)
            if version is None:
                answer = await self._router.answer(serving, request, started)
            else:
                answer = await self._router.answer_by(version, serving, request, started)
        finally:
            self._count(-1)
        await _send(send, 200, _rendered(answer, self._router.model, self._router.task), b"application/json")

    def _find_room(self, version: str | None) -> None:
        """Raises Refused (503) where as many requests are under way as may be."""
        if self._inflight >= self._max_inflight:
            if version is None:
                self._router.overloaded()
            raise Refused(503, "overloaded", f"{self._max_inflight} requests are under way", retry_after=_RETRY_AFTER)

    async def _body(self, scope: Message, receive: Receive) -> bytes:
        """The whole body. Raises Refused for one too large, too slow or broken off, and where too many are sent."""
        _must_be_sendable(scope)
        chunks: list[bytes] = []
        size, held, more = 0, 0, True
        until = asyncio.get_running_loop().time() + BODY_SECONDS
        try:
            while more:
                message = await _within(receive, until - asyncio.get_running_loop().time())
                if message["type"] == "http.disconnect":
                    raise Refused(400, "input", "the connection closed before the body ended")
                chunk: bytes = message.get("body", b"")
                more = bool(message.get("more_body"))
                size += len(chunk)
                if size > MAX_DISCARDED_BYTES:
                    raise _too_large(unread=more)
                if size > MAX_BODY_BYTES:
                    chunks.clear()
                    continue
                chunks.append(chunk)
                if more:
                    held += len(chunk)
                    self._held += len(chunk)
                    if self._held > MAX_HELD_BYTES:
                        told = "too many large requests are being sent at once"
                        raise Refused(503, "overloaded", told, retry_after=_RETRY_AFTER, closes=True)
        finally:
            self._held -= held
        if size > MAX_BODY_BYTES:
            raise _too_large()
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    def _count(self, requests: int) -> None:
        self._inflight += requests
        self._metrics[INFLIGHT] = self._inflight


def _rendered(answer: Answer, model: str, task: Task) -> bytes:
    return orjson.dumps(
        {
            "predictions": [task.rendered(each) for each in answer.scores],
            "model": model,
            "version": answer.version,
            "variant": answer.variant,
            "request_id": answer.request_id,
        }
    )


def _must_be_sendable(scope: Message) -> None:
    """Raises Refused for a body that is too large and waits to be sent, or is longer than anyone reads."""
    length, waits = 0, False
    for name, value in scope["headers"]:
        if name == b"content-length":
            length = int(value)
        elif name == b"expect":
            waits = True
    if length > MAX_BODY_BYTES and (waits or length > MAX_DISCARDED_BYTES):
        raise _too_large(unread=True)


async def _within(receive: Receive, seconds: float) -> Message:
    try:
        async with asyncio.timeout(seconds):
            return await receive()
    except TimeoutError:
        raise Refused(408, "too_slow", f"the body did not arrive within {BODY_SECONDS:g} s", closes=True) from None


def _too_large(*, unread: bool = False) -> Refused:
    limit = (
        f"the body is larger than {MAX_BODY_BYTES // 1024**2} MiB; send fewer instances a request, at most {MAX_ROWS}"
    )
    return Refused(413, "too_large", limit, "body", closes=unread)


async def _refuse(send: Send, refused: Refused) -> None:
    error = {"kind": refused.kind, "message": refused.message, "where": refused.where}
    extra = [] if refused.retry_after is None else [(b"retry-after", str(refused.retry_after).encode())]
    if refused.closes:
        extra.append(_CLOSE)  # the rest of the body is not read
    await _send(send, refused.status, orjson.dumps({"error": error}), b"application/json", extra)


def _closing(send: Send) -> Send:
    """Sends the same, and that the connection closes after it."""

    async def closing(message: Message) -> None:
        if message["type"] == "http.response.start" and _CLOSE not in message["headers"]:
            message["headers"] = [*message["headers"], _CLOSE]
        await send(message)

    return closing


async def _json(send: Send, status: int, document: object) -> None:
    await _send(send, status, orjson.dumps(document), b"application/json")


async def _send(
    send: Send, status: int, body: bytes, content_type: bytes, extra: list[tuple[bytes, bytes]] | None = None
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
