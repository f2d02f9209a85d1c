"""A time limit on a request's headers, which uvicorn has not: its keep-alive time ends with the first byte."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_SECONDS = 10.0
"""From the connection, or a later request's first byte, to the end of the request's headers."""
_BODY = b'{"error":{"kind":"too_slow","message":"the headers did not arrive within %g s","where":"headers"}}' % (
    HEADER_SECONDS
)
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class TimedHeaders(HttpToolsProtocol):
    """Closes a connection on which a request's headers take too long. Headers that come at once need no timer."""

    _due: asyncio.TimerHandle | None = None
    _begun = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._no_longer()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._begun = True

    def on_headers_complete(self) -> None:
        self._begun = False
        self._no_longer()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._due is None and (self._begun or not self._answering) and not self.transport.is_closing():
            self._wait()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self) -> None:
        self._due = self.loop.call_later(HEADER_SECONDS, self._too_late)

    def _no_longer(self) -> None:
        if self._due is not None:
            self._due.cancel()
            self._due = None

    def _too_late(self) -> None:
        self._due = None
        if self._answering:  # the request before; its answer is not broken off
            self._wait()
            return
        if self._begun:
            self.transport.write(_TOO_SLOW)
        self.transport.close()
