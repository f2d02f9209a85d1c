"""A metric over labelled rows with its standard error, and the decay of one against another."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.errors import InputError
from tools.evaluate.metrics import Direction, Floats, Scored, metric
from tools.tasks.classes import class_metric, classified
from tools.tasks.predicted import Predicted

FEWEST_OF_A_CLASS = 20
"""Rows of the rarer of two classes below which a metric says nothing."""

FEWEST_LABELLED = 50
"""Labelled rows below which a metric of a regression or of several classes says nothing."""

_REPLICATES = 100


@dataclass(frozen=True)
class Performance:
    """A metric and its standard error (NaN: undefined) over `rows` labelled rows.

    `positives` of them are positive; None where the outcomes are not two classes. `by_chance` is the part of a
    calibration error that so few rows show of a model without any; 0 for other metrics.
    """

    value: float
    standard_error: float
    rows: int
    positives: int | None
    by_chance: float = 0.0

    @property
    def enough(self) -> bool:
        """Whether there are rows enough (of both classes, where there are two), and a value."""
        return not self.wanting and math.isfinite(self.value) and math.isfinite(self.standard_error)

    @property
    def wanting(self) -> str:
        """How many rows there are and how many are needed, empty where there are enough."""
        if self.positives is None:
            return "" if self.rows >= FEWEST_LABELLED else f"{self.rows} labelled rows, {FEWEST_LABELLED} needed"
        rarer = min(self.positives, self.rows - self.positives)
        return "" if rarer >= FEWEST_OF_A_CLASS else f"{rarer} of the rarer class, {FEWEST_OF_A_CLASS} needed"

    def dump(self) -> dict[str, float | None]:
        """As a mapping, for a cache."""
        return asdict(self)

    @staticmethod
    def restore(stored: Mapping[str, Any]) -> Performance:
        """What `dump` gave. Raises KeyError."""
        return Performance(
            stored["value"], stored["standard_error"], stored["rows"], stored["positives"], stored["by_chance"]
        )


@dataclass(frozen=True)
class Decay:
    """How much worse `current` is than `baseline`: `drop` > 0 is worse, in the metric's units, with a 95% interval.

    Of a calibration error, which grows as rows get fewer, it is the rise beyond what their number explains.

    `p_value`: one-sided, that a performance that has not fallen shows such a drop.
    """

    drop: float
    low: float
    high: float
    p_value: float


def measure(name: str, outcomes: Floats, scores: Floats, threshold: float = 0.5) -> Performance:
    """The metric `name` of scores against outcomes: 0 or 1, or for its metrics the values of a regression.

    AUC with DeLong's error, others with a bootstrap's. Raises InputError for a metric that cannot be computed from
    scores, and for scores that are no numbers.
    """
    try:
        judged = metric(name)
    except KeyError as error:
        raise InputError(str(error.args[0]), where="metric") from None
    if judged.compute is None:
        raise InputError(f"{name} is not computed from scores, so it cannot decay", where="metric")
    _require_finite(scores)
    scored = Scored(outcomes, scores, threshold)
    if judged.task == "regression":
        if not len(outcomes):
            return Performance(math.nan, math.nan, 0, None)
        spread = bootstrap_error(lambda weights: judged(scored, weights), len(scored))
        return Performance(judged(scored), spread, len(outcomes), None)
    positives = int(outcomes.sum())
    if not positives or positives == len(outcomes):
        return Performance(math.nan, math.nan, len(outcomes), positives)
    if name == "auc_roc":
        spread = auc_error(outcomes, scores)
    else:
        spread = bootstrap_error(lambda weights: judged(scored, weights), len(scored))
    chance = _calibration_by_chance(scored) if name == "calibration_error" else 0.0
    return Performance(judged(scored), spread, len(outcomes), positives, chance)


def _calibration_by_chance(scored: Scored) -> float:
    """The mean |mean score - observed rate| of bins whose true difference is 0: of n outcomes at a rate r the sum is
    normal with variance n r (1 - r), and the mean of |N(0, v)| is √(2 v / π).
    """
    rows = np.bincount(scored.bins)
    hits = np.bincount(scored.bins, scored.outcomes)
    variance = hits * (1 - hits / np.maximum(rows, 1))
    return float(np.sqrt(2 * variance / math.pi).sum() / len(scored))


def measure_classes(name: str, outcomes: NDArray[Any], predicted: Predicted) -> Performance:
    """The metric `name` of several classes (`tools.tasks.classes`). Raises InputError for another metric."""
    judged = class_metric(name)
    _require_finite(predicted.scores)
    if not len(outcomes):
        return Performance(math.nan, math.nan, 0, None)
    rows = classified(outcomes, predicted)
    value = judged(rows, np.ones(len(outcomes)))
    return Performance(value, bootstrap_error(lambda w: judged(rows, w), len(outcomes)), len(outcomes), None)


def _require_finite(scores: Floats) -> None:
    wrong = int(np.count_nonzero(~np.isfinite(scores)))
    if wrong:
        raise InputError(f"{wrong:,} of {len(scores):,} rows have a score that is no number", where="scores")


def auc_error(outcomes: Floats, scores: Floats) -> float:
    """Standard error of the area under the ROC curve; NaN with fewer than two rows of a class.

    Source: DeLong, DeLong & Clarke-Pearson (Biometrics, 1988), in the midrank form of Sun & Xu (2014).
    """
    hit = outcomes > 0.5
    positive, negative = scores[hit], scores[~hit]
    m, n = len(positive), len(negative)
    if min(m, n) < 2:
        return math.nan
    order_p, order_n = np.sort(positive), np.sort(negative)
    above = _below_share(positive, order_n)
    below = 1 - _below_share(negative, order_p)
    return math.sqrt(float(np.var(above, ddof=1)) / m + float(np.var(below, ddof=1)) / n)


def decay(name: str, baseline: Performance, current: Performance) -> Decay:
    """The drop from `baseline` to `current` (two independent samples); absolute, in the metric's units.

    What chance adds to a calibration error adds up in squares: the baseline's is taken out, the current one's put in.
    """
    from scipy.special import ndtr

    before = baseline.value
    if baseline.by_chance != current.by_chance:
        before = math.hypot(math.sqrt(max(before**2 - baseline.by_chance**2, 0.0)), current.by_chance)
    drop = before - current.value
    if metric(name).direction is Direction.LOWER:
        drop = -drop
    error = math.hypot(baseline.standard_error, current.standard_error)
    p_value = float(ndtr(-drop / error)) if error > 0 else float(drop <= 0)
    return Decay(drop, drop - 1.96 * error, drop + 1.96 * error, p_value)


def _below_share(values: Floats, ordered: Floats) -> Floats:
    """For each value the share of `ordered` below it, ties counting one half."""
    below = np.searchsorted(ordered, values, side="left")
    up_to = np.searchsorted(ordered, values, side="right")
    return (below + up_to) / (2 * len(ordered))


def bootstrap_error(weighted: Callable[[Floats], float], rows: int) -> float:
    """Standard deviation of a metric of row weights over resamples of the rows (Efron 1979), seeded."""
    random = np.random.default_rng(20)
    values = [weighted(random.poisson(1.0, rows).astype(np.float64)) for _ in range(_REPLICATES)]
    return float(np.std(values, ddof=1))
