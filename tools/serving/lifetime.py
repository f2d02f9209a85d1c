"""One process's share of a gateway, wired: starts and stops the parts, and says how they are."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

from policies.declarations.serving import Instances
from tools.serving.challenger import DEADLINE_SECONDS
from tools.serving.contract import Contract
from tools.serving.metrics import BEAT, BREAKER_OPEN, CHALLENGER_PCT, PID, SERVING, SPLIT, Metrics
from tools.serving.nursery import Nursery
from tools.serving.prediction_log import PredictionLog
from tools.serving.reloader import Reloader
from tools.serving.router import Router
from tools.serving.seams import Clock, LogTable, Models, Traffic
from tools.serving.supervisor import Seat
from tools.tasks import BINARY, Task

TELL_SECONDS = 0.1


def alone(instances: Instances) -> bool:
    """Whether there is one process, which needs no supervisor."""
    return instances.max == 1


class Gateway:
    """One model's gateway, wired: starts and stops the parts, and says how they are."""

    def __init__(
        self,
        model: str,
        registry_name: str,
        log_table: str,
        contract: Contract,
        *,
        traffic: Traffic,
        models: Models,
        warehouse: LogTable,
        clock: Clock,
        metrics: Metrics,
        worker: str,
        instances: Instances,
        seat: Seat,
        gone: Sequence[str] = (),
        deadline: float = DEADLINE_SECONDS,
        timer: Callable[[], float] = time.perf_counter,
        task: Task = BINARY,
    ) -> None:
        self._model = model
        self._instances = instances
        self._seat = seat
        self._log = PredictionLog(warehouse, log_table, clock, metrics=metrics, task=task)
        self._telling: asyncio.Task[None] | None = None
        self.metrics = metrics
        self.router = Router(model, self._log, clock, self.metrics, timer, task)
        self._reloader = Reloader(
            self.router,
            traffic,
            models,
            registry_name,
            contract,
            worker,
            timer,
            deadline,
            gone,
            Nursery(seat.line) if seat.line is not None else None,
        )

    async def start(self) -> None:
        """Starts following the traffic split and writing the log.

        One of several workers returns, and so begins to listen, when it serves; until then the others do.
        """
        self._log.start()
        self._reloader.start()
        self._telling = asyncio.get_running_loop().create_task(self._tell())
        if not alone(self._instances):
            await self._reloader.settled(patient=self._seat.patient)

    async def stop(self) -> None:
        """Ends the challengers and writes the last of the log."""
        await self._reloader.stop()
        await self._log.stop()
        if self._telling is not None:
            self._telling.cancel()

    def state(self) -> dict[str, Any]:
        """The body of /readyz. What the log lacks keeps nobody from being answered, and is told."""
        self.tell()
        serving, waiting = self.router.serving, self._reloader.not_loaded
        split = serving.split if serving is not None else None
        challenger = serving.challenger if serving is not None else None
        return {
            "ready": serving is not None,
            "model": self._model,
            "split": split.number if split is not None else None,
            "champion": split.champion if split is not None else None,
            "path": serving.champion.path_name if serving is not None else None,
            "why_not_onnx": serving.champion.why_not_onnx if serving is not None else None,
            "challenger": challenger.version if challenger is not None else None,
            "challenger_pct": split.challenger_pct if split is not None else 0.0,
            "mirrored": serving is not None and serving.mirror is not None,
            "endpoints": dict(split.endpoints) if split is not None else {},
            "challenger_pid": challenger.pid if challenger is not None else None,
            "not_loaded": {"split": waiting.number, "reason": waiting.reason} if waiting is not None else None,
            "state_store": self._reloader.store_error or "ok",
            "prediction_log": self._log.fault or "ok",
            "instances": {**self._instances.model_dump(), "serving": self.metrics.serving_pids()},
        }

    def tell(self) -> None:
        """Writes the values of the moment to the worker's row of numbers."""
        serving, metrics = self.router.serving, self.metrics
        challenger = serving.challenger if serving is not None else None
        metrics[SPLIT] = serving.split.number if serving is not None else 0
        metrics[CHALLENGER_PCT] = serving.split.challenger_pct if serving is not None else 0.0
        metrics[BREAKER_OPEN] = challenger is not None and challenger.breaker.is_open
        metrics[BEAT] = time.monotonic()
        metrics[PID] = os.getpid()
        metrics[SERVING] = serving is not None  # last: one that serves is expected to have the other two

    async def _tell(self) -> None:
        while True:
            self.tell()
            await asyncio.sleep(TELL_SECONDS)
