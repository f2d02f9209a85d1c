"""The gateway's HTTP: an ASGI application without a framework in the path of a prediction.

`POST {endpoint}` predicts; `GET /healthz` says that the process answers, `/readyz` whether it serves, `/metrics` how.
Every refusal is `{"error": {"kind", "message", "where"}}`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any, Protocol

import orjson

from tools.serving.metrics import Metrics
from tools.serving.requests import MAX_BODY_BYTES, MAX_ROWS, Refused, parse
from tools.serving.router import LABEL_AT, Answer, Router

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_INFLIGHT = 512
BODY_SECONDS = 10.0
"""A body must have arrived by then; so long, too, the rest of one that is too large is read and thrown away."""
_RETRY_AFTER = 1


class Lifetime(Protocol):
    """What starts and stops with the server, and what it shows."""

    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def state(self) -> dict[str, Any]: ...
    def gauges(self) -> dict[str, float]: ...
    def counters(self) -> dict[str, float]: ...


class GatewayApp:
    """One model at one endpoint. At most `max_inflight` predictions at once; the next are told to come back."""

    def __init__(
        self,
        endpoint: str,
        router: Router,
        lifetime: Lifetime,
        metrics: Metrics,
        timer: Callable[[], float],
        max_inflight: int = MAX_INFLIGHT,
    ) -> None:
        self._endpoint = endpoint
        self._router = router
        self._lifetime = lifetime
        self._metrics = metrics
        self._timer = timer
        self._max_inflight = max_inflight
        self._inflight = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            try:
                await self._http(scope, receive, send)
            except Refused as refused:
                self._metrics.refused[refused.status] += 1
                if refused.feature:
                    self._metrics.invalid[refused.feature] += 1
                await _refuse(scope, receive, send, refused)

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
        if path == self._endpoint:
            if method != "POST":
                raise Refused(405, "method", f"{path} takes POST, not {method}")
            await self._predict(scope, receive, send)
            return
        if path not in ("/healthz", "/readyz", "/metrics"):
            raise Refused(404, "not_found", f"there is no {path}; predictions are at POST {self._endpoint}")
        if method not in ("GET", "HEAD"):
            raise Refused(405, "method", f"{path} takes GET, not {method}")
        if path == "/healthz":
            await _json(send, 200, {"status": "ok"})
        elif path == "/readyz":
            state = self._lifetime.state()
            await _json(send, 200 if state["ready"] else 503, state)
        else:
            gauges = {"guardian_inflight_requests": float(self._inflight), **self._lifetime.gauges()}
            text = self._metrics.render(gauges, self._lifetime.counters())
            await _send(send, 200, text.encode(), b"text/plain; version=0.0.4; charset=utf-8")

    async def _predict(self, scope: Message, receive: Receive, send: Send) -> None:
        if self._inflight >= self._max_inflight:
            raise Refused(503, "overloaded", f"{self._max_inflight} requests are under way", retry_after=_RETRY_AFTER)
        self._inflight += 1
        try:
            body = await _body(scope, receive)
            started = self._timer()
            serving = self._router.serving
            if serving is None:
                raise Refused(503, "not_ready", "no model is loaded yet", "/readyz", _RETRY_AFTER)
            request = parse(body, serving.champion.schema)
            answer = await self._router.answer(serving, request, started)
        finally:
            self._inflight -= 1
        await _send(send, 200, _rendered(answer, self._router.model), b"application/json")


def _rendered(answer: Answer, model: str) -> bytes:
    return orjson.dumps(
        {
            "predictions": [{"score": score, "label": int(score >= LABEL_AT)} for score in answer.scores],
            "model": model,
            "version": answer.version,
            "variant": answer.variant,
            "request_id": answer.request_id,
        }
    )


async def _body(scope: Message, receive: Receive) -> bytes:
    """The whole body. Raises Refused for one too large, too slow or broken off."""
    for name, value in scope["headers"]:
        if name == b"content-length" and int(value) > MAX_BODY_BYTES:
            raise _TooLarge()
    message = await _within(receive, BODY_SECONDS)
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    chunks, size = [body], len(body)
    until = asyncio.get_running_loop().time() + BODY_SECONDS
    while message.get("more_body"):
        message = await _within(receive, until - asyncio.get_running_loop().time())
        if message["type"] == "http.disconnect":
            raise Refused(400, "input", "the connection closed before the body ended")
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > MAX_BODY_BYTES:
            raise _TooLarge()
    return b"".join(chunks)


async def _within(receive: Receive, seconds: float) -> Message:
    try:
        async with asyncio.timeout(seconds):
            return await receive()
    except TimeoutError:
        raise Refused(408, "too_slow", f"the body did not arrive within {BODY_SECONDS:g} s") from None


class _TooLarge(Refused):
    """A body beyond the limit, of which a rest was not read."""

    def __init__(self) -> None:
        limit = f"the body is larger than {MAX_BODY_BYTES // 1024**2} MiB: send several requests"
        super().__init__(413, "too_large", f"{limit}, of at most {MAX_ROWS:,} instances each", "body")


async def _refuse(scope: Message, receive: Receive, send: Send, refused: Refused) -> None:
    error = {"kind": refused.kind, "message": refused.message, "where": refused.where}
    extra = [] if refused.retry_after is None else [(b"retry-after", str(refused.retry_after).encode())]
    body, unread = orjson.dumps({"error": error}), isinstance(refused, _TooLarge)
    if unread or refused.status == 408:
        extra.append((b"connection", b"close"))  # the rest of the body is not read
    await _send(send, refused.status, body, b"application/json", extra, more=unread)
    if unread:
        # Closed at once, the connection would be reset under a client that listens only once it has sent everything.
        if not any(name == b"expect" for name, _ in scope["headers"]):
            await _discard(receive)
        await send({"type": "http.response.body", "body": b""})


async def _discard(receive: Receive) -> None:
    """Reads what is left of a body, to its end or for as long as a body may take."""
    with suppress(TimeoutError):
        async with asyncio.timeout(BODY_SECONDS):
            while (await receive()).get("more_body"):
                pass


async def _json(send: Send, status: int, document: object) -> None:
    await _send(send, status, orjson.dumps(document), b"application/json")


async def _send(
    send: Send,
    status: int,
    body: bytes,
    content_type: bytes,
    extra: list[tuple[bytes, bytes]] | None = None,
    *,
    more: bool = False,
) -> None:
    headers = [(b"content-type", content_type), (b"content-length", str(len(body)).encode()), *(extra or [])]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more})
