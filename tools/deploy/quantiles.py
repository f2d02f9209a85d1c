"""A quantile with its standard error, from counts by slice of time, and what two of them say of each other.

Latencies come in clusters: one stall slows every request of that second. So the error of the share beyond the quantile
is the larger of the binomial one and the one that lets each slice vary as a whole, and Woodruff's interval (1952) turns
it into one of the quantile: q(p - s) to q(p + s). In logs, because an increase is declared in percent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
_FLOOR = 1e-3
"""No quantile of a clock's readings is known better than to a tenth of a percent."""


@dataclass(frozen=True)
class Quantile:
    """A positive quantile, and the standard error of its logarithm."""

    value: float
    log_error: float


def share_error(p: float, n: Counts, beyond: Counts) -> float:
    """Standard error of the share of values below the p-quantile, from values `n` and those `beyond` it by slice."""
    total = float(n.sum())
    alone = math.sqrt(p * (1.0 - p) / total)
    slices = len(n)
    if slices < 2:
        return alone
    spread = float(((beyond - (1.0 - p) * n) ** 2).sum()) * slices / (slices - 1)
    return max(alone, math.sqrt(spread) / total)


def quantile(low: float, value: float, high: float) -> Quantile:
    """From the quantiles at p - s, p and p + s, all positive."""
    return Quantile(value, max((math.log(high) - math.log(low)) / 2.0, _FLOOR))


def log_ratio(ours: Quantile, theirs: Quantile) -> tuple[float, float]:
    """log(ours / theirs) and its standard error."""
    return math.log(ours.value / theirs.value), math.hypot(ours.log_error, theirs.log_error)
