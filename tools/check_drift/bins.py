"""The bins PSI, JS, KL, Hellinger and total variation share.

Numeric: the baseline's deciles (inverted CDF), right-closed, open at both ends, duplicates merged; where a decile is
the baseline's minimum, what is less has a bin of its own; -inf falls in the first, +inf in the last; nulls have a bin
of their own. Categorical: the baseline's categories, its overflow bucket, what it has never seen, nulls.
"""

from __future__ import annotations

import math

import numpy as np

from tools.check_drift import counting
from tools.check_drift.categorical import CategorySummary
from tools.check_drift.counting import Floats
from tools.check_drift.divergence import FLOOR, shares
from tools.check_drift.numeric import LEAF, NumericSummary, rank_of_value, recentred

PSI_ERROR = 5e-5

Summary = NumericSummary | CategorySummary


def numeric_counts(baseline: NumericSummary, current: NumericSummary) -> tuple[Floats, Floats]:
    """Counts of both sides by the baseline's deciles, and nulls last.

    The baseline is counted exactly, and the current side where it was counted at these deciles. Else a current value
    that shares its histogram bin with a decile is taken to lie below it as often as the baseline's values of that bin.
    """
    deciles = baseline.deciles
    if np.array_equal(current.cuts, deciles.edges):
        up_to = current.cut_counts
    else:
        up_to = recentred(current, baseline.centre).up_to(deciles.ranks, deciles.shares)
        if len(current.cuts):
            at = np.minimum(np.searchsorted(current.cuts, deciles.edges), len(current.cuts) - 1)
            up_to = np.where(current.cuts[at] == deciles.edges, current.cut_counts[at], up_to)
    return baseline.by_decile, current.between(up_to)


def looks_again(baseline: NumericSummary, current: NumericSummary) -> bool:
    """Whether the current values are to be counted at the baseline's points: PSI could be off by `PSI_ERROR`, or both
    sides have more than `LEAF` of their values in one bin of several.
    """
    if current.centre != baseline.centre or not current.finite:
        return False
    if len(baseline.cuts):
        ranks = rank_of_value(baseline.cuts, baseline.centre)
        if (current.within(ranks) > current.finite * LEAF).any():
            return True
    return psi_error(baseline, current) > PSI_ERROR


def psi_error(baseline: NumericSummary, current: NumericSummary) -> float:
    """How far PSI may be off because of current values that share a histogram bin with a decile.

    PSI = sum (q - p) ln(q / p), whose derivative by q is g = ln(q / p) + 1 - p / q; a share e that belongs to the other
    side of a decile changes it by e times the difference of g there, and by e² / 2 times the sum of g', which is
    1 / q + p / q². Deciles err independently: squares add up.
    """
    if not current.finite or not len(baseline.edges):  # deciles of a sum fall on the ends of bins
        return 0.0
    deciles = baseline.deciles
    below, through = current.around(deciles.ranks)
    inside = through - below
    now = current.between(below + deciles.shares * inside)
    moved = inside * np.maximum(deciles.shares, 1 - deciles.shares) / current.rows
    moved[deciles.of_one_whole if baseline.integral and current.integral else deciles.of_one_value] = 0.0
    if counting.compiled:
        return counting.compiled.psi_error(baseline.by_decile, now, moved, FLOOR)
    p, q = shares(baseline.by_decile), shares(now)
    ratio = p / q
    slope = (1 - np.log(ratio) - ratio)[:-1]  # nulls border on no decile
    bent = ((1 + ratio) / q)[:-1]
    errors = moved * (np.abs(slope[1:] - slope[:-1]) + moved / 2 * (bent[1:] + bent[:-1]))
    return math.sqrt(float((errors * errors).sum()))


def categorical_counts(baseline: CategorySummary, current: CategorySummary) -> tuple[Floats, Floats]:
    """Counts of both sides by the baseline's categories, then overflow, unseen, nulls."""
    names = list(baseline.counts)
    known = [float(current.counts.get(name, 0)) for name in names]
    strange = float(sum(count for name, count in current.counts.items() if name not in baseline.counts))
    # Behind an overflow bucket nobody can say what was seen before.
    overflow, unseen = (strange, 0.0) if baseline.other else (0.0, strange)
    p = [*map(float, baseline.counts.values()), float(baseline.other), 0.0, float(baseline.nulls)]
    q = [*known, current.other + overflow, unseen, float(current.nulls)]
    return np.array(p), np.array(q)


def counts_by_bin(baseline: Summary, current: Summary) -> tuple[Floats, Floats]:
    """Counts of both sides over common bins; a column whose kind changed is unseen but for its nulls."""
    if isinstance(baseline, NumericSummary) and isinstance(current, NumericSummary):
        return numeric_counts(baseline, current)
    if isinstance(baseline, CategorySummary) and isinstance(current, CategorySummary):
        return categorical_counts(baseline, current)
    present, missing = baseline.rows - baseline.nulls, current.rows - current.nulls
    p = np.array([float(present), 0.0, float(baseline.nulls)])
    q = np.array([0.0, float(missing), float(current.nulls)])
    return p, q
