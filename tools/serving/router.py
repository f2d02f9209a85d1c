"""Routes each request to the champion or the challenger, answers it, and says so in the log and the metrics."""

from __future__ import annotations

import itertools
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from tools.serving.batcher import Batcher
from tools.serving.buckets import BucketRouter, threshold
from tools.serving.challenger import Challenger
from tools.serving.challenger_process import ChallengerFailed, Scored
from tools.serving.features import InvalidInstance
from tools.serving.metrics import SHADOW_DROPPED, Metrics
from tools.serving.mirror import Mirror
from tools.serving.prediction_log import LogRow, PredictionLog
from tools.serving.requests import PredictRequest, Refused, refused_instance
from tools.serving.scorer import Scorer, ScoringFailed
from tools.serving.seams import Clock, Split
from tools.tasks import BINARY, Task
from tools.tasks import Answer as Said

SHADOW = "shadow"
"""Variant of an answer to a copy: nobody got it."""
DIRECT = "direct"
"""Variant of an answer asked of one version at the endpoint of its environment: no part of the split."""
REFUSED = "refused"
"""Variant of a request that was turned away because too many were under way; one row a second stands for all of it."""
SURE_SECONDS = 2.0
"""So long after the split in force was last read it may have been rolled back, without anybody waiting for this worker:
one that is not heard of for three seconds counts as gone. From then on the champion alone answers."""
_IDLE_SECONDS = 0.001
_STALE_SECONDS = 0.05


@dataclass(eq=False)
class Serving:
    """What is served now. Replaced as a whole, so that a request sees one split from its start to its end."""

    split: Split
    champion: Scorer
    challenger: Challenger | None
    buckets: BucketRouter
    mirror: Mirror | None = None
    inflight: int = 0
    threshold: int = field(init=False)

    def __post_init__(self) -> None:
        self.threshold = threshold(self.split.challenger_pct) if self.challenger is not None else 0


@dataclass(slots=True)
class Answer:
    """Scores in the request's order, and whose they are."""

    scores: list[Said]
    version: str
    variant: str
    request_id: str
    challenger_error: str | None = None


class SteadyClock:
    """Reads the world's clock after every pause between requests, and every 50 ms under unbroken load.

    A virtual clock is a row in a database, too dear to read for every request; whoever moves it pauses for that.
    """

    def __init__(self, clock: Clock, timer: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._timer = timer
        self._read = self._asked = float("-inf")
        self._now = datetime.min

    def now(self) -> datetime:
        """The time, naive UTC."""
        tick = self._timer()
        if tick - self._asked > _IDLE_SECONDS or tick - self._read > _STALE_SECONDS:
            self._now, self._read = self._clock.now(), tick
        self._asked = tick
        return self._now


class Router:
    """One model's requests. Lives in one event loop.

    `serving` is None until a first split is loaded, `split_read` when the split in force was last looked up (timer).
    """

    def __init__(
        self,
        model: str,
        log: PredictionLog,
        clock: Clock,
        metrics: Metrics,
        timer: Callable[[], float],
        task: Task = BINARY,
    ) -> None:
        self.model = model
        self.task = task
        self.serving: Serving | None = None
        self.split_read = float("-inf")
        self._log = log
        self._clock = SteadyClock(clock)
        self._metrics = metrics
        self._timer = timer
        self._batcher = Batcher()
        self._start = secrets.token_hex(6)
        self._numbers = itertools.count(1)
        self._refused = datetime.min

    async def answer(self, serving: Serving, request: PredictRequest, started: float) -> Answer:
        """Answers under `serving`; a challenger's failure falls back to the champion. Raises Refused."""
        request_id = f"{self._start}-{next(self._numbers)}"
        to_challenger = (
            serving.threshold > 0
            and started - self.split_read < SURE_SECONDS
            and serving.buckets.bucket(request.id or request_id) < serving.threshold
        )
        rows = _encode(serving.champion, request)
        serving.inflight += 1
        try:
            if to_challenger and serving.challenger is not None:
                answer = await self._challenged(serving, serving.challenger, request, rows, request_id)
            else:
                scores = await self._batcher.score(serving.champion, rows)
                answer = Answer(scores, serving.champion.version, "champion", request_id)
        except ScoringFailed as error:
            self._record_failure(serving, request, request_id, to_challenger, started, str(error))
            raise Refused(500, "model", f"the model failed on this request: {error}") from None
        finally:
            serving.inflight -= 1
        self._record(serving, request, answer, started)
        if serving.mirror is not None and not serving.mirror.offer(request, request_id):
            self._metrics.add(SHADOW_DROPPED)
        return answer

    async def answer_by(self, version: str, serving: Serving, request: PredictRequest, started: float) -> Answer:
        """One version's own answer, at the endpoint of its environment: no fallback hides its failure.

        Raises Refused (500 where it fails, 503 where it is not there).
        """
        request_id = f"{self._start}-{next(self._numbers)}"
        scores, error = None, ""
        serving.inflight += 1
        try:
            if version == serving.champion.version:
                scores = await self._batcher.score(serving.champion, _encode(serving.champion, request))
            elif serving.challenger is not None and version == serving.challenger.version:
                scores = (await serving.challenger.score(request)).scores
            else:
                raise Refused(503, "not_ready", f"version {version} is not loaded", "/readyz", 1)
        except (ScoringFailed, ChallengerFailed) as failed:
            error = str(failed)
        finally:
            serving.inflight -= 1
        self._log.add(self._rows(DIRECT, version, request, request_id, started, scores, error or None))
        if scores is None:
            raise Refused(500, "model", f"version {version} failed on this request: {error}")
        return Answer(scores, version, DIRECT, request_id)

    def overloaded(self) -> None:
        """Logs that in this second a request was turned away: at most one row, however many were."""
        second = (at := self._clock.now()).replace(microsecond=0)
        if second != self._refused and self.serving is not None:
            self._refused = second
            request_id, version = f"{self._start}-{next(self._numbers)}", self.serving.champion.version
            self._log.add(
                [LogRow(request_id, None, at, REFUSED, version, None, None, 0.0, "overloaded", None, None, None)]
            )

    def mirror(self, challenger: Challenger) -> Mirror:
        """A mirror whose copies are recorded here."""

        def record(request: PredictRequest, id: str, seconds: float, scored: Scored | None, error: str | None) -> None:
            started = self._timer() - seconds
            self._metrics.observe(SHADOW, seconds, failed=error is not None)
            scores = scored.scores if scored is not None else None
            rows = self._rows(SHADOW, challenger.version, request, id, started, scores, error)
            if scored is not None:
                rows = [row._replace(model_ms=scored.model_ms, champion_ms=scored.champion_ms) for row in rows]
            self._log.add(rows)

        return Mirror(challenger, record, self._timer, metrics=self._metrics)

    def _rows(
        self,
        variant: str,
        version: str,
        request: PredictRequest,
        request_id: str,
        started: float,
        scores: list[Said] | None,
        error: str | None,
    ) -> list[LogRow]:
        """A row an instance; without scores, of the failure."""
        milliseconds, at = (self._timer() - started) * 1000.0, self._clock.now()
        nothing: list[tuple[float | None, int | str | None]] = [(None, None)] * len(request.instances)
        found = nothing if scores is None else [self.task.logged(each) for each in scores]
        return [
            LogRow(request_id, request.id, at, variant, version, score, label,
                   milliseconds, error, None, None, _named(outside))
            for (score, label), outside in zip(found, request.outside, strict=True)
        ]  # fmt: skip

    async def _challenged(
        self, serving: Serving, challenger: Challenger, request: PredictRequest, rows: list[object], request_id: str
    ) -> Answer:
        try:
            scored = await challenger.score(request)
            return Answer(scored.scores, challenger.version, "challenger", request_id)
        except ChallengerFailed as error:
            scores = await self._batcher.score(serving.champion, rows)
            return Answer(scores, serving.champion.version, "champion", request_id, str(error))

    def _record(self, serving: Serving, request: PredictRequest, answer: Answer, started: float) -> None:
        seconds, error = self._timer() - started, answer.challenger_error
        if error is None:
            self._metrics.observe(answer.variant, seconds, failed=False)
            rows = self._rows(answer.variant, answer.version, request, answer.request_id, started, answer.scores, None)
        else:
            self._metrics.observe("challenger", seconds, failed=True)
            version = serving.challenger.version if serving.challenger is not None else ""
            rows = [
                row._replace(fallback_version=answer.version, fallback_score=self.task.logged(score)[0])
                for row, score in zip(
                    self._rows("challenger", version, request, answer.request_id, started, None, error),
                    answer.scores,
                    strict=True,
                )
            ]
        for outside in request.outside:
            for name in outside:
                self._metrics.outside(rows[0].variant, name)
        self._log.add(rows)

    def _record_failure(
        self,
        serving: Serving,
        request: PredictRequest,
        request_id: str,
        to_challenger: bool,
        started: float,
        error: str,
    ) -> None:
        """The champion failed, be it as the fallback: the request fails, and it is the champion's error."""
        seconds, version = self._timer() - started, serving.champion.version
        self._metrics.observe("champion", seconds, failed=True)
        if to_challenger and serving.challenger is not None:
            self._metrics.observe("challenger", seconds, failed=True)
        self._log.add(self._rows("champion", version, request, request_id, started, None, error))


def _named(outside: tuple[str, ...]) -> str | None:
    return ",".join(outside) or None


def _encode(scorer: Scorer, request: PredictRequest) -> list[object]:
    rows: list[object] = []
    for number, values in enumerate(request.values):
        try:
            rows.append(scorer.encode(values))
        except InvalidInstance as error:
            raise refused_instance(error, request, number) from None
    return rows
