"""How sure a difference between two models on the same rows is: DeLong's test and a paired bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tools.evaluate.comparison import WeightedMetric, relative_improvement
from tools.evaluate.metrics import Floats, Metric, Scored, metric

if TYPE_CHECKING:
    from tools.tasks import Answers

REPLICATES = 200
CONFIDENCE = 0.95


@dataclass(frozen=True)
class AucTest:
    """Two correlated AUCs. `difference` = b - a, with its standard error, two-sided p-value and interval."""

    auc_a: float
    auc_b: float
    difference: float
    standard_error: float
    p_value: float
    low: float
    high: float


def _midranks(values: Floats) -> Floats:
    """Ranks from 1, ties sharing their mean rank."""
    order = np.argsort(values, kind="stable")
    ranked = values[order]
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    counts = np.diff(np.r_[starts, len(ranked)])
    ranks = np.empty(len(values))
    ranks[order] = np.repeat(starts + (counts + 1) / 2, counts)
    return ranks


def _components(positive: Floats, negative: Floats) -> tuple[Floats, Floats]:
    """For each positive the share of negatives below it, for each negative the share of positives above."""
    m, n = len(positive), len(negative)
    together = _midranks(np.r_[positive, negative])
    above = (together[:m] - _midranks(positive)) / n
    below = 1 - (together[m:] - _midranks(negative)) / m
    return above, below


def delong(outcomes: Floats, scores_a: Floats, scores_b: Floats, *, confidence: float = CONFIDENCE) -> AucTest:
    """DeLong's test of two AUCs on the same rows (DeLong, DeLong & Clarke-Pearson 1988).

    In the midrank form of Sun & Xu (2014), O(n log n). Identical scores give difference 0, p-value 1.
    With fewer than two rows of either class everything but the AUCs is NaN.
    """
    from scipy.special import ndtr, ndtri

    hit = outcomes.astype(bool)
    if not hit.any() or hit.all():
        return AucTest(*([math.nan] * 7))
    above_a, below_a = _components(scores_a[hit], scores_a[~hit])
    above_b, below_b = _components(scores_b[hit], scores_b[~hit])
    auc_a, auc_b = float(above_a.mean()), float(above_b.mean())
    m, n = len(above_a), len(below_a)
    if min(m, n) < 2:
        return AucTest(auc_a, auc_b, auc_b - auc_a, math.nan, math.nan, math.nan, math.nan)
    variance = float(np.var(above_b - above_a, ddof=1)) / m + float(np.var(below_b - below_a, ddof=1)) / n
    error = math.sqrt(variance)
    difference = auc_b - auc_a
    if error == 0:
        return AucTest(auc_a, auc_b, difference, 0.0, float(difference == 0), difference, difference)
    reach = float(ndtri(0.5 + confidence / 2)) * error
    p_value = 2 * float(ndtr(-abs(difference) / error))
    return AucTest(auc_a, auc_b, difference, error, p_value, difference - reach, difference + reach)


def _resampled(rng: np.random.Generator, strata: Sequence[npt.NDArray[np.intp]], rows: int) -> Floats:
    """How often each row is drawn when every stratum is drawn from itself, with replacement."""
    weights = np.zeros(rows)
    for members in strata:
        drawn = rng.integers(0, len(members), len(members))
        weights[members] = np.bincount(drawn, minlength=len(members))
    return weights


def difference_error(computed: Metric, champion: Scored, challenger: Scored, *, seed: int) -> float:
    """Standard error of a binary metric's difference between two models on the same rows, by the same bootstrap.

    NaN where a class is missing, or the metric is undefined for most draws.
    """
    strata = [np.flatnonzero(champion.outcomes == value) for value in (0, 1)]
    if not all(len(members) for members in strata):
        return math.nan
    rng = np.random.default_rng(seed)
    drawn = [_resampled(rng, strata, len(champion)) for _ in range(REPLICATES)]
    found = np.array([computed(challenger, weights) - computed(champion, weights) for weights in drawn])
    return float(np.nanstd(found, ddof=1)) if np.isfinite(found).mean() > 0.5 else math.nan


def improvement_interval(
    metrics: Sequence[WeightedMetric],
    champion: Answers,
    challenger: Answers,
    *,
    fixed: Mapping[str, float],
    seed: int,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
    metric_of: Callable[[str], Metric] = metric,
) -> tuple[float, float]:
    """Bootstrap percentile interval of the weighted improvement (Efron 1979), paired and stratified.

    Each replicate draws rows with replacement within each class (a regression has one stratum) and weighs *both* models
    with the same draw, so that what both find hard cancels.

    Args:
        fixed: relative improvement of the metrics that rows do not change (latency, size).
        seed: the same seed and rows give the same interval.
        metric_of: a metric of the task by its name.

    Returns:
        (low, high). Both are the point itself where every metric is fixed.

    Raises:
        ValueError: outcomes that are classes, and all of one.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    drawn = [item for item in metrics if item.name not in fixed]
    base = math.fsum(item.weight * fixed[item.name] for item in metrics if item.name in fixed)
    if not drawn:
        return base, base
    computed = [(item, metric_of(item.name)) for item in drawn]
    strata = [np.arange(len(champion))]
    if any(entry.task != "regression" for _, entry in computed):
        strata = [np.flatnonzero(champion.outcomes == value) for value in np.unique(champion.outcomes)]
        if len(strata) < 2:
            raise ValueError("an interval needs rows of both classes")
    rng = np.random.default_rng(seed)
    improvements = np.empty(replicates)
    # One thread: the vectors are too short to share, and a sum split over threads depends on how many there are.
    with threadpool_limits(1, user_api="blas"):
        for replicate in range(replicates):
            weights = _resampled(rng, strata, len(champion))
            improvements[replicate] = base + math.fsum(
                item.weight * relative_improvement(entry(champion, weights), entry(challenger, weights), item.direction)
                for item, entry in computed
            )
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(improvements, [tail, 1 - tail])
    return float(low), float(high)
