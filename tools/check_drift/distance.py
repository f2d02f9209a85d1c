"""Distances between two histograms of one numeric column that need no bins of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.check_drift.numeric import Floats, Ints, NumericSummary, middle_values, recentred


@dataclass(frozen=True)
class KolmogorovSmirnov:
    """`statistic` ≤ the exact two-sample statistic ≤ `statistic` + `bound`."""

    statistic: float
    bound: float


def kolmogorov_smirnov(baseline: NumericSummary, current: NumericSummary) -> KolmogorovSmirnov:
    """Two-sample Kolmogorov-Smirnov statistic over the finite values and infinities (nulls are left out).

    The cumulative counts are known exactly at the bins' ends; within a bin the two may diverge by what it holds, and
    that is the bound. NaN where a side is empty.
    """
    _, below_f, f, below_g, g = _cumulative(baseline, current)
    if np.isnan(f).any() or np.isnan(g).any():
        return KolmogorovSmirnov(float("nan"), float("nan"))
    statistic = float(np.abs(f - g).max(initial=abs(float(below_f[0] - below_g[0])) if len(f) else 0.0))
    at_most = float(np.maximum(f - below_g, g - below_f).max(initial=0.0))
    return KolmogorovSmirnov(statistic, max(at_most - statistic, 0.0))


def wasserstein(baseline: NumericSummary, current: NumericSummary) -> float:
    """Wasserstein-1 distance of the finite values, in the column's units; NaN where a side is empty.

    Every value counts as the middle of its bin, so the result is off by at most half a bin's width: 1/2048 of the
    values' mean distance from the centre, on each side.
    """
    ranks, _, f, _, g = _cumulative(baseline, current, infinities=False)
    if len(ranks) < 2:
        return float("nan") if np.isnan(f).any() or np.isnan(g).any() or not len(ranks) else 0.0
    return float(np.sum(np.abs(f - g)[:-1] * np.diff(middle_values(ranks))))


def _cumulative(
    baseline: NumericSummary, current: NumericSummary, infinities: bool = True
) -> tuple[Ints, Floats, Floats, Floats, Floats]:
    """Union of ranks, and for each side the share of values below each rank's bin and up to its end."""
    current = recentred(current, baseline.centre)
    ranks = _union(baseline.ranks, current.ranks)
    sides = []
    for side in (baseline, current):
        low, high = (side.neg_inf, side.pos_inf) if infinities else (0, 0)
        cumulative = np.concatenate([[0], np.cumsum(side.counts)]) + low
        size = int(cumulative[-1]) + high
        up_to = cumulative[np.searchsorted(side.ranks, ranks, side="right")]
        below = np.concatenate([[low], up_to[:-1]])
        divisor = size if size else np.nan
        sides += [below[: len(up_to)] / divisor, up_to / divisor]
    return ranks, sides[0], sides[1], sides[2], sides[3]


def _union(a: Ints, b: Ints) -> Ints:
    merged = np.sort(np.concatenate([a, b]), kind="stable")
    if not len(merged):
        return merged
    return merged[np.concatenate([[True], merged[1:] != merged[:-1]])]
