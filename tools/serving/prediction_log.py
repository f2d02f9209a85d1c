"""The prediction log: what was answered, written off the request path to the warehouse, within a second.

One row an instance. A challenger's failure is a row of variant `challenger` with its `error`, without a score, so that
it can never be mistaken for the challenger's own answer; what the champion answered in its place is in
`fallback_version` and `fallback_score`.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from tools.serving.metrics import LOG_ADDED, LOG_DROPPED, LOG_FAILURES, LOG_WRITTEN, Metrics
from tools.serving.seams import Clock, LogTable
from tools.systems.credentials import hidden
from tools.tasks import BINARY, Task

if TYPE_CHECKING:
    import pyarrow as pa

FLUSH_SECONDS = 0.9
FLUSH_ROWS = 5_000
QUEUE_ROWS = 200_000

log = logging.getLogger("guardian.gateway")


class LogRow(NamedTuple):
    """One answered instance. `latency_ms` is the request's, from last byte read to answer; `outside_contract` names
    the features, separated by commas, whose values are outside their declared range or categories.

    A mirrored row has variant `shadow`: an answer nobody got, with the request id of the one that was given.
    `model_ms` and `champion_ms` are then the two versions' own times on these rows, in one process. A row of variant
    `refused` says that in this second at least one request was turned away, unread, because too many were under way.
    """

    request_id: str
    id: str | None
    at: datetime
    variant: str
    version: str
    score: float | None
    label: int | str | None
    latency_ms: float
    error: str | None
    fallback_version: str | None
    fallback_score: float | None
    outside_contract: str | None
    model_ms: float | None = None
    champion_ms: float | None = None


class PredictionLog:
    """A bounded queue and the task that writes it. Rows beyond `queue_rows` are dropped and counted, in `metrics`.

    What was added and not written when the process is killed is lost, and is the difference of those two counters.
    """

    def __init__(
        self,
        warehouse: LogTable,
        table: str,
        clock: Clock,
        queue_rows: int = QUEUE_ROWS,
        metrics: Metrics | None = None,
        task: Task = BINARY,
    ) -> None:
        self._warehouse = warehouse
        self._table = table
        self._clock = clock
        self._foretold = task
        self._limit = queue_rows
        self._rows: list[LogRow] = []
        self._full = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._start = secrets.token_hex(4)
        self._files = 0
        self._writing = 0
        self._metrics = metrics or Metrics()
        self.fault: str | None = None
        """What keeps the log from being written just now."""

    def add(self, rows: Sequence[LogRow]) -> None:
        """Queues rows. Never blocks."""
        room = self._limit - len(self._rows)
        if room < len(rows):
            self._metrics.add(LOG_DROPPED, len(rows) - max(room, 0))
            rows = rows[: max(room, 0)]
        self._metrics.add(LOG_ADDED, len(rows))
        self._rows += rows
        if len(self._rows) >= FLUSH_ROWS:
            self._full.set()

    @property
    def queued(self) -> int:
        """Rows not written yet."""
        return len(self._rows) + self._writing

    @property
    def written(self) -> int:
        """Rows that are in the warehouse."""
        return int(self._metrics[LOG_WRITTEN])

    @property
    def dropped(self) -> int:
        """Rows there was no room for."""
        return int(self._metrics[LOG_DROPPED])

    @property
    def failures(self) -> int:
        """Writes that the warehouse refused."""
        return int(self._metrics[LOG_FAILURES])

    def start(self) -> None:
        """Starts the writing task in the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Writes what is queued and ends."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._flush()
        if self._rows:
            log.error("prediction log: %d rows could not be written before the end", len(self._rows))

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._full.wait(), FLUSH_SECONDS)
            self._full.clear()
            flush = asyncio.ensure_future(self._flush())
            # A flush under way when the gateway stops is finished, or its rows would be neither written nor queued.
            try:
                await asyncio.shield(flush)
            except asyncio.CancelledError:
                await flush
                raise

    async def _flush(self) -> None:
        rows, self._rows = self._rows, []
        self._writing = len(rows)
        if not rows:
            return
        try:
            await asyncio.to_thread(self._write, rows)
        except Exception as error:
            self._metrics.add(LOG_FAILURES)
            self._rows = rows + self._rows
            said = hidden((str(error).splitlines() or [type(error).__name__])[0])
            self.fault = f"{len(self._rows)} rows wait: {said}"
            log.error("prediction log: %d rows wait, the warehouse refused them: %s", len(self._rows), error)
        else:
            self.fault = None
            self._metrics.add(LOG_WRITTEN, len(rows))
        self._writing = 0

    def _write(self, rows: list[LogRow]) -> None:
        """The name sorts by time and never repeats: a rerun of the same virtual time must not replace a file."""
        self._files += 1
        name = f"{rows[0].at:%Y%m%dT%H%M%S%f}-{self._start}-{self._files:06d}"
        self._warehouse.append(self._table, to_arrow(rows, self._foretold), name)


def to_arrow(rows: Sequence[LogRow], task: Task = BINARY) -> pa.Table:
    """Rows as an Arrow table with the log's fixed schema; what a label is, the task says."""
    import pyarrow as pa

    text, number = pa.string(), pa.float64()
    schema = pa.schema(
        [
            ("request_id", text),
            ("id", text),
            ("at", pa.timestamp("us")),
            ("variant", text),
            ("version", text),
            ("score", number),
            ("label", task.label_type()),
            ("latency_ms", number),
            ("error", text),
            ("fallback_version", text),
            ("fallback_score", number),
            ("outside_contract", text),
            ("model_ms", number),
            ("champion_ms", number),
        ]
    )
    columns = zip(*rows, strict=True)
    return pa.table([pa.array(column, kind.type) for column, kind in zip(columns, schema, strict=True)], schema=schema)
