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

import orjson

from tools.serving.features import FeatureSchema, Values
from tools.serving.frames import FrameReader, pack, pack_list
from tools.serving.nursery import Forked, Nursery
from tools.tasks import BINARY, Answer

LOAD_SECONDS = 60.0
IDLE_LOAD_SECONDS = 5.0
"""Where a model is loaded by what the cores have left: on a busy machine that may be nothing."""
_NOT_RUNNING = "the challenger's process is not running"
_TOGETHER = 16
"""So many questions are sent without waiting for another."""
_TICK_SECONDS = 0.001
"""As finely as the loop's timers tell."""


class ChallengerFailed(Exception):
    """The challenger gave no usable answer; the text is what its log row says."""


class DeadlineExceeded(ChallengerFailed):
    """The challenger gave no answer in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"deadline of {seconds * 1000:.0f} ms exceeded")


@dataclass(slots=True)
class Scored:
    """Scores in order. Beside the champion: both versions' own milliseconds for what was scored together."""

    scores: list[Answer]
    model_ms: float | None = None
    champion_ms: float | None = None


_Asked = tuple[asyncio.Future[Scored], float, float]
"""A question under way: who waits, until when (monotonic), and for how long in all."""


class ChallengerProcess(asyncio.Protocol):
    """One child process and the socket to it. Lives in one event loop. `schema` is its model's, once it is loaded."""

    def __init__(self, process: subprocess.Popen[bytes] | Forked) -> None:
        self._process = process
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader()
        self._sequence = 0
        self._waiting: dict[int, _Asked] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings = float("inf")
        self._outbox: list[bytes] = []
        self._loaded: asyncio.Future[FeatureSchema] | None = None
        self.schema: FeatureSchema | None = None
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

    async def load(
        self, folder: Path, beside: Path | None = None, task: str = BINARY.name, *, idle: bool = False
    ) -> None:
        """Loads a registry cache folder, and the champion's `beside` it to be timed; `idle`: while the cores have
        nothing else to do. Raises ChallengerFailed."""
        if not self.alive:
            raise ChallengerFailed(_NOT_RUNNING)
        self._loaded = asyncio.get_running_loop().create_future()
        seconds = IDLE_LOAD_SECONDS if idle else LOAD_SECONDS
        self._write(pack({"load": str(folder), "beside": str(beside) if beside else None, "task": task, "idle": idle}))
        try:
            self.schema = await asyncio.wait_for(self._loaded, seconds)
        except TimeoutError:
            raise ChallengerFailed(f"did not load within {seconds:g} s") from None

    def ask(
        self, rows: Sequence[Values], seconds: float, beside: Sequence[Values] | None = None
    ) -> asyncio.Future[Scored]:
        """The answer to come for rows as `schema` reads them; with `beside`, the same rows as the champion reads them,
        it has both versions' times. It fails with ChallengerFailed, at the latest after `seconds`."""
        answer: asyncio.Future[Scored] = asyncio.get_running_loop().create_future()
        if not self.alive:
            answer.set_exception(ChallengerFailed(_NOT_RUNNING))
            return answer
        self._sequence += 1
        due = time.monotonic() + seconds
        try:
            question = orjson.dumps([self._sequence, due, rows, beside])
        except TypeError as error:  # no JSON can hold it, though no request can either
            answer.set_exception(ChallengerFailed(f"cannot be asked: {error}"))
            return answer
        self._waiting[self._sequence] = (answer, due, seconds)
        if due < self._rings:
            self._ring(due)
        if not self._outbox:
            asyncio.get_running_loop().call_soon(self._flush, 0)
        self._outbox.append(question)
        return answer

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
                self._on_answers(message)

    def connection_lost(self, exc: Exception | None) -> None:
        error = ChallengerFailed("the challenger's process ended")
        if self._loaded is not None and not self._loaded.done():
            self._loaded.set_exception(error)
        for sequence in list(self._waiting):
            self._fail(sequence, error)
        if self._timer is not None:
            self._timer.cancel()
        self._process.kill()
        # Reaps it beside the loop: a large process takes a while to die.
        threading.Thread(target=self._process.wait, daemon=True).start()
        if not self.gone.done():
            self.gone.set_result(None)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _flush(self, before: int) -> None:
        """Writes what was asked, once a turn of the loop brings no more: where the two share a core, each question
        sent by itself would cost the change to the other process and back."""
        if before < len(self._outbox) < _TOGETHER:
            asyncio.get_running_loop().call_soon(self._flush, len(self._outbox))
            return
        outbox, self._outbox = self._outbox, []
        if self.alive:
            self._write(pack_list(outbox))

    def _ring(self, due: float) -> None:
        """Sets the one timer: thousands of questions a second are answered before theirs would ring."""
        if self._timer is not None:
            self._timer.cancel()
        self._rings = due
        self._timer = asyncio.get_running_loop().call_later(due - time.monotonic(), self._expire)

    def _expire(self) -> None:
        now, self._rings = time.monotonic() + _TICK_SECONDS, float("inf")
        for sequence, (_, due, seconds) in list(self._waiting.items()):
            if due <= now:
                self._fail(sequence, DeadlineExceeded(seconds))
        if self._waiting:
            self._ring(min(due for _, due, _ in self._waiting.values()))

    def _fail(self, sequence: int, error: ChallengerFailed) -> None:
        answer, _, _ = self._waiting.pop(sequence)
        if not answer.done():
            answer.set_exception(error)

    def _on_loaded(self, message: dict[str, Any]) -> None:
        if self._loaded is None or self._loaded.done():
            return
        if "ready" in message:
            self._loaded.set_result(FeatureSchema.of_wire(message["schema"]))
        else:
            self._loaded.set_exception(ChallengerFailed(str(message["failed"])))

    def _on_answers(
        self, answers: list[tuple[int, list[Answer] | None, str | None, list[float | None] | None]]
    ) -> None:
        for sequence, scores, error, times in answers:
            if sequence not in self._waiting:
                continue  # its deadline has passed
            if scores is None:
                self._fail(sequence, ChallengerFailed(str(error)))
                continue
            answer, _, _ = self._waiting.pop(sequence)
            if not answer.done():
                answer.set_result(Scored(scores) if times is None else Scored(scores, *times))


def _interpreter(end: socket.socket) -> subprocess.Popen[bytes]:
    return subprocess.Popen(  # noqa: S603  our own module, no text from outside
        [sys.executable, "-m", "tools.serving.challenger_worker", str(end.fileno()), str(os.getpid())],
        pass_fds=[end.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
