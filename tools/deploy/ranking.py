"""Evidence on the challenger's AUC against the champion's, from labels as they arrive.

Two estimates of the same difference D = AUC(challenger) - AUC(champion), each with a standard error s:

- *served*: each variant's own answers, as its users got them. Catches whatever goes wrong in serving, and needs many
  labels, for the variants answered different people. The champion's rows are weighted so that its requests spread
  over the stages as the challenger's do: a bad hour that hits both then weighs the same in both.
- *replayed*: both versions' scores of the same labelled requests, the absent one computed afterwards. Paired, hence
  conclusive with a fraction of the labels.

Both errors are DeLong's (DeLong, DeLong & Clarke-Pearson 1988). "D is at most -d" is tested by the one-sided normal
mixture over effects of the size tau, with z = (D + d)/s and h = tau^2/(tau^2 + s^2):

    E = 2 sqrt(1 - h) exp(h z^2 / 2) Phi(z sqrt(h))

(Robbins 1970), which may be looked at at any time once the estimate is near normal (asymptotic confidence sequences:
Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024, Ann. Statist. 52). Hence no evidence below a number of rows of
each class. Betting on disjoint pairs or blocks of rows needs no such approximation and about twice the labels
(`evals/benchmarks/auc_tests.py` plays both).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

# Fewer rows of a class than this, and the estimate is not near enough to normal to be looked at.
FEWEST_OF_A_CLASS = 20
# The size of effect that evidence is looked for at, in AUC: a sound challenger is about as far as this from a limit.
_EFFECT = 0.1
# One imagined row whose placement is off by this much: a few perfectly ordered rows must not claim to be certain.
_DOUBT = 0.5
_DOUBT_PAIRED = 0.25


@dataclass(frozen=True)
class Served:
    """Labelled answers of one variant: `score`, `label`, and the `stage` (from 0) in which each was asked for.

    Of another task than two classes `score` is a loss (`Task.weighed`) and every `label` is true.
    """

    score: Floats
    label: Flags
    stage: npt.NDArray[np.int64]


UNLABELLED = Served(np.zeros(0), np.zeros(0, dtype=np.bool_), np.zeros(0, dtype=np.int64))


@dataclass(frozen=True)
class Replayed:
    """Both versions' scores of the same labelled requests; of another task than two classes their losses, as above."""

    champion: Floats
    challenger: Floats
    label: Flags


@dataclass(frozen=True)
class Difference:
    """How much better the challenger is, with the standard error of that and what both have: their AUCs.

    `gain` says it where it is not the difference of the two: of mean losses, which are better the lower.
    """

    champion: float
    challenger: float
    error: float
    gain: float | None = None

    @property
    def value(self) -> float:
        """Above zero where the challenger is better."""
        return self.challenger - self.champion if self.gain is None else self.gain


@dataclass(frozen=True)
class RankingEvidence:
    """Evidence in nats and the estimates behind it, None where there are too few labels for one.

    `interval` is the confidence sequence of the best estimate; `rows_needed` how many labelled rows more it takes to
    pass, None where it never would at the present difference, or nothing can be said.
    """

    log_e_fail: float
    log_e_pass: float
    served: Difference | None
    replayed: Difference | None
    interval: tuple[float, float] | None
    rows_needed: int | None


def served_difference(challenger: Served, champion: Served) -> Difference | None:
    """The difference between each variant's own answers; None with fewer than 20 rows of a class in either."""
    if min(_rarest(challenger.label), _rarest(champion.label)) < FEWEST_OF_A_CLASS:
        return None
    weight = same_period(challenger.stage, champion.stage)
    kept = weight > 0
    if _rarest(champion.label[kept]) < FEWEST_OF_A_CLASS:
        return None
    ours, variance = _auc(challenger.score, challenger.label, np.ones(len(challenger.label)))
    theirs, other = _auc(champion.score[kept], champion.label[kept], weight[kept])
    return Difference(champion=theirs, challenger=ours, error=math.sqrt(variance + other))


def replayed_difference(rows: Replayed) -> Difference | None:
    """The difference between two versions on the same rows; None with fewer than 20 rows of a class."""
    from tools.evaluate.significance import delong

    rarest = _rarest(rows.label)
    if rarest < FEWEST_OF_A_CLASS:
        return None
    found = delong(rows.label.astype(np.float64), rows.champion, rows.challenger)
    error = math.hypot(found.standard_error, _DOUBT_PAIRED / rarest)
    return Difference(champion=found.auc_a, challenger=found.auc_b, error=error)


def log_e_above(estimate: float, error: float, bound: float) -> float:
    """Evidence, in nats, that a mean is above `bound`, from its estimate and its standard error (> 0)."""
    from scipy.special import log_ndtr

    h = _EFFECT**2 / (_EFFECT**2 + error**2)
    z = (estimate - bound) / error
    return float(math.log(2.0) + 0.5 * math.log1p(-h) + 0.5 * h * z * z + log_ndtr(z * math.sqrt(h)))


def compare(
    challenger: Served, champion: Served, replayed: Replayed | None, limit: float, alpha: float
) -> RankingEvidence:
    """Everything the labels say; `limit` an absolute drop in AUC, `alpha` the level at which it passes.

    Evidence to fail averages both estimates (an average of e-values is one), to pass it is the replayed one's, where
    there is one: serving faults are the served one's to find.
    """
    served = served_difference(challenger, champion)
    paired = replayed_difference(replayed) if replayed else None
    rows = len(replayed.label) if paired and replayed else len(challenger.label)
    labels = replayed.label if replayed else challenger.label
    found = weighed(served, paired, rows, limit, alpha)
    return found if found is not None else RankingEvidence(0.0, 0.0, None, None, None, _rows_for_classes(labels))


def weighed(
    served: Difference | None, paired: Difference | None, rows: int, limit: float, alpha: float
) -> RankingEvidence | None:
    """The evidence of the estimates there are, None without any; `rows` are those behind the best."""
    estimates = [each for each in (served, paired) if each is not None]
    if not estimates:
        return None
    fails = [log_e_above(-each.value, each.error, limit) for each in estimates]
    best = paired or estimates[0]
    low, high = interval(best, alpha)
    return RankingEvidence(
        log_e_fail=float(np.logaddexp.reduce(fails)) - math.log(len(fails)),
        log_e_pass=log_e_above(best.value, best.error, -limit),
        served=served,
        replayed=paired,
        interval=(max(-1.0, low), min(1.0, high)),
        rows_needed=rows_to_pass(rows, best, limit, alpha),
    )


def interval(difference: Difference, alpha: float) -> tuple[float, float]:
    """(1-alpha) confidence sequence of the difference: the bounds that neither one-sided test rejects."""
    from scipy.optimize import brentq

    threshold = math.log(2.0 / alpha)

    def excess(width: float) -> float:
        return log_e_above(width, difference.error, 0.0) - threshold

    width = float(brentq(excess, 0.0, 100.0 * difference.error + 1.0))
    return difference.value - width, difference.value + width


def _auc(score: Floats, label: Flags, weight: Floats) -> tuple[float, float]:
    """The weighted share of (positive, negative) pairs ordered rightly, ties one half, and its variance."""
    below = _placements(score[label], score[~label], weight[~label])
    above = 1.0 - _placements(score[~label], score[label], weight[label])
    value = float(np.average(below, weights=weight[label]))
    return value, _spread(below, weight[label], value) + _spread(above, weight[~label], value)


def _placements(score: Floats, others: Floats, weight: Floats) -> Floats:
    """For each score, the weighted share of the others below it, ties one half."""
    order = np.argsort(others)
    mass = np.concatenate([[0.0], np.cumsum(weight[order])])
    low = mass[np.searchsorted(others[order], score, side="left")]
    high = mass[np.searchsorted(others[order], score, side="right")]
    return np.asarray((low + high) / (2.0 * mass[-1]), dtype=np.float64)


def _spread(placement: Floats, weight: Floats, mean: float) -> float:
    total = float((weight**2 * (placement - mean) ** 2).sum()) + (_DOUBT * float(weight.max())) ** 2
    return total / float(weight.sum()) ** 2


def same_period(challenger: npt.NDArray[np.int64], champion: npt.NDArray[np.int64]) -> Floats:
    """Weights of the champion's rows that give it the challenger's spread over the stages."""
    stages = int(max(challenger.max(initial=0), champion.max(initial=0))) + 1
    wanted = np.bincount(challenger, minlength=stages)
    held = np.bincount(champion, minlength=stages)
    ratio = np.divide(wanted, held, out=np.zeros(stages), where=held > 0)
    return np.asarray(ratio[champion], dtype=np.float64)


def _rarest(label: Flags) -> int:
    positives = int(label.sum())
    return min(positives, len(label) - positives)


def _rows_for_classes(label: Flags) -> int | None:
    """Labelled rows more until both classes are there in number, at the share seen so far."""
    rarest = _rarest(label)
    return max(0, math.ceil(len(label) * (FEWEST_OF_A_CLASS - rarest) / rarest)) if rarest else None


def rows_to_pass(rows: int, difference: Difference, limit: float, alpha: float) -> int | None:
    """Labelled rows more until the evidence suffices, if the difference stays and its error falls as rows^-1/2."""
    if difference.value <= -limit:
        return None
    factor = 1.0
    while log_e_above(difference.value, difference.error / math.sqrt(factor), -limit) < math.log(1.0 / alpha):
        factor *= 1.05
        if factor > 1e6:
            return None
    return math.ceil(rows * (factor - 1.0))
