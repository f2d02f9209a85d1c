"""What sampling noise alone explains.

A finding needs an effect beyond its threshold and evidence beyond noise: a p-value that holds after correcting for the
features of one check (Holm) and for the tests a monitor makes in a day (its share of `DAILY_FALSE_ALARMS`).

The evidence that a column changed does not depend on which statistic is declared, so it comes from tests whose tails
are right at small sizes instead of from each statistic's own large-sample null. PSI / (1/n + 1/m), for one, is χ² only
for thousands of rows: with 100 rows a side its tail beyond 0.001 is nine times too heavy, the likelihood ratio's right.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tools.check_drift.counting import Floats

DAILY_FALSE_ALARMS = 0.05
"""Probability that a monitor on stationary data raises anything in one day, over all its checks."""

_RARE = 5.0
"""Expected rows in the smaller sample below which a bin is too thin for large-sample tests (Cochran 1954)."""

_LARGE = 100.0
"""Expected rows in the smaller of two bins from which their test need not be exact."""

_EXACT_KS = 1000
"""Rows of both samples up to which the Kolmogorov-Smirnov p-value is exact: paths up to C(1000, 500) fit a float."""


def chi2_tail(statistic: float, degrees: int) -> float:
    """P(χ²_degrees >= statistic); 1 for no degrees of freedom."""
    from scipy.special import chdtrc

    return float(chdtrc(degrees, statistic)) if degrees > 0 else 1.0


def change_p_value(baseline: Floats, current: Floats, ks: float) -> float:
    """p-value that a numeric column did not change, from both sides' counts by decile, nulls last, and its KS p-value.

    Combines `homogeneity` of all bins, which sees every change, with the rank test of location and `ks`, the p-value of
    the Kolmogorov-Smirnov statistic, which see small shifts that ten bins would not. The baseline's own noise in where
    its deciles lie counts as any other, to second order; ties and rare bins are minded.
    """
    tests = [homogeneity(baseline, current), ks, location_p_value(baseline[:-1], current[:-1])]
    return combined(tests, [0.25, 0.25, 0.5])


def homogeneity(baseline: Floats, current: Floats) -> float:
    """p-value that two rows of counts come from one distribution: G² of the common bins, exact test of the rare ones.

    Bins with fewer than `_RARE` expected rows in the smaller sample count as one; where even together they are rare
    they are tested against the rest exactly, and the two p-values combined (Bonferroni). Two bins that are not large
    are tested exactly. Bins that are empty on both sides do not count.
    """
    n, m = float(baseline.sum()), float(current.sum())
    if n <= 0 or m <= 0:
        return 1.0
    expected = (baseline + current) * (min(n, m) / (n + m))
    common = expected >= _RARE
    a, b = baseline[common], current[common]
    few_a, few_b = float(baseline[~common].sum()), float(current[~common].sum())
    if (few_a + few_b) * min(n, m) / (n + m) >= _RARE:
        a, b, few_a, few_b = np.append(a, few_a), np.append(b, few_b), 0.0, 0.0
    tests = []
    if few_a + few_b:
        tests.append(fisher_p_value(few_a, n, few_b, m))
    if len(a) == 2 and float(np.min(a + b)) * min(n, m) / (n + m) < _LARGE:
        tests.append(fisher_p_value(float(a[0]), float(a.sum()), float(b[0]), float(b.sum())))
    elif len(a) > 1:
        tests.append(likelihood_ratio(a, b))
    return min(1.0, len(tests) * min(tests)) if tests else 1.0


def likelihood_ratio(a: Floats, b: Floats) -> float:
    """p-value of G² = 2 Σ count ln(count / expected) of two rows of counts, χ² with one degree less than bins.

    Divided by Williams' correction, which brings the mean to χ²'s for small counts; 1 where a side or a bin is empty.
    Source: S. S. Wilks (Ann. Math. Statist., 1938); D. A. Williams (Biometrika, 1976).
    """
    from scipy.special import xlogy

    n, m = float(a.sum()), float(b.sum())
    both = a + b
    if n <= 0 or m <= 0 or not both.all() or len(both) < 2:
        return 1.0
    size = n + m
    terms = xlogy(a, a * (size / n) / both) + xlogy(b, b * (size / m) / both)
    rows, columns = size / n + size / m - 1, float((size / both).sum()) - 1
    williams = 1 + rows * columns / (6 * size * (len(both) - 1))
    return chi2_tail(max(2 * float(terms.sum()), 0.0) / williams, len(both) - 1)


def fisher_p_value(hits: float, n: float, other_hits: float, m: float) -> float:
    """Two-sided p-value (twice the smaller tail) that `hits` of n and `other_hits` of m come from one share: exact.

    Given all hits, those of the smaller sample are hypergeometric. Source: R. A. Fisher, The Design of Experiments.
    """
    from scipy.special import gammaln

    if n < m:
        hits, n, other_hits, m = other_hits, m, hits, n
    total, seen = round(hits + other_hits), round(other_hits)
    if not total:
        return 1.0
    n, m = float(round(n)), float(round(m))
    x = np.arange(max(0.0, total - n), min(float(total), m) + 1)
    logs = -(gammaln(x + 1) + gammaln(total - x + 1) + gammaln(m - x + 1) + gammaln(n - total + x + 1))
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    return min(1.0, 2 * min(float(weights[x >= seen].sum()), float(weights[x <= seen].sum())))


def location_p_value(baseline: Floats, current: Floats) -> float:
    """Two-sided p-value of a shift between two rows of counts over ordered bins: normal scores of the bins' mid-ranks.

    The permutation variance given the pooled counts makes it right with ties. Over ten equal bins the test keeps 97% of
    the efficiency of van der Waerden's, which for normal data has the t-test's and for no other distribution less.
    Rare bins are left out; 1 for fewer than two others.
    Source: B. L. van der Waerden (1952); H. Chernoff & I. R. Savage (Ann. Math. Statist., 1958).
    """
    from scipy.special import ndtr, ndtri

    n, m = float(baseline.sum()), float(current.sum())
    if n <= 0 or m <= 0:
        return 1.0
    common = (baseline + current) * (min(n, m) / (n + m)) >= _RARE
    a, b = baseline[common], current[common]
    if len(a) < 2:
        return 1.0
    pooled = a + b
    n, m, size = float(a.sum()), float(b.sum()), float(pooled.sum())
    scores = ndtri((np.cumsum(pooled) - pooled / 2) / size)
    scores -= float(pooled @ scores) / size
    variance = n * m / (size - 1) * float(pooled @ (scores * scores)) / size
    return float(2 * ndtr(-abs(float(b @ scores)) / math.sqrt(variance))) if variance > 0 else 1.0


def combined(p_values: Sequence[float], weights: Sequence[float]) -> float:
    """One p-value of dependent tests of one hypothesis: Cauchy combination, Σ w tan((1/2 - p) π) judged as a Cauchy.

    Right in the tail under any dependence of the tests' normal scores, where it follows the smallest p / w. Above 0.95
    a p-value counts as that, lest a discrete test's 1, an infinity here, outvote the others.
    Source: Y. Liu & J. Xie, Cauchy Combination Test (J. Am. Statist. Assoc., 2020).
    """
    low = min(p_values)
    if low < 1e-15:  # where the tangent is 1 / (π p) to rounding
        return min(1.0, 1 / sum(w / max(p, 1e-300) for p, w in zip(p_values, weights, strict=True)))
    statistic = sum(w * math.tan((0.5 - min(p, 0.95)) * math.pi) for p, w in zip(p_values, weights, strict=True))
    return math.atan2(1.0, statistic) / math.pi


def ks_p_value(statistic: float, n: int, m: int) -> float:
    """p-value of the two-sample Kolmogorov-Smirnov statistic; conservative for ties.

    Exact for up to 1,000 rows of both samples, else Kolmogorov's limit with Stephens' small-sample term.
    Source: J. L. Hodges, The Significance Probability of the Smirnov Two-Sample Test (Ark. Mat., 1958);
    M. A. Stephens, Use of the Kolmogorov-Smirnov Statistics (JRSS B, 1970).
    """
    from scipy.special import kolmogorov

    if n <= 0 or m <= 0 or not np.isfinite(statistic):
        return 1.0
    root = math.sqrt(n * m / (n + m))
    p_value = float(kolmogorov((root + 0.12 + 0.11 / root) * statistic))
    # The exact value is only worth its milliseconds where it can decide, and above the rounding of 1 - P.
    return _exact_ks(statistic, n, m) if n + m <= _EXACT_KS and 1e-10 < p_value < 0.2 else p_value


def _exact_ks(statistic: float, n: int, m: int) -> float:
    """Share of the lattice paths from (0, 0) to (n, m) that somewhere reach |i/n - j/m| >= statistic."""
    n, m = min(n, m), max(n, m)
    places = np.arange(m + 1) / m
    reach = statistic - 1e-10
    inside = np.where(places < reach, 1.0, 0.0)
    for i in range(1, n + 1):
        low, high = np.searchsorted(places, [i / n - reach, i / n + reach])
        low += places[low] <= i / n - reach
        steps = np.cumsum(inside[low:high])
        inside[:] = 0.0
        inside[low:high] = steps
    return min(1.0, max(0.0, 1 - float(inside[m]) / math.comb(n + m, n)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values: reject where adjusted < alpha, and any false rejection has probability alpha.

    Holds however the features depend on each other. Source: S. Holm, A Simple Sequentially Rejective Multiple Test
    Procedure (Scand. J. Statist., 1979).
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = highest
    return adjusted
