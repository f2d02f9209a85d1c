"""A state store that can be read and not written, as on a full disk, keeps no gateway from answering."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest import MODEL, _path
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from tools.serving.client import send
from tools.serving.contract import Contract
from tools.serving.metrics import Metrics
from tools.serving.process import GatewayProcess
from tools.serving.reloader import Reloader
from tools.serving.router import Router
from tools.systems.clock import WallClock

WRITES = ("INSERT", "UPDATE")


@pytest.fixture
def full(world: Any) -> Iterator[Callable[[], None]]:
    """Workers cannot sign until what this gives is called."""

    def run(statement: str) -> None:
        for write in WRITES:
            with world.systems.store.writing() as session:
                session.execute(text(statement.format(write=write)))

    def end() -> None:
        run("DROP TRIGGER IF EXISTS full_{write}")

    refuse = "BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END"
    run(f"CREATE TRIGGER full_{{write}} BEFORE {{write}} ON workers {refuse}")
    yield end
    end()


def test_a_gateway_that_starts_on_a_full_disk_serves_and_says_so(
    world: Any, running: Any, full: Callable[[], None], payload: Callable[..., dict[str, Any]]
) -> None:
    with GatewayProcess(world.operations, MODEL, environment={"PYTHONPATH": _path()}, ready_seconds=20.0) as gateway:
        assert send(gateway.predict_url, [payload()])[0].status == 200
        state = gateway.readiness()
        assert "database or disk is full" in state["state_store"]
        assert state["not_loaded"] is None and "\n" not in state["state_store"]
        before = len(world.systems.traffic.live_workers(MODEL))
        full()
        until = time.monotonic() + 10
        while gateway.readiness()["state_store"] != "ok" or before == len(world.systems.traffic.live_workers(MODEL)):
            assert time.monotonic() < until
            time.sleep(0.05)


def test_what_cannot_be_written_is_logged_in_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now, said = 100.0, "disk is full"

    class Traffic:
        beats = 0

        def heartbeat(self, worker: str, model: str) -> None:
            self.beats += 1
            raise OperationalError("UPDATE workers", {}, Exception(said))

        def leave(self, worker: str) -> None: ...

        def split(self, model: str) -> None: ...

        def acknowledge(self, worker: str, model: str, number: int) -> None: ...

    async def beaten(traffic: Traffic) -> None:
        seen = traffic.beats
        while traffic.beats < seen + 2:
            await asyncio.sleep(0.01)

    async def scenario() -> None:
        nonlocal now, said
        traffic, router = Traffic(), Router("M", None, WallClock(), Metrics(), time.perf_counter)  # type: ignore[arg-type]
        reloader = Reloader(router, traffic, None, "m", Contract(), "new", lambda: now)  # type: ignore[arg-type]
        reloader.start()
        await beaten(traffic)
        said = "disk is broken"
        await beaten(traffic)
        now += 61.0
        await beaten(traffic)
        assert reloader.store_error == "OperationalError: (builtins.Exception) disk is broken"
        await reloader.stop()

    with caplog.at_level(logging.WARNING, "guardian.gateway"):
        asyncio.run(scenario())
    lines = [record.getMessage() for record in caplog.records]
    assert [line.rpartition(") ")[2] for line in lines] == ["disk is full", "disk is broken", "disk is broken"]
    assert not any("\n" in line or "Background" in line for line in lines)
