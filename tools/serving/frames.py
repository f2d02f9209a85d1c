"""Messages between the gateway and a challenger's process: JSON behind a four-byte length, big endian."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

MAX_FRAME = 64 * 1024 * 1024
_TOGETHER_BYTES = 1024 * 1024


def pack(message: object) -> bytes:
    """One frame."""
    return _framed(orjson.dumps(message))


def pack_list(bodies: Sequence[bytes]) -> bytes:
    """Frames of lists of what `orjson.dumps` gave, all in one where it is not too large for that."""
    frames, start, size = [], 0, 0
    for end, body in enumerate(bodies):
        if size and size + len(body) > _TOGETHER_BYTES:
            frames.append(_framed(b"[%b]" % b",".join(bodies[start:end])))
            start, size = end, 0
        size += len(body)
    frames.append(_framed(b"[%b]" % b",".join(bodies[start:])))
    return b"".join(frames)


def _framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


class FrameReader:
    """Collects bytes as they arrive and gives whole messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> list[Any]:
        """The messages completed by `data`, in order. Raises ValueError on a frame that cannot be one."""
        buffer = self._buffer
        if not buffer and len(data) - 4 == int.from_bytes(data[:4], "big") <= MAX_FRAME:
            return [orjson.loads(data[4:])]  # one whole frame, as nearly all are
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
