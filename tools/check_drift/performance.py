"""A metric over labelled rows with its standard error, and the decay of one against another."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from policies.errors import InputError
from tools.evaluate.metrics import Direction, Floats, Scored, metric

FEWEST_OF_A_CLASS = 20
"""Rows of the rarer class below which a metric says nothing."""

_REPLICATES = 100


@dataclass(frozen=True)
class Performance:
    """A metric and its standard error (NaN: undefined) over `rows` labelled rows, `positives` of them positive."""

    value: float
    standard_error: float
    rows: int
    positives: int

    @property
    def enough(self) -> bool:
        """Whether there are rows enough of both classes, and a value."""
        rarer = min(self.positives, self.rows - self.positives)
        return rarer >= FEWEST_OF_A_CLASS and math.isfinite(self.value) and math.isfinite(self.standard_error)

    def dump(self) -> dict[str, float]:
        """As a mapping, for a cache."""
        return asdict(self)

    @staticmethod
    def restore(stored: Mapping[str, float]) -> Performance:
        """What `dump` gave. Raises KeyError."""
        return Performance(stored["value"], stored["standard_error"], int(stored["rows"]), int(stored["positives"]))


@dataclass(frozen=True)
class Decay:
    """How much worse `current` is than `baseline`: `drop` > 0 is worse, in the metric's units, with a 95% interval.

    `p_value`: one-sided, that a performance that has not fallen shows such a drop.
    """

    drop: float
    low: float
    high: float
    p_value: float


def measure(name: str, outcomes: Floats, scores: Floats, threshold: float = 0.5) -> Performance:
    """The metric `name` of scores against outcomes (0 or 1). AUC with DeLong's error, others with a bootstrap's.

    Raises InputError for a metric that cannot be computed from scores.
    """
    positives = int(outcomes.sum())
    try:
        judged = metric(name)
    except KeyError as error:
        raise InputError(str(error.args[0]), where="metric") from None
    if judged.compute is None:
        raise InputError(f"{name} is not computed from scores, so it cannot decay", where="metric")
    if not positives or positives == len(outcomes):
        return Performance(math.nan, math.nan, len(outcomes), positives)
    scored = Scored(outcomes, scores, threshold)
    value = judged(scored)
    spread = auc_error(outcomes, scores) if name == "auc_roc" else _bootstrap_error(name, scored)
    return Performance(value, spread, len(outcomes), positives)


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
    """The drop from `baseline` to `current` (two independent samples); absolute, in the metric's units."""
    from scipy.special import ndtr

    drop = baseline.value - current.value
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


def _bootstrap_error(name: str, scored: Scored) -> float:
    """Standard deviation over resamples of the rows (Efron 1979), seeded."""
    random = np.random.default_rng(20)
    judged = metric(name)
    values = [judged(scored, random.poisson(1.0, len(scored)).astype(np.float64)) for _ in range(_REPLICATES)]
    return float(np.std(values, ddof=1))
