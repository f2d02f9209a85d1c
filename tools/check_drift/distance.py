"""Distances between two histograms of one numeric column that need no bins of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.check_drift.numeric import Floats, Ints, NumericSummary, lower_values, middle_values, recentred, upper_values

_OWN_BIN = 2048
"""Integers up to this far from the centre have a histogram bin of their own."""


@dataclass(frozen=True)
class Distances:
    """`ks` <= the exact two-sample statistic <= `ks` + `ks_bound`; `wasserstein` in the column's units."""

    ks: float
    ks_bound: float
    wasserstein: float


def distances(baseline: NumericSummary, current: NumericSummary) -> Distances:
    """Kolmogorov-Smirnov statistic and Wasserstein-1 distance; NaN where a side is empty. Nulls are left out.

    KS counts infinities. The cumulative counts are known exactly at the bins' ends; within a bin the two may diverge
    by what it holds, and that is the bound: 0 for integers near the centre, elsewhere the share of the fullest bin.

    Wasserstein takes finite values only, each as the middle of its bin, so it is off by at most half a bin's width:
    1/2048 of the values' mean distance from the centre, on each side.
    """
    current = recentred(current, baseline.centre)
    ranks, last = _union(baseline.ranks, current.ranks)
    if not len(ranks):
        return _without_finite_values(baseline, current)
    order, ends = last
    f, below_f = _cumulative(baseline, current, order, ends, of_baseline=True)
    g, below_g = _cumulative(baseline, current, order, ends, of_baseline=False)
    ks = max(float(np.abs(f - g).max()), float(abs(below_f[0] - below_g[0])))
    open_bins = _may_diverge_within(ranks, baseline.integral and current.integral)
    at_most = float(np.maximum(f - below_g, g - below_f)[open_bins].max(initial=0.0))
    moved = float("nan")
    if baseline.finite and current.finite:
        low_f, low_g = float(below_f[0]), float(below_g[0])
        high_f, high_g = float(f[-1]), float(g[-1])
        gaps = np.abs((f - low_f) / (high_f - low_f) - (g - low_g) / (high_g - low_g))
        moved = float(np.sum(gaps[:-1] * np.diff(middle_values(ranks))))
    return Distances(ks, max(at_most - ks, 0.0), moved)


def _may_diverge_within(ranks: Ints, integral: bool) -> NDArray[np.bool_]:
    """Bins that can hold more than one value."""
    high = upper_values(ranks)
    if integral:
        return np.abs(high) >= _OWN_BIN
    return high > lower_values(ranks)


def _union(a: Ints, b: Ints) -> tuple[Ints, tuple[Ints, Ints]]:
    """Distinct ranks of both, with the order that merges them and the last position of each rank in that order."""
    merged = np.concatenate([a, b])
    order = np.argsort(merged, kind="stable")
    merged = merged[order]
    ends = np.flatnonzero(np.append(merged[1:] != merged[:-1], True)) if len(merged) else np.empty(0, np.int64)
    return merged[ends], (order, ends)


def _cumulative(
    baseline: NumericSummary, current: NumericSummary, order: Ints, ends: Ints, *, of_baseline: bool
) -> tuple[Floats, Floats]:
    """Share of one side's values up to each rank's end, and below its bin; infinities count."""
    side = baseline if of_baseline else current
    counts = np.zeros(len(order), dtype=np.int64)
    if of_baseline:
        counts[: len(baseline.counts)] = baseline.counts
    else:
        counts[len(baseline.counts) :] = current.counts
    up_to = np.cumsum(counts[order])[ends] + side.neg_inf
    size = int(up_to[-1]) + side.pos_inf
    divisor = float(size) if size else float("nan")
    return up_to / divisor, np.concatenate([[side.neg_inf], up_to[:-1]]) / divisor


def _without_finite_values(baseline: NumericSummary, current: NumericSummary) -> Distances:
    sizes = [side.neg_inf + side.pos_inf for side in (baseline, current)]
    if not all(sizes):
        return Distances(float("nan"), float("nan"), float("nan"))
    return Distances(abs(baseline.neg_inf / sizes[0] - current.neg_inf / sizes[1]), 0.0, float("nan"))
