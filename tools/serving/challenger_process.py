"""The gateway's side of one challenger process: start, ask, end."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from tools.serving.frames import FrameReader, pack
from tools.serving.nursery import Forked, Nursery
from tools.tasks import BINARY, Answer

LOAD_SECONDS = 60.0


class ChallengerFailed(Exception):
    """The challenger gave no usable answer; the text is what its log row says."""


@dataclass(slots=True)
class Scored:
    """Scores in order. Beside the champion: both versions' own milliseconds for what was scored together."""

    scores: list[Answer]
    model_ms: float | None = None
    champion_ms: float | None = None


class ChallengerProcess(asyncio.Protocol):
    """One child process and the socket to it. Lives in one event loop."""

    def __init__(self, process: subprocess.Popen[bytes] | Forked) -> None:
        self._process = process
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._sequence = 0
        self._waiting: dict[int, asyncio.Future[Scored]] = {}
        self._outbox: list[bytes] = []
        self._loaded: asyncio.Future[str] | None = None
        self.gone = asyncio.get_running_loop().create_future()

    @classmethod
    async def start(cls, nursery: Nursery | None = None) -> ChallengerProcess:
        """A process without a model yet, from the supervisor's `nursery` where there is one. Raises OSError."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = _interpreter(theirs) if nursery is None else await nursery.fork(theirs)
        ours.setblocking(False)
        child = cls(process)
        await asyncio.get_running_loop().create_unix_connection(lambda: child, sock=ours)
        return child

    async def load(self, folder: Path, beside: Path | None = None, task: str = BINARY.name) -> str:
        """Loads a registry cache folder, and the champion's `beside` it to be timed; gives the scoring path taken.

        Raises ChallengerFailed.
        """
        self._loaded = asyncio.get_running_loop().create_future()
        self._write(pack({"load": str(folder), "beside": str(beside) if beside else None, "task": task}))
        try:
            return await asyncio.wait_for(self._loaded, LOAD_SECONDS)
        except TimeoutError:
            raise ChallengerFailed(f"did not load within {LOAD_SECONDS:g} s") from None

    async def score(self, instances: Sequence[Any], seconds: float, *, timed: bool = False) -> Scored:
        """Scores of raw feature objects; `timed`, with both versions' times. Raises ChallengerFailed, at the latest
        after `seconds`."""
        if not self.alive:
            raise ChallengerFailed("the challenger's process is not running")
        loop = asyncio.get_running_loop()
        self._sequence += 1
        sequence, answer = self._sequence, loop.create_future()
        self._waiting[sequence] = answer
        if not self._outbox:
            loop.call_soon(self._flush)
        self._outbox.append(pack([sequence, time.monotonic() + seconds, instances, timed]))
        timer = loop.call_later(seconds, self._expire, sequence, seconds)
        try:
            scored: Scored = await answer
            return scored
        finally:
            timer.cancel()
            self._waiting.pop(sequence, None)

    @property
    def alive(self) -> bool:
        """Whether the socket still stands."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._process.pid

    def end(self) -> None:
        """Kills the child; what still waits fails at once."""
        self._process.kill()
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by class, only by shape

    def data_received(self, data: bytes) -> None:
        try:
            messages = self._reader.feed(data)
        except ValueError:
            self.end()
            return
        for message in messages:
            if isinstance(message, dict):
                self._on_loaded(message)
            else:
                self._on_answer(*message)

    def connection_lost(self, exc: Exception | None) -> None:
        error = ChallengerFailed("the challenger's process ended")
        if self._loaded is not None and not self._loaded.done():
            self._loaded.set_exception(error)
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)
        self._process.kill()
        # Reaps it beside the loop: a large process takes a while to die.
        threading.Thread(target=self._process.wait, daemon=True).start()
        if not self.gone.done():
            self.gone.set_result(None)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _flush(self) -> None:
        self._write(b"".join(self._outbox))
        self._outbox.clear()

    def _expire(self, sequence: int, seconds: float) -> None:
        answer = self._waiting.get(sequence)
        if answer is not None and not answer.done():
            answer.set_exception(ChallengerFailed(f"deadline of {seconds * 1000:.0f} ms exceeded"))

    def _on_loaded(self, message: dict[str, Any]) -> None:
        if self._loaded is None or self._loaded.done():
            return
        if "ready" in message:
            self._loaded.set_result(str(message["path"]))
        else:
            self._loaded.set_exception(ChallengerFailed(str(message["failed"])))

    def _on_answer(
        self, sequence: int, scores: list[Answer] | None, error: str | None, times: list[float | None] | None
    ) -> None:
        answer = self._waiting.get(sequence)
        if answer is None or answer.done():
            return
        if scores is None:
            answer.set_exception(ChallengerFailed(str(error)))
        else:
            answer.set_result(Scored(scores, *(times or ())))


def _interpreter(end: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  our own module, no text from outside
        [sys.executable, "-m", "tools.serving.challenger_worker", str(end.fileno()), str(os.getpid())],
        pass_fds=[end.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
