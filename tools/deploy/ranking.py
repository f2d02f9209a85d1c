"""Evidence on the challenger's AUC against the champion's, from labels as they arrive.

Both AUCs are Mann-Whitney statistics of the variant's own labelled answers, with the variance of DeLong, DeLong &
Clarke-Pearson (1988). The champion's rows are weighted so that its requests spread over time as the challenger's do:
a bad hour that hits both variants then weighs the same in both.

With the estimate D of challenger - champion and its standard error s, "D's mean is at most -d" is tested by the
one-sided normal mixture over effects of the size tau, with z = (D + d)/s and h = tau^2/(tau^2 + s^2):

    E = 2 sqrt(1 - h) exp(h z^2 / 2) Phi(z sqrt(h))

(Robbins 1970), which may be looked at at any time once the estimate is near normal (asymptotic confidence sequences:
Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, Ann. Statist. 52). Hence no evidence below a number of rows of
each class. Against betting on disjoint blocks of rows, which needs no such approximation, it takes half the labels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

# Fewer rows of a class than this in a variant, and the estimate is not near enough to normal to be looked at.
FEWEST_OF_A_CLASS = 20
# The size of effect that evidence is looked for at, in AUC: a sound challenger is about as far as this from a limit.
_EFFECT = 0.1


@dataclass(frozen=True)
class Labelled:
    """Answered requests of one variant with their labels: `score`, `label`, and `slice`, a number for when it was asked."""

    score: Floats
    label: npt.NDArray[np.bool_]
    slice: npt.NDArray[np.int64]


@dataclass(frozen=True)
class Auc:
    """A weighted Mann-Whitney AUC and its variance."""

    value: float
    variance: float


@dataclass(frozen=True)
class RankingEvidence:
    """What the labels say: AUCs (None without both classes), evidence in nats, interval of challenger - champion.

    `rows_needed` is how many labelled challenger rows more it takes to pass, None where it never would.
    """

    auc: float | None
    champion_auc: float | None
    log_e_fail: float
    log_e_pass: float
    interval: tuple[float, float] | None
    rows_needed: int | None


def auc(score: Floats, label: npt.NDArray[np.bool_], weight: Floats | None = None) -> Auc | None:
    """The weighted share of (positive, negative) pairs that the score orders rightly, ties one half, with its variance.

    None without rows of both classes. The variance adds to each class one row whose placement is off by a half, so
    that a few perfectly ordered rows do not claim to be certain.
    """
    weight = np.ones(len(score)) if weight is None else weight
    used = weight > 0
    score, label, weight = score[used], label[used], weight[used]
    if not label.any() or label.all():
        return None
    positive, negative = (score[label], weight[label]), (score[~label], weight[~label])
    below = _placements(*positive, *negative)
    value = float(np.average(below, weights=positive[1]))
    above = 1.0 - _placements(*negative, *positive)
    return Auc(value, _variance(below, positive[1], value) + _variance(above, negative[1], value))


def _placements(score: Floats, _weight: Floats, others: Floats, other_weight: Floats) -> Floats:
    """For each score, the weighted share of the others below it, ties one half."""
    order = np.argsort(others)
    mass = np.concatenate([[0.0], np.cumsum(other_weight[order])])
    low = mass[np.searchsorted(others[order], score, side="left")]
    high = mass[np.searchsorted(others[order], score, side="right")]
    return np.asarray((low + high) / (2.0 * mass[-1]), dtype=np.float64)


def _variance(placement: Floats, weight: Floats, mean: float) -> float:
    largest = float(weight.max())
    spread = float((weight**2 * (placement - mean) ** 2).sum()) + (0.5 * largest) ** 2
    return spread / float(weight.sum()) ** 2


def same_period(challenger: Labelled, champion: Labelled) -> Floats:
    """Weights of the champion's rows that give it the challenger's spread over the slices."""
    slices = int(max(challenger.slice.max(initial=0), champion.slice.max(initial=0))) + 1
    wanted = np.bincount(challenger.slice, minlength=slices)
    held = np.bincount(champion.slice, minlength=slices)
    ratio = np.divide(wanted, held, out=np.zeros(slices), where=held > 0)
    return np.asarray(ratio[champion.slice], dtype=np.float64)


def log_e_above(estimate: float, error: float, bound: float) -> float:
    """Evidence, in nats, that a mean is above `bound`, from its estimate and standard error (both > 0 apart)."""
    from scipy.special import log_ndtr

    h = _EFFECT**2 / (_EFFECT**2 + error**2)
    z = (estimate - bound) / error
    return float(math.log(2.0) + 0.5 * math.log1p(-h) + 0.5 * h * z * z + log_ndtr(z * math.sqrt(h)))


def compare(challenger: Labelled, champion: Labelled, limit: float, alpha: float) -> RankingEvidence:
    """Everything the labels say about the challenger; `limit` an absolute drop in AUC, alpha the level to pass at."""
    ours = auc(challenger.score, challenger.label)
    theirs = auc(champion.score, champion.label, same_period(challenger, champion))
    if ours is None or theirs is None or _fewest(challenger) < FEWEST_OF_A_CLASS or _fewest(champion) < FEWEST_OF_A_CLASS:
        return RankingEvidence(
            auc=ours.value if ours else None,
            champion_auc=theirs.value if theirs else None,
            log_e_fail=0.0,
            log_e_pass=0.0,
            interval=None,
            rows_needed=_rows_for_classes(challenger),
        )
    difference, error = ours.value - theirs.value, math.sqrt(ours.variance + theirs.variance)
    return RankingEvidence(
        auc=ours.value,
        champion_auc=theirs.value,
        log_e_fail=log_e_above(-difference, error, limit),
        log_e_pass=log_e_above(difference, error, -limit),
        interval=interval(difference, error, alpha),
        rows_needed=_rows_to_pass(len(challenger.label), difference, error, limit, alpha),
    )


def interval(difference: float, error: float, alpha: float) -> tuple[float, float]:
    """(1-alpha) confidence sequence of challenger - champion: the bounds that neither one-sided test rejects."""
    from scipy.optimize import brentq

    threshold = math.log(2.0 / alpha)

    def excess(width: float) -> float:
        return log_e_above(width, error, 0.0) - threshold

    width = float(brentq(excess, 0.0, 100.0 * error + 1.0))
    return max(-1.0, difference - width), min(1.0, difference + width)


def _fewest(rows: Labelled) -> int:
    positives = int(rows.label.sum())
    return min(positives, len(rows.label) - positives)


def _rows_for_classes(rows: Labelled) -> int | None:
    """Labelled rows more until both classes are there in number, at the share seen so far."""
    fewest = _fewest(rows)
    if fewest == 0:
        return None
    return max(0, math.ceil(len(rows.label) * (FEWEST_OF_A_CLASS - fewest) / fewest))


def _rows_to_pass(rows: int, difference: float, error: float, limit: float, alpha: float) -> int | None:
    """Labelled rows more until the evidence suffices, if the difference stays and its error falls as rows^-1/2."""
    threshold = math.log(1.0 / alpha)
    if difference <= -limit:
        return None
    factor = 1.0
    while log_e_above(difference, error / math.sqrt(factor), -limit) < threshold:
        factor *= 1.05
        if factor > 1e6:
            return None
    return math.ceil(rows * (factor - 1.0))
