"""Distances between two histograms of one numeric column that need no bins of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tools.check_drift import counting
from tools.check_drift.counting import Floats, Ints
from tools.check_drift.numeric import (
    OWN_BIN,
    NumericSummary,
    lower_values,
    middle_values,
    rank_of_value,
    recentred,
    upper_values,
)

_TINY = 2.0**-126
"""Values closer than this to the centre count as on it."""

_WHOLE, _ZERO = (
    (rank_of_value(np.array([-reach, reach]), 0.0) + np.array([1, 0])).tolist() for reach in (OWN_BIN, _TINY)
)
"""First rank of a single value, and the first after them: where all values are whole numbers, and where not."""


_NAN = float("nan")
_NONE: Floats = np.empty(0)


@dataclass(frozen=True)
class Distances:
    """`ks` <= the exact two-sample statistic <= `ks` + `ks_bound`; `wasserstein` in the column's units."""

    ks: float
    ks_bound: float
    wasserstein: float


def distances(baseline: NumericSummary, current: NumericSummary) -> Distances:
    """Kolmogorov-Smirnov statistic and Wasserstein-1 distance; NaN where a side is empty. Nulls are left out.

    KS counts infinities. The cumulative counts are known exactly at the bins' ends, and at the baseline's points where
    the current side was counted there; in between the two may diverge by what is there, and that is the bound: 0 for
    integers near the centre, elsewhere the share of the fullest bin.

    Wasserstein takes finite values only, each as the middle of its bin (or part of one), so it is off by at most half a
    bin's width: 1/2048 of the values' mean distance from the centre, on each side.
    """
    current = recentred(current, baseline.centre)
    if not len(baseline.ranks) and not len(current.ranks):
        return _without_finite_values(baseline, current)
    one, two = _side(baseline), _side(current)
    if not one[3] or not two[3]:
        return Distances(_NAN, _NAN, _NAN)
    first, after = _WHOLE if baseline.integral and current.integral else _ZERO
    if _tiny(baseline) or _tiny(current):
        first = after = 0
    if len(baseline.cuts) and np.array_equal(current.cuts, baseline.points):
        points = _Points(current.cuts, baseline.centre, (baseline.point_counts, current.cut_counts))
        gap, within, area = _walk(one, two, first, after, points)
    elif counting.compiled:
        gap, within, area = counting.compiled.distance(one, two, first, after)
    else:
        gap, within, area = _walk(one, two, first, after)
    ks = max(gap, abs(one[2] / one[3] - two[2] / two[3]))
    return Distances(ks, max(within - ks, 0.0), area if baseline.finite and current.finite else _NAN)


def _tiny(summary: NumericSummary) -> bool:
    """Whether values are known that count as on the centre and are not."""
    reach = (abs(each - summary.centre) for each in (summary.minimum, summary.maximum))
    return any(0.0 < each < _TINY for each in reach)


_Side = tuple[Ints, Ints, float, float, float]
"""Ranks, counts, values below them all, values with the infinities, finite values."""


def _side(summary: NumericSummary) -> _Side:
    infinite = summary.neg_inf + summary.pos_inf
    return summary.ranks, summary.counts, summary.neg_inf, summary.finite + infinite, summary.finite


class _Points(NamedTuple):
    """Values that part the bins around `centre`, and how many of both sides' finite values are <= each."""

    values: Floats = _NONE
    centre: float = 0.0
    counts: tuple[Floats, Floats] = (_NONE, _NONE)


_NO_POINTS = _Points()


def _walk(one: _Side, two: _Side, first: int, after: int, points: _Points = _NO_POINTS) -> tuple[float, float, float]:
    """Over every rank of either side: the largest gap between the shares of values up to a rank's end, the largest
    there may be within a bin whose rank is not from `first` to before `after`, and the area between the finite shares.
    """
    ranks, up_to, middles, of_one_value = _parts(one, two, points)
    (f, below_f), (g, below_g) = (
        ((below + held) / size, (below + np.append(0, held[:-1])) / size)
        for (_, _, below, size, _), held in zip((one, two), up_to, strict=True)
    )
    within = np.maximum(f - below_g, g - below_f)
    within[of_one_value | ((ranks >= first) & (ranks < after))] = 0.0
    shares = [held[:-1] / max(side[4], 1) for side, held in zip((one, two), up_to, strict=True)]
    area = np.einsum("i,i->", np.abs(shares[0] - shares[1]), np.diff(middles))  # dot starts BLAS's threads
    return float(np.abs(f - g).max()), float(within.max()), float(area)


def _parts(one: _Side, two: _Side, points: _Points) -> tuple[Ints, list[Floats], Floats, NDArray[np.bool_]]:
    """The bins of either side in ascending order, parted at the points: the rank of each part, how many finite values
    both sides have up to its end, its middle, and whether it can hold one value only.
    """
    bins, of_points = np.union1d(one[0], two[0]), rank_of_value(points.values, points.centre)
    size = len(of_points)
    order = np.argsort(np.concatenate([of_points * (size + 1) + np.arange(size), bins * (size + 1) + size]))
    ranks = np.concatenate([of_points, bins])[order]
    up_to = [
        np.concatenate([held, np.append(0, np.cumsum(side[1]))[np.searchsorted(side[0], bins, "right")]])[order]
        for side, held in zip((one, two), points.counts, strict=True)
    ]
    middles = middle_values(ranks)
    if not size:
        return ranks, up_to, middles, np.zeros(len(ranks), dtype=bool)
    at = np.minimum(order, size - 1)
    to_point = order < size
    from_point = np.append(False, to_point[:-1] & (ranks[:-1] == ranks[1:]))
    ends = np.where(to_point, points.values[at] - points.centre, upper_values(ranks))
    starts = np.where(from_point, np.append(0.0, ends[:-1]), lower_values(ranks))
    parted = to_point | from_point
    middles[parted] = (starts / 2 + ends / 2)[parted]
    next_to_last = np.append(False, np.nextafter(points.values[1:], -np.inf) <= points.values[:-1])
    return ranks, up_to, middles, to_point & from_point & next_to_last[at]


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
