"""Keeps what is served equal to the traffic split in force, without a request noticing.

The new split's models are loaded first, then the whole of `Serving` is replaced at once, then requests begun under
the old one are waited for, and only then is the split acknowledged: after that no request meets an older split.
A split that cannot be loaded changes nothing: what was served is served on, the reason is shown, and it is tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from tools.serving.buckets import BucketRouter
from tools.serving.challenger import DEADLINE_SECONDS, Challenger, Spares
from tools.serving.contract import Contract
from tools.serving.nursery import Nursery
from tools.serving.router import Router, Serving
from tools.serving.scorer import Scorer, load_scorer
from tools.serving.seams import Models, Split, Traffic
from tools.systems.credentials import hidden

POLL_SECONDS = 0.05
HEARTBEAT_SECONDS = 0.5
_RETRY_SECONDS = (1.0, 30.0)
_DRAIN_MARGIN_SECONDS = 0.3
_SAID_AGAIN_SECONDS = 60.0

log = logging.getLogger("guardian.gateway")
Result = TypeVar("Result")


@dataclass
class NotLoaded:
    """A split that is in force but not served: why, and when it is tried again (loop time)."""

    number: int
    reason: str
    retry_at: float
    pause: float


class Failure:
    """What keeps the state store from being read, or written, just now: logged when it changes, else once a minute."""

    def __init__(self, what: str, timer: Callable[[], float]) -> None:
        self._what = what
        self._timer = timer
        self._said = ("", 0.0)
        self.text: str | None = None

    def began(self, error: Exception) -> None:
        """It failed, perhaps again."""
        self.text, now = _line(error), self._timer()
        text, at = self._said
        if text != self.text or now - at >= _SAID_AGAIN_SECONDS:
            self._said = (self.text, now)
            log.error("the state store cannot be %s, serving on: %s", self._what, self.text)

    def ended(self) -> None:
        """It worked."""
        self.text = None


def _line(error: Exception) -> str:
    """An error's first line: SQLAlchemy appends the statement and an address of its manual."""
    first = (str(error).splitlines() or [""])[0]
    return hidden(f"{type(error).__name__}: {first}")


class Reloader:
    """Follows the split of one model. `worker` is the name it acknowledges under, `deadline` a challenger's (s).

    `gone` are workers that were killed, in whose place this one says goodbye. Challengers come from the `nursery`.
    """

    def __init__(
        self,
        router: Router,
        traffic: Traffic,
        models: Models,
        registry_name: str,
        contract: Contract,
        worker: str,
        timer: Callable[[], float],
        deadline: float = DEADLINE_SECONDS,
        gone: Sequence[str] = (),
        nursery: Nursery | None = None,
    ) -> None:
        self._gone = gone
        self._deadline = deadline
        self._contract = contract
        self._router = router
        self._traffic = traffic
        self._models = models
        self._registry_name = registry_name
        self._worker = worker
        self._timer = timer
        self._spares = Spares(nursery)
        self._scorers: dict[str, Scorer] = {}
        # Reads never wait behind a write, which may queue for the database's lock.
        self._reads = ThreadPoolExecutor(1, "store-reads")
        self._writes = ThreadPoolExecutor(1, "store-writes")
        self._loads = ThreadPoolExecutor(4, "loads")
        self._tasks: list[asyncio.Task[None]] = []
        self._applying: tuple[int, asyncio.Task[None]] | None = None
        self._acknowledged = 0
        self._settled = False
        self._draining: list[tuple[Serving, Challenger | None]] = []
        self.not_loaded: NotLoaded | None = None
        self.nothing_to_serve = False
        self._unread = Failure("read", timer)
        self._unwritten = Failure("written", timer)

    @property
    def store_error(self) -> str | None:
        """What keeps the state store from being read, else from being written; None where neither is known."""
        return self._unread.text or self._unwritten.text

    def start(self) -> None:
        """Starts following in the running loop."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._run())]

    async def settled(self, *, patient: bool) -> None:
        """Waits until the split in force is served; unless `patient`, until its champion is, or is known not to be."""
        while not (
            self._settled or (not patient and (self._router.serving or self.nothing_to_serve or self.not_loaded))
        ):
            await asyncio.sleep(0.01)

    async def stop(self) -> None:
        """Says goodbye, ends the challengers."""
        tasks = [*self._tasks, *([self._applying[1]] if self._applying else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await self._on(self._writes, self._traffic.leave, self._worker)
        except Exception as error:
            log.warning("could not say goodbye to the state store: %s", _line(error))
        self._spares.close()
        serving = self._router.serving
        if serving is not None and serving.challenger is not None:
            serving.challenger.close()
        for pool in (self._reads, self._writes, self._loads):
            pool.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    async def _on(pool: ThreadPoolExecutor, call: Callable[..., Result], *arguments: object) -> Result:
        return await asyncio.get_running_loop().run_in_executor(pool, call, *arguments)

    async def _run(self) -> None:
        """Says that it is a worker before it reads its first split, so that whoever sets the next one waits for it.

        Where that cannot be written, as on a full disk, callers are answered all the same.
        """
        if await self._heartbeat():
            for gone in self._gone:
                with suppress(Exception):  # it is forgotten by itself, after seconds in which changes wait for it
                    await self._on(self._writes, self._traffic.leave, gone)
        self._tasks.append(asyncio.get_running_loop().create_task(self._beat()))
        await self._follow()

    async def _heartbeat(self) -> bool:
        return await self._write(self._traffic.heartbeat, self._worker, self._router.model)

    async def _write(self, call: Callable[..., None], *arguments: object) -> bool:
        """Whether it could be written."""
        try:
            await self._on(self._writes, call, *arguments)
        except Exception as error:
            self._unwritten.began(error)
            return False
        self._unwritten.ended()
        return True

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            await self._heartbeat()

    async def _follow(self) -> None:
        while True:
            asked = self._timer()
            try:
                split = await self._on(self._reads, self._traffic.split, self._router.model)
            except Exception as error:
                self._unread.began(error)
            else:
                self._unread.ended()
                self._router.split_read = asked
                self.nothing_to_serve = split is None
                if split is not None:
                    await self._pursue(split)
            await asyncio.sleep(POLL_SECONDS)

    async def _pursue(self, split: Split) -> None:
        """Starts serving `split` unless that is done, under way, or failed a moment ago."""
        loop = asyncio.get_running_loop()
        if self._applying is not None:
            number, task = self._applying
            if not task.done():
                if number == split.number:
                    return
                # A newer split, perhaps a rollback, does not wait for an older one's model to load.
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            self._applying = None
        waiting, serving = self.not_loaded, self._router.serving
        if serving is not None and serving.split.number == split.number and self._acknowledged == split.number:
            return
        if waiting is None or waiting.number != split.number or loop.time() >= waiting.retry_at:
            self._applying = (split.number, loop.create_task(self._try(split)))

    async def _try(self, split: Split) -> None:
        try:
            await self._apply(split)
        except Exception as error:
            before = self.not_loaded
            first, longest = _RETRY_SECONDS
            pause = min(before.pause * 2, longest) if before and before.number == split.number else first
            reason = f"{type(error).__name__}: {error}"
            self.not_loaded = NotLoaded(split.number, reason, asyncio.get_running_loop().time() + pause, pause)
            log.error("split %d cannot be served, tried again in %g s: %s", split.number, pause, reason)

    async def _apply(self, split: Split) -> None:
        old = self._router.serving
        without = old is not None and old.challenger is None and split.challenger is not None
        if old is None or old.split.number != split.number or without:
            champion = await self._champion(split.champion)
            buckets = BucketRouter(self._router.model, split.salt)
            if old is None:
                # Just started, perhaps after a kill: callers do not wait for the challenger to start too.
                old = self._router.serving = Serving(split, champion, None, buckets)
            challenger = await self._challenger(split, old)
            mirror = self._router.mirror(challenger) if split.mirrored and challenger is not None else None
            self._router.serving = Serving(split, champion, challenger, buckets, mirror)
            self._retire(old, champion, challenger)
        await self._drain()
        self._settled, self.not_loaded = True, None
        while not await self._write(self._traffic.acknowledge, self._worker, self._router.model, split.number):
            await asyncio.sleep(HEARTBEAT_SECONDS)
        self._acknowledged = split.number
        log.info("serving split %d: champion %s, challenger %s at %g%%", split.number, split.champion,
                 split.challenger, split.challenger_pct)  # fmt: skip
        await self._spares.refill()

    def _retire(self, old: Serving, champion: Scorer, challenger: Challenger | None) -> None:
        """What served before stays in memory, so that going back to it takes no load; its challenger goes once idle."""
        if old.mirror is not None:
            old.mirror.close()
        kept = {champion.version, old.champion.version}
        self._scorers = {version: scorer for version, scorer in self._scorers.items() if version in kept}
        idle_challenger = old.challenger is not None and old.challenger is not challenger
        self._draining.append((old, old.challenger if idle_challenger else None))

    async def _drain(self) -> None:
        """Waits for requests begun under older splits, then ends their challengers."""
        until = self._timer() + self._deadline + _DRAIN_MARGIN_SECONDS
        while any(old.inflight for old, _ in self._draining) and self._timer() < until:
            await asyncio.sleep(0.002)
        for _, challenger in self._draining:
            if challenger is not None:
                challenger.close()
        self._draining.clear()

    async def _champion(self, version: str) -> Scorer:
        if version not in self._scorers:
            loop = asyncio.get_running_loop()
            self._scorers[version] = await loop.run_in_executor(self._loads, self._load, version)
        return self._scorers[version]

    def _load(self, version: str) -> Scorer:
        scorer = load_scorer(self._models.fetch(self._registry_name, version).path, self._router.task)
        scorer.schema = self._contract.bound_to(scorer.schema)
        return scorer

    async def _challenger(self, split: Split, old: Serving | None) -> Challenger | None:
        if split.challenger is None:
            return None
        fetch = self._models.fetch
        loop = asyncio.get_running_loop()
        beside = None
        if split.mirrored:
            beside = (await loop.run_in_executor(self._loads, fetch, self._registry_name, split.champion)).path
        before = old.challenger if old is not None else None
        if before is not None and before.version == split.challenger and beside in (None, before.beside):
            return before
        fetched = await loop.run_in_executor(self._loads, fetch, self._registry_name, split.challenger)
        challenger = Challenger(
            split.challenger, fetched.path, self._spares, self._timer, self._deadline, beside, self._router.task.name
        )
        await challenger.start()
        return challenger
