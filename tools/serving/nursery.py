"""A worker's line to its supervisor, which forks challenger processes for it: libraries loaded, memory shared.

A worker cannot fork itself, for it has threads. Messages, of 16 bytes each: `+` with the challenger's end of a socket,
to which the answer is the new process's id; `-PID`, to have it killed.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

_BYTES = 16


@dataclass(frozen=True)
class Forked:
    """A challenger process that the supervisor started."""

    pid: int
    _line: socket.socket

    def kill(self) -> None:
        """Has the supervisor kill it, which knows whether the id is still its."""
        with suppress(OSError):  # the supervisor is gone, and with it its processes
            self._line.send(_message(b"-%d" % self.pid))

    def wait(self) -> None:
        """Nothing: the supervisor reaps it."""


class Nursery:
    """The worker's end. Lives in one event loop."""

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)
        self._line = line
        self._asking = asyncio.Lock()

    async def fork(self, end: socket.socket) -> Forked:
        """A process that serves as challenger on `end`. Raises OSError where the supervisor is gone."""
        # Shielded: an answer that nobody waited for would be taken for the next one's.
        return await asyncio.shield(asyncio.ensure_future(self._ask(end.dup())))

    async def _ask(self, end: socket.socket) -> Forked:
        async with self._asking:
            with end:
                socket.send_fds(self._line, [_message(b"+")], [end.fileno()])
            answer = await asyncio.get_running_loop().sock_recv(self._line, _BYTES)
        if not answer:
            raise ConnectionResetError("the gateway's supervisor is gone")
        return Forked(int(answer), self._line)


def obey(line: socket.socket, fork: Callable[[int], int], kill: Callable[[int], None]) -> None:
    """The supervisor's end: does what one message asks, once there is one. Raises OSError where the worker is gone."""
    message, ends, _, _ = socket.recv_fds(line, _BYTES, 1)
    if message[:1] == b"+" and ends:
        with socket.socket(fileno=ends[0]) as end:
            line.send(_message(b"%d" % fork(end.fileno())))
    elif message[:1] == b"-":
        kill(int(message[1:]))


def _message(text: bytes) -> bytes:
    return text.ljust(_BYTES)
