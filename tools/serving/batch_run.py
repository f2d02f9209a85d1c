"""One run of a declared batch pattern: a period of its schedule, scored page by page into its output table.

The period is the partition: from the tick of the schedule before the last to the last one. Each row of it is scored
once. What is written stays written, so that a run that was killed, or ran out of its time, goes on where it was when it
is called again; on a period that is done it finds nothing to do but rows that came in late.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict, Field

from policies.declarations.binding import ModelBinding
from policies.declarations.serving import Batch
from policies.errors import InputError, SystemDown
from tools.serving.batch import serving_champion
from tools.serving.batch_compute import LOCAL, Here, compute_of
from tools.serving.batch_pages import pages_of
from tools.systems.locks import acquire
from tools.systems.systems import Systems
from tools.systems.warehouse import quote

PAGE_ROWS = 1_000_000
"""About so many rows are read, scored and written at a time: what a run needs of memory does not grow with them."""


class ScoreResult(BaseModel):
    """What a run did; `rows` of it now, `already` of earlier runs of the same partition."""

    model_config = ConfigDict(frozen=True)

    pattern: str
    model: str
    version: str
    input: str
    output: str
    partition_start: datetime
    partition_end: datetime
    rows: int
    already: int
    seconds: float
    compute: str = Field(description="where it ran; what was declared is in `detail` where that is another place")
    detail: str = ""


def find_pattern(systems: Systems, name: str) -> tuple[str, Batch]:
    """The model and the batch pattern called `name`, or `INFRA.name` where several are called so. Raises InputError."""
    operations = systems.operations
    known: dict[str, list[tuple[str, Batch]]] = {}
    for infra_name, infra in operations.serving_infra.items():
        for pattern in infra.patterns:
            if isinstance(pattern, Batch):
                models = [model for model in operations.models if operations.serving_of(model) is infra]
                for called in (pattern.name, f"{infra_name}.{pattern.name}"):
                    known.setdefault(called, []).extend((model, pattern) for model in models)
    found = known.get(name, [])
    if len(found) == 1:
        return found[0]
    several = f"{name!r} is declared several times: say INFRA.{name}"
    names = ", ".join(known) or "none"
    raise InputError(several if found else f"{name!r} is no batch pattern; declared: {names}", where="serving_infra")


def partition(schedule: str, at: datetime) -> tuple[datetime, datetime]:
    """The last whole period [start, end) of a cron schedule, with end at or before `at`."""
    from croniter import croniter

    ticks = croniter(schedule, at + timedelta(seconds=1))
    end = ticks.get_prev(datetime)
    return ticks.get_prev(datetime), end


def run_batch(
    systems: Systems,
    name: str,
    at: datetime | None = None,
    *,
    page_rows: int = PAGE_ROWS,
    timer: Callable[[], float] = time.monotonic,
    told: Callable[[int], None] = lambda rows: None,
) -> ScoreResult:
    """Scores the last whole period before `at` (now unless told); `told` hears of the rows written so far.

    Raises InputError for a pattern, table or model that is not there; SystemDown where the pattern's time is over or
    another run of it is under way.
    """
    model, pattern = find_pattern(systems, name)
    began = timer()
    until = began + pattern.timeout_minutes * 60.0
    binding, version = systems.operations.model(model), serving_champion(systems, model)
    start, end = partition(pattern.schedule, at or systems.clock.now())
    with _alone(systems, name, pattern.output):
        already = _scored_before(systems, binding, pattern, start, end)
        pages = pages_of(systems, model, version, pattern, (start, end), page_rows, again=already > 0)
        compute = compute_of(systems, pattern.compute)
        done = 0
        with closing(compute.scored(pages, lambda: until - timer())) as scored:
            for page in scored if pages.count else ():
                if timer() > until:
                    left = f"{done:,} rows were scored, the same command goes on from there"
                    took = f"took longer than timeout_minutes ({pattern.timeout_minutes:g})"
                    raise SystemDown(f"{took}; {left}", where=name)
                load = f"{start:%Y%m%dT%H%M%S}-{already + done:010d}"
                systems.warehouse.append(pattern.output, page, load)
                done += page.num_rows
                told(done)
    here = isinstance(compute, Here)
    elsewhere = f"declared for {pattern.compute}, which is not connected" if here and pattern.compute != LOCAL else ""
    return ScoreResult(
        pattern=name, model=model, version=version, input=pattern.input, output=pattern.output,
        partition_start=start, partition_end=end, rows=done, already=already, seconds=timer() - began,
        compute=LOCAL if here else pattern.compute, detail=elsewhere,
    )  # fmt: skip


@contextmanager
def _alone(systems: Systems, name: str, output: str) -> Iterator[None]:
    """One run into an output table at a time, by whichever name its pattern was called."""
    if (lock := acquire(systems, f"score {output}")) is None:
        raise SystemDown(f"another run into {output} is under way", where=name)
    try:
        yield
    finally:
        lock.release()


def _scored_before(systems: Systems, binding: ModelBinding, pattern: Batch, start: datetime, end: datetime) -> int:
    if not systems.warehouse.exists(pattern.output):
        return 0
    time_ = quote(binding.time)
    sql = f"SELECT count(*) AS n FROM {pattern.output} WHERE {time_} >= $start AND {time_} < $end"
    return int(systems.warehouse.query(sql, {"start": start, "end": end})["n"][0].as_py())
