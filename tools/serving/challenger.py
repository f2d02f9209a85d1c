"""A challenger as the router sees it: answers within a deadline or fails at once, and mends itself meanwhile."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from tools.serving.breaker import Breaker
from tools.serving.challenger_process import ChallengerFailed, ChallengerProcess, DeadlineExceeded, Scored
from tools.serving.features import FeatureSchema, InvalidInstance, Values
from tools.serving.nursery import Nursery
from tools.serving.requests import PredictRequest
from tools.tasks import BINARY

DEADLINE_SECONDS = 0.2
"""Where no SLA allows more; less would make errors of answers that are merely slow, which the p99 is there for."""
LONGEST_DEADLINE_SECONDS = 0.7
"""A rollback waits for the answers under way, and is to be in force within a second."""
COPY_DEADLINE_SECONDS = 2.0
_RESTART_SECONDS = (0.1, 10.0)

log = logging.getLogger("guardian.gateway")


def deadline_of(latency_p99_ms: float | None) -> float:
    """Seconds that a challenger may take: what its SLA promises at the 99th percentile, within 0.2 to 0.7."""
    return min(max((latency_p99_ms or 0.0) / 1000.0, DEADLINE_SECONDS), LONGEST_DEADLINE_SECONDS)


class Spares:
    """Keeps one process started ahead, its libraries imported, so that a challenger stands in milliseconds."""

    def __init__(self, nursery: Nursery | None = None) -> None:
        self._nursery = nursery
        self._spare: ChallengerProcess | None = None
        self._closed = False

    async def refill(self) -> None:
        """Starts the spare if there is none."""
        if not self._closed and (self._spare is None or not self._spare.alive):
            self._spare = await ChallengerProcess.start(self._nursery)

    async def take(self, folder: Path, beside: Path | None, task: str, *, idle: bool = False) -> ChallengerProcess:
        """A process that has loaded `folder`, and the champion's `beside` it; `idle`: by what the cores have left.

        Raises ChallengerFailed.
        """
        await self.refill()
        process, self._spare = self._spare, None
        if process is None:
            raise ChallengerFailed("the gateway is stopping")
        try:
            await process.load(folder, beside, task, idle=idle)
        except BaseException:
            process.end()
            raise
        return process

    def close(self) -> None:
        """Ends the spare."""
        self._closed = True
        if self._spare is not None:
            self._spare.end()
            self._spare = None


class Challenger:
    """One challenger version behind a deadline and a breaker. A dead or hung process is replaced in the background.

    `beside` is the folder of the champion that its copies are timed against.
    """

    def __init__(
        self,
        version: str,
        folder: Path,
        spares: Spares,
        timer: Callable[[], float],
        deadline: float = DEADLINE_SECONDS,
        beside: Path | None = None,
        task: str = BINARY.name,
    ) -> None:
        self.version = version
        self._folder = folder
        self.beside = beside
        self._task = task
        self._spares = spares
        self._deadline = deadline
        self._process: ChallengerProcess | None = None
        self._alike: FeatureSchema | None = None
        self._mending: asyncio.Task[None] | None = None
        self._closed = False
        self._awaited = False
        self.breaker = Breaker(timer)
        self.restarts = 0

    async def start(self) -> None:
        """Loads the model in its process. Raises ChallengerFailed."""
        self._adopt(await self._spares.take(self._folder, self.beside, self._task))

    def score(self, request: PredictRequest) -> Awaitable[Scored]:
        """Scores of a request. Raises ChallengerFailed, at the latest at the deadline."""
        self._awaited = True
        return self._score(request, self._deadline)

    def score_copy(self, request: PredictRequest) -> Awaitable[Scored]:
        """Scores with both versions' times, for nobody who waits: the deadline is longer."""
        return self._score(request, COPY_DEADLINE_SECONDS, request.values)

    async def _score(self, request: PredictRequest, deadline: float, beside: Sequence[Values] | None = None) -> Scored:
        process = self._process
        if process is None or process.schema is None:
            raise ChallengerFailed("the challenger's process is not running")
        if not self.breaker.allows():
            raise ChallengerFailed("not asked: it failed too often (breaker open)")
        try:
            rows = request.values if request.schema is self._alike else self._read(process.schema, request)
            scored = await process.ask(rows, deadline, beside)
        except ChallengerFailed as error:
            if self.breaker.failed():
                log.warning("challenger %s: breaker open after: %s", self.version, error)
                if isinstance(error, DeadlineExceeded):
                    process.end()  # it may hang for good; a fresh one is asked when the breaker closes
            raise
        except asyncio.CancelledError:
            self.breaker.failed()
            raise
        self.breaker.succeeded()
        return scored

    def _read(self, schema: FeatureSchema, request: PredictRequest) -> list[Values]:
        """As `schema` reads it; where that is as the champion does, nothing is read twice. Raises ChallengerFailed."""
        if schema.reads_as(request.schema):
            self._alike = request.schema
            return request.values
        try:
            return [schema.read(features) for features in request.instances]
        except InvalidInstance as error:
            raise ChallengerFailed(f"cannot read the request: {error}") from None

    @property
    def pid(self) -> int | None:
        """The process id of the challenger, None while it is being replaced."""
        return self._process.pid if self._process is not None else None

    def close(self) -> None:
        """Ends the process for good."""
        self._closed = True
        if self._mending is not None:
            self._mending.cancel()
        if self._process is not None:
            self._process.end()

    def _adopt(self, process: ChallengerProcess) -> None:
        if self._closed:
            process.end()
            return
        self._process = process
        process.gone.add_done_callback(self._on_gone)

    def _on_gone(self, _: asyncio.Future[None]) -> None:
        self._process = None
        if not self._closed:
            log.warning("challenger %s: its process ended; starting another", self.version)
            self._mending = asyncio.get_running_loop().create_task(self._mend())

    async def _mend(self) -> None:
        pause, longest = _RESTART_SECONDS
        idle = self.beside is not None  # nobody waits for an answer to a copy; once, for a busy core is never idle
        while not self._closed:
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)
            self.restarts += 1
            try:
                self._adopt(
                    await self._spares.take(self._folder, self.beside, self._task, idle=idle and not self._awaited)
                )
            except (ChallengerFailed, OSError) as error:
                log.warning("challenger %s: cannot be started again: %s", self.version, error)
                idle = False
                continue
            return
