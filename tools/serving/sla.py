"""What the prediction log says of a model's SLA. Requests that never reached the gateway are not in it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, Field

from policies.sla import WINDOWS, Burn, Seen, budget_left, burning

if TYPE_CHECKING:
    from tools.systems.systems import Systems

LATENCY_WINDOW = timedelta(hours=24)
FAST_SHARE = 0.99
"""A promise about the 99th percentile is one about this share of the requests; its budget is the one percent left."""


class SlaReading(BaseModel):
    """A model's SLA at a moment. Availability counts over 30 days, latency over the last 24 hours."""

    model_config = ConfigDict(frozen=True)

    requests: int = Field(description="answered instances in 30 days")
    failed: int = Field(description="of them, those whose callers got an error")
    availability: float | None = Field(description="share that did not fail; None without requests")
    availability_promised: float
    budget_left: float = Field(description="share of the 30 days' error budget; below 0 where the promise is broken")
    latency_p99_ms: float | None
    latency_p99_ms_promised: float
    burn: Burn | None = Field(exclude=True)
    slow_burn: Burn | None = Field(default=None, exclude=True)


def read_sla(systems: Systems, model: str, now: datetime) -> SlaReading | None:
    """None where no SLA is declared or nothing is logged yet. Raises SystemDown, InputError."""
    infra, log = systems.operations.serving_of(model), systems.operations.model(model).prediction_log
    sla = infra.real_time.sla if infra is not None and infra.real_time is not None else None
    if sla is None or log is None or not systems.warehouse.exists(log):
        return None
    # A challenger's failure was answered by the champion; a request failed only where the champion did too.
    counts = ", ".join(
        f"""count(*) FILTER ("at" > $since{i}) AS n{i},
        count(*) FILTER ("at" > $since{i} AND variant = 'champion' AND error IS NOT NULL) AS failed{i},
        count(*) FILTER ("at" > $since{i} AND latency_ms > $promised_ms) AS slow{i}"""
        for i in range(len(WINDOWS))
    )
    sql = f"""
        SELECT {counts}, quantile_cont(CASE WHEN "at" > $day THEN latency_ms END, 0.99) AS p99
        FROM {log} WHERE "at" > $since{len(WINDOWS) - 1} AND "at" <= $now AND variant IN ('champion', 'challenger')
    """
    asked = {f"since{i}": now - window for i, window in enumerate(WINDOWS)}
    asked |= {"day": now - LATENCY_WINDOW, "now": now}
    (row,) = systems.warehouse.query(sql, {**asked, "promised_ms": sla.latency_p99_ms}).to_pylist()
    seen = {window: Seen(row[f"n{i}"], row[f"failed{i}"]) for i, window in enumerate(WINDOWS)}
    slow = {window: Seen(row[f"n{i}"], row[f"slow{i}"]) for i, window in enumerate(WINDOWS)}
    month = seen[WINDOWS[-1]]
    return SlaReading(
        requests=month.requests,
        failed=month.failed,
        availability=1.0 - month.failed / month.requests if month.requests else None,
        availability_promised=sla.availability,
        budget_left=budget_left(seen, sla.availability),
        latency_p99_ms=row["p99"],
        latency_p99_ms_promised=sla.latency_p99_ms,
        burn=burning(seen, sla.availability),
        slow_burn=burning(slow, FAST_SHARE),
    )
