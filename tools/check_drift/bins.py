"""The bins PSI, JS, KL, Hellinger and total variation share.

Numeric: the baseline's deciles (inverted CDF), right-closed, open at both ends, duplicates merged; -inf falls in the
first, +inf in the last; nulls have a bin of their own. Categorical: the baseline's categories, its overflow bucket,
what it has never seen, nulls.
"""

from __future__ import annotations

import numpy as np

from tools.check_drift.categorical import CategorySummary
from tools.check_drift.counting import Floats
from tools.check_drift.divergence import shares
from tools.check_drift.numeric import OWN_BIN, NumericSummary, rank_of_value, recentred, upper_values

PSI_ERROR = 5e-5

Summary = NumericSummary | CategorySummary


def numeric_counts(baseline: NumericSummary, current: NumericSummary) -> tuple[Floats, Floats]:
    """Counts of both sides by the baseline's deciles, and nulls last.

    The baseline is counted exactly, and the current side where it was counted at these deciles. Else a current value
    that shares its histogram bin with a decile is taken to lie below it as often as the baseline's values of that bin.
    """
    edges, bin_shares = decile_edges(baseline)
    edge_ranks = rank_of_value(edges, baseline.centre)
    sides = []
    for side in (baseline, recentred(current, baseline.centre)):
        cumulative = np.concatenate([[0], side.cumulative])
        first = np.searchsorted(side.ranks, edge_ranks, side="left")
        below = cumulative[first]
        inside = cumulative[np.searchsorted(side.ranks, edge_ranks, side="right")] - below
        counted = side is not baseline and np.array_equal(side.like_edges, edges)
        up_to = side.neg_inf + (side.like_counts if counted else below + inside * bin_shares)
        everything = float(side.finite + side.neg_inf + side.pos_inf)
        counts = np.diff(np.concatenate([[0.0], up_to, [everything]]))
        sides.append(np.append(counts, float(side.nulls)))
    return sides[0], sides[1]


def looks_again(baseline: NumericSummary, current: NumericSummary) -> bool:
    """Whether the current values are to be counted at the baseline's deciles, or PSI could be off by `PSI_ERROR`."""
    return current.centre == baseline.centre and psi_error(baseline, current) > PSI_ERROR


def psi_error(baseline: NumericSummary, current: NumericSummary) -> float:
    """How far PSI may be off, to first order, because of current values that share a histogram bin with a decile.

    PSI = sum (q - p) ln(q / p), whose derivative by q is g = ln(q / p) + 1 - p / q; a share e that belongs to the other
    side of a decile changes it by e times the difference of g there. Deciles err independently: squares add up.
    """
    edges, bin_shares = baseline.edges, baseline.edge_shares
    if not current.finite or not len(edges):
        return 0.0
    p, q = map(shares, numeric_counts(baseline, current))
    slope = (np.log(q / p) + 1 - p / q)[:-1]  # nulls border on no decile
    ranks = rank_of_value(edges, baseline.centre)
    cumulative = np.concatenate([[0], current.cumulative])
    first, last = (np.searchsorted(current.ranks, ranks, side=side) for side in ("left", "right"))
    moved = (cumulative[last] - cumulative[first]) * np.maximum(bin_shares, 1 - bin_shares) / current.rows
    if baseline.integral and current.integral:
        moved[np.abs(edges - baseline.centre) <= OWN_BIN] = 0.0
    return float(np.linalg.norm(moved * np.diff(slope)))


def decile_edges(summary: NumericSummary) -> tuple[Floats, Floats]:
    """Edges, and the share of each edge's histogram bin that is <= the edge. Empty for a column without values."""
    if len(summary.edges):
        return summary.edges, summary.edge_shares
    finite = summary.finite
    if not finite:
        return np.empty(0), np.empty(0)
    wanted = [-(-i * finite // 10) for i in range(1, 10)]
    at = np.unique(np.searchsorted(summary.cumulative, wanted))
    return upper_values(summary.ranks[at]) + summary.centre, np.ones(len(at))


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
