"""Messages between the gateway and a challenger's process: JSON behind a four-byte length, big endian."""

from __future__ import annotations

from typing import Any

import orjson

MAX_FRAME = 64 * 1024 * 1024


def pack(message: object) -> bytes:
    """One frame."""
    body = orjson.dumps(message)
    return len(body).to_bytes(4, "big") + body


class FrameReader:
    """Collects bytes as they arrive and gives whole messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[Any]:
        """The messages completed by `data`, in order. Raises ValueError on a frame that cannot be one."""
        buffer = self._buffer
        buffer += data
        messages, start = [], 0
        while len(buffer) - start >= 4:
            size = int.from_bytes(buffer[start : start + 4], "big")
            if size > MAX_FRAME:
                raise ValueError(f"frame of {size} bytes; at most {MAX_FRAME}")
            if len(buffer) - start - 4 < size:
                break
            messages.append(orjson.loads(memoryview(buffer)[start + 4 : start + 4 + size]))
            start += 4 + size
        if start:
            del buffer[:start]
        return messages
