"""Distances between two histograms of one numeric column that need no bins of their own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.check_drift import counting
from tools.check_drift.counting import Floats, Ints
from tools.check_drift.numeric import OWN_BIN, NumericSummary, middle_values, rank_of_value, recentred

_TINY = 2.0**-126
"""Values closer than this to the centre count as on it."""

_WHOLE, _ZERO = (
    (rank_of_value(np.array([-reach, reach]), 0.0) + np.array([1, 0])).tolist() for reach in (OWN_BIN, _TINY)
)
"""First rank of a single value, and the first after them: where all values are whole numbers, and where not."""


_NAN = float("nan")


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
    one, two = _side(baseline), _side(current)
    if not one[3] or not two[3]:
        return Distances(_NAN, _NAN, _NAN)
    walk = counting.compiled.distance if counting.compiled else _walk
    gap, within, area = walk(one, two, *(_WHOLE if baseline.integral and current.integral else _ZERO))
    ks = max(gap, abs(one[2] / one[3] - two[2] / two[3]))
    return Distances(ks, max(within - ks, 0.0), area if baseline.finite and current.finite else _NAN)


_Side = tuple[Ints, Ints, float, float, float]
"""Ranks, counts, values below them all, values with the infinities, finite values."""


def _side(summary: NumericSummary) -> _Side:
    infinite = summary.neg_inf + summary.pos_inf
    return summary.ranks, summary.counts, summary.neg_inf, summary.finite + infinite, summary.finite


def _walk(one: _Side, two: _Side, first: int, after: int) -> tuple[float, float, float]:
    """Over every rank of either side: the largest gap between the shares of values up to a rank's end, the largest
    there may be within a bin whose rank is not from `first` to before `after`, and the area between the finite shares.
    """
    ranks, *counts = _merged(one, two)
    (f, below_f), (g, below_g) = (
        ((below + up_to) / size, (below + np.append(0, up_to[:-1])) / size)
        for (_, _, below, size, _), up_to in zip((one, two), counts, strict=True)
    )
    within = np.maximum(f - below_g, g - below_f)
    within[slice(*np.searchsorted(ranks, [first, after]))] = 0.0
    parts = [up_to[:-1] / max(side[4], 1) for side, up_to in zip((one, two), counts, strict=True)]
    area = np.einsum("i,i->", np.abs(parts[0] - parts[1]), np.diff(middle_values(ranks)))  # dot starts BLAS's threads
    return float(np.abs(f - g).max()), float(within.max()), float(area)


def _merged(one: _Side, two: _Side) -> tuple[Ints, Ints, Ints]:
    """Ascending ranks of either side, and how many finite values each has up to them."""
    ranks = np.concatenate([one[0], two[0]])
    order = np.argsort(ranks, kind="stable")  # both ascend, so that this is one merge
    ranks = ranks[order]
    ends = np.flatnonzero(np.append(ranks[1:] != ranks[:-1], True))
    first = np.append(one[1], np.zeros(len(two[1]), dtype=np.int64))
    second = np.append(np.zeros(len(one[1]), dtype=np.int64), two[1])
    return ranks[ends], first[order].cumsum()[ends], second[order].cumsum()[ends]


def _without_finite_values(baseline: NumericSummary, current: NumericSummary) -> Distances:
    sizes = [side.neg_inf + side.pos_inf for side in (baseline, current)]
    if not all(sizes):
        return Distances(_NAN, _NAN, _NAN)
    return Distances(abs(baseline.neg_inf / sizes[0] - current.neg_inf / sizes[1]), 0.0, _NAN)


def exact_statistic(baseline: Floats, current: Floats) -> float:
    """Two-sample Kolmogorov-Smirnov statistic of sorted values without nulls; NaN where a side is empty.

    The largest difference between the two empirical distribution functions, at any value of either.
    Source: N. Smirnov, Table for Estimating the Goodness of Fit of Empirical Distributions (1948).
    """
    if not len(baseline) or not len(current):
        return _NAN
    largest = 0.0
    for points in (baseline, current):
        f = np.searchsorted(baseline, points, side="right") / len(baseline)
        g = np.searchsorted(current, points, side="right") / len(current)
        largest = max(largest, float(np.abs(f - g).max()))
    return largest
