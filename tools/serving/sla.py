"""What the prediction log says of a model's SLA. Requests that never reached the gateway are not in it.

Throughput is promised for every second: it is broken in one in which requests were turned away although fewer were
answered than promised. Little traffic breaks nothing, and neither does what is asked beyond the promise; answers that
come late are the latency's matter. So many seconds may be broken as requests may fail.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from policies.sla import WINDOWS, Burn, Seen, budget_left, burning
from tools.systems.requests import by_request

if TYPE_CHECKING:
    from tools.systems.systems import Systems

LATENCY_WINDOW = timedelta(hours=24)
FAST_SHARE = 0.99
"""A promise about the 99th percentile is one about this share of the requests; its budget is the one percent left."""


class Short(NamedTuple):
    """Seconds of a window that fell short of the promised throughput, and how many requests a second they answered."""

    seconds: int
    answered_rps: float


class SlaReading(BaseModel):
    """A model's SLA at a moment. Availability and throughput count over 30 days, latency over the last 24 hours."""

    model_config = ConfigDict(frozen=True)

    requests: int = Field(description="answered requests in 30 days")
    failed: int = Field(description="of them, those whose callers got an error")
    availability: float | None = Field(description="share that did not fail; None without requests")
    availability_promised: float
    budget_left: float = Field(description="share of the 30 days' error budget; below 0 where the promise is broken")
    latency_p99_ms: float | None
    latency_p99_ms_promised: float
    throughput_rps_promised: float
    short_seconds: int = Field(description="seconds in which requests were refused and fewer than promised answered")
    burn: Burn | None = Field(exclude=True)
    slow_burn: Burn | None = Field(default=None, exclude=True)
    short_burn: Burn | None = Field(default=None, exclude=True)
    short: Mapping[timedelta, Short] = Field(default_factory=dict, exclude=True)

    @property
    def in_words(self) -> str:
        """How it was kept, and what is left of the error budget, in a line."""
        served = "no request"
        if self.availability is not None:
            served = f"{self.availability:.4%} of {self.requests:,} requests answered"
        left = (
            f"{self.budget_left:.0%} of the error budget left"
            if self.budget_left > 0
            else "the error budget is used up"
        )
        late = (
            ""
            if self.latency_p99_ms is None
            else f"; p99 {self.latency_p99_ms:.0f} of {self.latency_p99_ms_promised:g} ms"
        )
        short = ""
        if self.short_seconds:
            short = f"; {self.short_seconds:,} s short of {self.throughput_rps_promised:g} requests/s"
        return f"{served} in 30 days, {left}{late}{short}"


def read_sla(systems: Systems, model: str, now: datetime) -> SlaReading | None:
    """None where no SLA is declared or nothing is logged yet. Raises SystemDown, InputError."""
    infra, log = systems.operations.serving_of(model), systems.operations.model(model).prediction_log
    sla = infra.real_time.sla if infra is not None and infra.real_time is not None else None
    if sla is None or log is None or not systems.warehouse.exists(log):
        return None
    counts = ", ".join(
        f"""count(*) FILTER ("at" > $since{i}) AS n{i},
        count(*) FILTER ("at" > $since{i} AND errors > 0) AS failed{i},
        count(*) FILTER ("at" > $since{i} AND latency_ms > $promised_ms) AS slow{i}"""
        for i in range(len(WINDOWS))
    )
    period = f""""at" > $since{len(WINDOWS) - 1} AND "at" <= $now AND variant IN ('champion', 'challenger')"""
    # A challenger's failure was answered by the champion; a request failed only where the champion did too.
    requests = by_request(log, period, failed="variant = 'champion' AND error IS NOT NULL")
    sql = f"""
        SELECT {counts}, quantile_cont(CASE WHEN "at" > $day THEN latency_ms END, 0.99) AS p99 FROM {requests}
    """
    asked = {f"since{i}": now - window for i, window in enumerate(WINDOWS)}
    asked |= {"day": now - LATENCY_WINDOW, "now": now}
    (row,) = systems.warehouse.query(sql, {**asked, "promised_ms": sla.latency_p99_ms}).to_pylist()
    seen = {window: Seen(row[f"n{i}"], row[f"failed{i}"]) for i, window in enumerate(WINDOWS)}
    slow = {window: Seen(row[f"n{i}"], row[f"slow{i}"]) for i, window in enumerate(WINDOWS)}
    month = seen[WINDOWS[-1]]
    short = _short(systems, log, now, sla.throughput_rps)
    seconds = {window: Seen(round(window.total_seconds()), each.seconds) for window, each in short.items()}
    return SlaReading(
        requests=month.requests,
        failed=month.failed,
        availability=1.0 - month.failed / month.requests if month.requests else None,
        availability_promised=sla.availability,
        budget_left=budget_left(seen, sla.availability),
        latency_p99_ms=row["p99"],
        latency_p99_ms_promised=sla.latency_p99_ms,
        throughput_rps_promised=sla.throughput_rps,
        short_seconds=short[WINDOWS[-1]].seconds,
        burn=burning(seen, sla.availability),
        slow_burn=burning(slow, FAST_SHARE),
        short_burn=burning(seconds, sla.availability),
        short=short,
    )


def _short(systems: Systems, log: str, now: datetime, promised_rps: float) -> dict[timedelta, Short]:
    """Only the seconds in which something was refused are counted out: there are few."""
    counts = ", ".join(
        f"count(*) FILTER (second > $since{i}) AS n{i}, avg(CASE WHEN second > $since{i} THEN n END) AS rps{i}"
        for i in range(len(WINDOWS))
    )
    second = """date_trunc('second', "at")"""
    period = f""""at" > $since{len(WINDOWS) - 1} AND "at" <= $now"""
    sql = f"""
        WITH refused AS (SELECT DISTINCT {second} AS second FROM {log} WHERE {period} AND variant = 'refused'),
             answered AS (
                 SELECT {second} AS second, count(DISTINCT request_id) AS n FROM {log}
                 WHERE {period} AND variant IN ('champion', 'challenger')
                   AND {second} IN (SELECT second FROM refused)
                 GROUP BY 1),
             short AS (
                 SELECT second, coalesce(n, 0) AS n FROM refused LEFT JOIN answered USING (second)
                 WHERE coalesce(n, 0) < $promised_rps)
        SELECT {counts} FROM short
    """
    asked = {f"since{i}": now - window for i, window in enumerate(WINDOWS)}
    (row,) = systems.warehouse.query(sql, {**asked, "now": now, "promised_rps": promised_rps}).to_pylist()
    return {window: Short(row[f"n{i}"], float(row[f"rps{i}"] or 0.0)) for i, window in enumerate(WINDOWS)}
