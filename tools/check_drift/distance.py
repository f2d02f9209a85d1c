"""Distances between two histograms of one numeric column that need no bins of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.check_drift.counting import Floats, Ints, merged
from tools.check_drift.numeric import OWN_BIN, NumericSummary, middle_values, rank_of_value, recentred

_TINY = 2.0**-126
"""Values closer than this to the centre count as on it."""

_WHOLE, _ZERO = (rank_of_value(np.array([-reach, reach]), 0.0) + np.array([1, 0]) for reach in (OWN_BIN, _TINY))
"""First rank of a single value, and the first after them: where all values are whole numbers, and where not."""


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
    if not len(baseline.ranks) and not len(current.ranks):
        return _without_finite_values(baseline, current)
    ranks, f, below_f, g, below_g = _cumulative(baseline, current)
    gaps = np.abs(f - g)
    ks = max(float(gaps.max()), float(abs(below_f[0] - below_g[0])))
    at_most = np.maximum(f - below_g, g - below_f)
    at_most[_of_one_value(ranks, baseline.integral and current.integral)] = 0.0
    moved = float("nan")
    if baseline.finite and current.finite:
        if below_f[0] or below_g[0] or f[-1] < 1 or g[-1] < 1:  # infinities
            f, g = ((side - below[0]) / (side[-1] - below[0]) for side, below in ((f, below_f), (g, below_g)))
            gaps = np.abs(f - g)
        moved = float(
            np.einsum("i,i->", gaps[:-1], np.diff(middle_values(ranks)))
        )  # a dot product would start BLAS's threads
    return Distances(ks, max(float(at_most.max(initial=0.0)) - ks, 0.0), moved)


def _of_one_value(ranks: Ints, integral: bool) -> slice:
    """The bins that hold a single value: those of integers near the centre, else what is too small to tell from it."""
    return slice(*np.searchsorted(ranks, _WHOLE if integral else _ZERO))


def _cumulative(baseline: NumericSummary, current: NumericSummary) -> tuple[Ints, Floats, Floats, Floats, Floats]:
    """Ranks of either side; of each the share of its values up to a rank's end, and below it, infinities among them."""
    ranks, *counts = merged(baseline.ranks, baseline.counts, current.ranks, current.counts)
    found: list[Floats] = []
    for side, up_to in zip((baseline, current), counts, strict=True):
        size = int(up_to[-1]) + side.neg_inf + side.pos_inf
        steps = np.empty(len(up_to) + 1)
        steps[0] = side.neg_inf
        np.add(up_to, side.neg_inf, out=steps[1:])
        steps /= float(size) if size else float("nan")
        found += [steps[1:], steps[:-1]]
    return ranks, found[0], found[1], found[2], found[3]


def _without_finite_values(baseline: NumericSummary, current: NumericSummary) -> Distances:
    sizes = [side.neg_inf + side.pos_inf for side in (baseline, current)]
    if not all(sizes):
        return Distances(float("nan"), float("nan"), float("nan"))
    return Distances(abs(baseline.neg_inf / sizes[0] - current.neg_inf / sizes[1]), 0.0, float("nan"))


def exact_statistic(baseline: Floats, current: Floats) -> float:
    """Two-sample Kolmogorov-Smirnov statistic of sorted values without nulls; NaN where a side is empty.

    The largest difference between the two empirical distribution functions, at any value of either.
    Source: N. Smirnov, Table for Estimating the Goodness of Fit of Empirical Distributions (1948).
    """
    if not len(baseline) or not len(current):
        return float("nan")
    largest = 0.0
    for points in (baseline, current):
        f = np.searchsorted(baseline, points, side="right") / len(baseline)
        g = np.searchsorted(current, points, side="right") / len(current)
        largest = max(largest, float(np.abs(f - g).max()))
    return largest
