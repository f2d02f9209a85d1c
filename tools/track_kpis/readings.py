"""Reads a declared KPI: one SELECT, its parameters bound, one number."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from policies.errors import GuardianError
from tools.systems.registry import CHAMPION
from tools.systems.store import Kind

if TYPE_CHECKING:
    from tools.systems.systems import Systems


MOST_SECONDS = 60.0
"""A KPI query that takes longer is interrupted; it runs beside the night's other work."""
MOST_ROWS = 1000
"""One row is expected; this bounds what a wrong query may fetch before it is told so."""


@dataclass(frozen=True)
class Read:
    """What a query gave: a finite number, or why there is none."""

    value: float | None
    error: str = ""


def parameters(systems: Systems, model: str, at: datetime) -> dict[str, object]:
    """What a query may refer to: `$current` (the version that serves), `$since_deploy` (since when it does),
    `$current_quarter` ('2026-Q1'), `$current_month` ('2026-01'). The first two are missing where nothing serves."""
    bound: dict[str, object] = {
        "current_quarter": f"{at.year}-Q{(at.month + 2) // 3}",
        "current_month": f"{at:%Y-%m}",
    }
    split = systems.traffic.split(model, at)
    current = (
        split.champion if split else systems.registry.alias(systems.operations.model(model).registry_name, CHAMPION)
    )
    if current is not None:
        bound["current"] = current
        bound["since_deploy"] = _serves_since(systems, model, current)
    return bound


def read(systems: Systems, query: str, bound: dict[str, object]) -> Read:
    """Asks the warehouse. Only a single SELECT runs, within limits of time and rows, and only parameters that occur in
    it are bound; a query that fails, or whose answer is not one finite number, is a reading with an error."""
    try:
        rows = systems.warehouse.query(query, bound, most_rows=MOST_ROWS, seconds=MOST_SECONDS)
    except GuardianError as error:
        return Read(None, str(error))
    if rows.num_rows != 1 or rows.num_columns != 1:
        return Read(None, f"gave {rows.num_rows} rows of {rows.num_columns} columns, one number is expected")
    value = rows.column(0)[0].as_py()
    if value is None:
        return Read(None, "gave NULL: no rows match yet, or a division by zero")
    try:
        number = float(value)
    except (TypeError, ValueError):
        return Read(None, f"gave {value!r}, a number is expected")
    return Read(number) if math.isfinite(number) else Read(None, f"gave {number}, a finite number is expected")


def _serves_since(systems: Systems, model: str, version: str) -> datetime:
    """When `version` last became champion; its registration where no traffic change says so."""
    since = None
    for row in systems.store.list(Kind.traffic_change, model):
        if row.body.get("champion") != version:
            break
        since = row.created_at
    return since or systems.registry.get(systems.operations.model(model).registry_name, version).created_at
