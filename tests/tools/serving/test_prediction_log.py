"""The log never makes a request wait: it drops beyond its bound and keeps what the warehouse refuses for now."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

from tools.serving.frames import FrameReader, pack
from tools.serving.prediction_log import LogRow, PredictionLog
from tools.systems.clock import WallClock
from tools.systems.warehouse import Warehouse

ROW = LogRow("r", "7", datetime(2026, 1, 6), "champion", "1", 0.5, 1, 1.5, None, None, None, None)


def test_rows_beyond_the_bound_are_dropped_and_counted(tmp_path: Path) -> None:
    log = PredictionLog(Warehouse(tmp_path), "ml_predictions.log", WallClock(), queue_rows=10)

    async def scenario() -> None:
        log.add([ROW] * 8)
        log.add([ROW] * 8)
        assert (log.queued, log.dropped) == (10, 6)
        await log.stop()

    asyncio.run(scenario())
    assert log.written == 10
    assert Warehouse(tmp_path).read("ml_predictions.log").num_rows == 10


def test_rows_the_warehouse_refuses_are_written_later(tmp_path: Path) -> None:
    class Failing(Warehouse):
        down = True

        def append(self, table: str, data: Any, name: str) -> Path:
            if self.down:
                raise OSError("disk full")
            return super().append(table, data, name)

    warehouse = Failing(tmp_path)
    log = PredictionLog(warehouse, "ml_predictions.log", WallClock())

    async def scenario() -> None:
        log.start()
        log.add([ROW] * 3)
        await asyncio.sleep(1.2)
        assert (log.failures, log.queued, log.written) == (1, 3, 0)
        assert log.fault == "3 rows wait: disk full"
        warehouse.down = False
        await log.stop()

    asyncio.run(scenario())
    assert (log.queued, log.written, log.fault) == (0, 3, None)


def test_frames_survive_any_fragmentation() -> None:
    messages = [{"load": "/x"}, [1, 2.5, [{"a": None}]], []]
    stream = b"".join(map(pack, messages))
    for size in (1, 3, 7, len(stream)):
        reader, got = FrameReader(), []
        for start in range(0, len(stream), size):
            got += reader.feed(stream[start : start + size])
        assert got == messages
