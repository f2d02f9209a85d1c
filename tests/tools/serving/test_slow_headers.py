"""Who sends a request's headers slowly, or none, does not hold a connection for as long as he likes."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from tools.serving.slow_headers import HEADER_SECONDS


def test_headers_that_do_not_come_end_the_connection(gateway: Any, payload: Callable[..., dict[str, Any]]) -> None:
    at = urlsplit(gateway.predict_url)
    body = json.dumps(payload()).encode()
    head = b"POST %b HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (at.path.encode(), len(body))
    begun = b"GET /healthz HTTP/1.1\r\nX-Slow: "
    openings = {
        "nothing": b"",
        "drips": begun,
        "drips after an answer": head + body + begun,
        "empty lines": head + body,
    }
    drips = {"nothing": b"", "drips": b"a", "drips after an answer": b"a", "empty lines": b"\r\n"}
    open_ones = {name: socket.create_connection((at.hostname, at.port)) for name in openings}
    said = dict.fromkeys(openings, b"")
    closed_after: dict[str, float] = {}
    began = drip_at = time.monotonic()
    for name, sent in openings.items():
        open_ones[name].sendall(sent)
    while open_ones and time.monotonic() - began < HEADER_SECONDS + 8:
        for ready in select.select(list(open_ones.values()), [], [], 0.5)[0]:
            (name,) = (each for each, connection in open_ones.items() if connection is ready)
            received = _received(ready)
            said[name] += received
            if not received:
                closed_after[name] = time.monotonic() - began
                open_ones.pop(name).close()
        if time.monotonic() > drip_at:
            drip_at += 1.0
            for name, connection in open_ones.items():
                with suppress(ConnectionError):
                    connection.sendall(drips[name])
    for connection in open_ones.values():
        connection.close()
    assert closed_after.keys() == openings.keys()
    assert all(HEADER_SECONDS - 1 < seconds < HEADER_SECONDS + 4 for seconds in closed_after.values()), closed_after
    assert said["nothing"] == b""
    assert said["drips"].startswith(b"HTTP/1.1 408 ") and b"the headers did not arrive within 10 s" in said["drips"]
    after = said["drips after an answer"]
    assert after.startswith(b"HTTP/1.1 200 ") and after.count(b"HTTP/1.1 408 ") == 1
    assert said["empty lines"].startswith(b"HTTP/1.1 200 ") and said["empty lines"].count(b"HTTP/1.1") == 1


def _received(connection: socket.socket) -> bytes:
    """What came; nothing where the other side closed while something was on its way to it."""
    try:
        return connection.recv(65536)
    except ConnectionResetError:
        return b""
