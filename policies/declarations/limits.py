"""Which numbers a metric can be held against: what it can never be is a slip of the pen."""

from __future__ import annotations

import math

from policies.metrics import MEASURED, direction_of

_UNBOUNDED = {"log_loss", "mae", "rmse", *MEASURED}
"""Those that have no upper limit; all others reach at most 1."""


def limits_of(name: str) -> tuple[float, float]:
    """The least and the most that a metric can be."""
    return (-math.inf if name == "r2" else 0.0), (math.inf if name in _UNBOUNDED else 1.0)


def limit_problem(name: str, limit: float) -> str | None:
    """Why a metric cannot be held against `limit`; None where it can, or where there is no such metric."""
    low, high = limits_of(name)
    if direction_of(name) is None or low <= limit <= high:
        return None
    lies = f"is at most {high:g}" if low == -math.inf else f"is at least {low:g}" if high == math.inf else (
        f"lies between {low:g} and {high:g}"
    )  # fmt: skip
    return f"{name} {lies}, so {limit:g} says nothing of it"
