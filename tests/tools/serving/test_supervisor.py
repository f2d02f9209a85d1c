"""A supervisor whose workers cannot start ends; a router that has lost sight of its split asks no challenger."""

from __future__ import annotations

import asyncio
import gc
import os
import time
from types import SimpleNamespace
from typing import Any

from policies.autoscaling import Autoscaler
from policies.declarations.serving import Instances
from policies.errors import SystemDown
from tools.serving.buckets import BucketRouter
from tools.serving.challenger_process import Scored
from tools.serving.contract import Contract
from tools.serving.features import FeatureSchema
from tools.serving.metrics import Layout, Metrics
from tools.serving.prediction_log import PredictionLog
from tools.serving.reloader import Reloader
from tools.serving.requests import PredictRequest
from tools.serving.router import SURE_SECONDS, Router, Serving
from tools.serving.supervisor import Supervisor
from tools.systems.clock import WallClock


def test_a_gateway_whose_workers_all_end_as_they_start_gives_up() -> None:
    supervisor = os.fork()
    if supervisor == 0:
        gc.disable()  # what the suite left would be torn down here, without the threads it lives on
        layout, code = Layout(), 1
        rows = [memoryview(bytearray(8 * len(layout.names))).cast("d") for _ in range(4)]
        scaler = Autoscaler(Instances(min=2, max=2), None)
        try:
            Supervisor(lambda seat: os._exit(9), layout, rows, scaler).serve()
        except SystemDown as error:
            code = 0 if "workers in a row ended" in str(error) else 2
        os._exit(code)
    began = time.monotonic()
    _, status = os.waitpid(supervisor, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert time.monotonic() - began < 10


def test_a_split_that_was_not_read_for_two_seconds_reaches_no_challenger() -> None:
    class Champion:
        version = "1"

        def encode(self, values: Any) -> Any:
            return values

        def score(self, rows: Any) -> list[float]:
            return [0.1] * len(rows)

    class Challenger:
        version = "2"

        async def score(self, request: PredictRequest) -> Scored:
            return Scored([0.9] * len(request.values))

    async def scenario() -> list[str]:
        log = PredictionLog(None, "t", WallClock())  # type: ignore[arg-type]
        router = Router("M", log, WallClock(), Metrics(), lambda: 100.0)
        split = SimpleNamespace(challenger_pct=100.0)
        serving = Serving(split, Champion(), Challenger(), BucketRouter("M"))  # type: ignore[arg-type]
        variants = []
        for age in (0.0, SURE_SECONDS - 0.1, SURE_SECONDS + 0.1):
            router.split_read = 100.0 - age
            request = PredictRequest(FeatureSchema((), (), ()), "7", [{}], [((), ())], [()])
            variants.append((await router.answer(serving, request, 100.0)).variant)
        return variants

    assert asyncio.run(scenario()) == ["challenger", "challenger", "champion"]


def test_a_worker_is_known_and_the_killed_one_forgotten_before_it_reads_a_split() -> None:
    """Else a rollback between its read and its first sign of life would be acknowledged without it."""

    class Traffic:
        def __init__(self) -> None:
            self.calls: list[str] = []

        def heartbeat(self, worker: str, model: str) -> None:
            self.calls.append(f"{worker} lives")

        def leave(self, worker: str) -> None:
            self.calls.append(f"{worker} leaves")

        def split(self, model: str) -> None:
            self.calls.append("split")

        def acknowledge(self, worker: str, model: str, number: int) -> None:
            self.calls.append("acknowledged")

    async def scenario() -> list[str]:
        traffic, router = Traffic(), Router("M", None, WallClock(), Metrics(), time.perf_counter)  # type: ignore[arg-type]
        reloader = Reloader(router, traffic, None, "m", Contract(), "new", time.perf_counter, gone=["dead"])  # type: ignore[arg-type]
        reloader.start()
        await reloader.settled(patient=False)
        await reloader.stop()
        return traffic.calls

    assert asyncio.run(scenario())[:3] == ["new lives", "dead leaves", "split"]
