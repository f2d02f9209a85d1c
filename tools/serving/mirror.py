"""The mirror: a copy of each answered request for a shadow challenger, off the request path.

The queue is bounded and never waits: what does not fit is dropped and counted. So a challenger that is slow, hung or
dead costs the primary nothing but the copying.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable

from tools.serving.challenger import Challenger
from tools.serving.challenger_process import ChallengerFailed, Scored
from tools.serving.metrics import SHADOW_QUEUED, Metrics
from tools.serving.requests import PredictRequest

QUEUE_ROWS = 1_000
"""Instances that may wait or be under way; at 500 a second, two seconds' worth."""
AT_ONCE = 8
"""Copies under way at a time."""

log = logging.getLogger("guardian.gateway")

Record = Callable[[PredictRequest, str, float, Scored | None, str | None], None]
"""Told of each copy: request, request id, seconds it took, scores or None, what failed."""


class Mirror:
    """Copies for one shadow challenger. Lives in one event loop."""

    def __init__(
        self,
        challenger: Challenger,
        record: Record,
        timer: Callable[[], float],
        queue_rows: int = QUEUE_ROWS,
        metrics: Metrics | None = None,
    ) -> None:
        self._challenger = challenger
        self._record = record
        self._timer = timer
        self._limit = queue_rows
        self._waiting: deque[tuple[PredictRequest, str]] = deque()
        self._rows = 0
        self._metrics = metrics or Metrics()
        self._workers: set[asyncio.Task[None]] = set()

    @property
    def queued(self) -> int:
        """Instances that wait for the challenger, or for its answer."""
        return self._rows

    def offer(self, request: PredictRequest, request_id: str) -> bool:
        """Queues a copy; False where there is no room for it. Never waits."""
        if self._rows + len(request.instances) > self._limit:
            return False
        self._count(len(request.instances))
        self._waiting.append((request, request_id))
        if len(self._workers) < AT_ONCE:
            self._workers.add(asyncio.get_running_loop().create_task(self._work()))
        return True

    def close(self) -> None:
        """Forgets what waits; copies under way end unrecorded."""
        for worker in self._workers:
            worker.cancel()
        self._workers.clear()
        self._count(-sum(len(request.instances) for request, _ in self._waiting))
        self._waiting.clear()

    def _count(self, rows: int) -> None:
        self._rows += rows
        self._metrics.add(SHADOW_QUEUED, rows)

    async def _work(self) -> None:
        try:
            while self._waiting:
                request, request_id = self._waiting.popleft()
                try:
                    await self._copy(request, request_id)
                except Exception as error:
                    log.error("a copy could not be recorded: %s: %s", type(error).__name__, error)
                finally:
                    self._count(-len(request.instances))
        finally:
            # In the same turn as the last look at the queue: a worker counted any longer would be waited for in vain.
            if (worker := asyncio.current_task()) is not None:
                self._workers.discard(worker)

    async def _copy(self, request: PredictRequest, request_id: str) -> None:
        scored, error = None, None
        started = self._timer()
        try:
            scored = await self._challenger.score_copy(request)
        except ChallengerFailed as failed:
            error = str(failed)
            await asyncio.sleep(0)  # an open breaker answers at once: the requests come first
        self._record(request, request_id, self._timer() - started, scored, error)
