"""Metrics by name, each with its good direction, over one prepared pair of outcomes and scores.

A metric is computed from a `Scored` (outcomes and scores, sorted once) and optional row weights, so that a
bootstrap with a few hundred weightings of 100,000 rows costs a few hundred cumulative sums and no sorting.

A metric that is undefined for its rows (AUC with one class, say) is NaN, never a made-up number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from policies.metrics import ALLOWED, AT_PERCENT, DIRECTIONS, Direction

__all__ = ["METRICS", "Direction", "Floats", "Metric", "Scored", "best_f1_threshold", "metric"]

Floats = npt.NDArray[np.float64]
CALIBRATION_BINS = 10
_LOG_FLOOR = 1e-15


@dataclass(frozen=True)
class Scored:
    """Outcomes and a model's scores for the same rows, with what every metric needs sorted once.

    Attributes:
        outcomes: shape (rows,). 0 or 1 for a binary task, the measured value for a regression.
        scores: shape (rows,). P(outcome = 1) for a binary task, the predicted value for a regression.
        threshold: a row is flagged when its score is at least this. A model records the threshold that
            maximised F1 on its validation rows (`best_f1_threshold`); with 6 to 8% positives 0.5 would flag
            almost nobody and F1 would say nothing. 0.5 stands for a model that recorded none.
    """

    outcomes: Floats
    scores: Floats
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.outcomes.shape != self.scores.shape or self.outcomes.ndim != 1:
            shapes = f"outcomes {self.outcomes.shape} and scores {self.scores.shape}"
            raise ValueError(f"{shapes} must be one value a row each")

    def __len__(self) -> int:
        return len(self.outcomes)

    @cached_property
    def order(self) -> npt.NDArray[np.intp]:
        """Rows by descending score (ties in row order)."""
        return np.argsort(-self.scores, kind="stable")

    @cached_property
    def positives(self) -> Floats:
        """Outcomes by descending score."""
        return self.outcomes[self.order]

    @cached_property
    def ties(self) -> npt.NDArray[np.intp]:
        """Start of each run of equal scores in `order`."""
        ranked = self.scores[self.order]
        return np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]]) if len(ranked) else np.zeros(0, np.intp)

    @cached_property
    def flagged(self) -> Floats:
        """1 where the score reaches the threshold."""
        return (self.scores >= self.threshold).astype(np.float64)

    @cached_property
    def log_losses(self) -> Floats:
        """Loss of each row in nats, scores clipped to [1e-15, 1 - 1e-15]."""
        clipped = np.clip(self.scores, _LOG_FLOOR, 1 - _LOG_FLOOR)
        return -(self.outcomes * np.log(clipped) + (1 - self.outcomes) * np.log1p(-clipped))

    @cached_property
    def errors(self) -> Floats:
        """Score minus outcome."""
        return self.scores - self.outcomes

    @cached_property
    def bins(self) -> npt.NDArray[np.intp]:
        """Calibration bin of each row: equal-frequency tenths by score."""
        edges = np.quantile(self.scores, np.linspace(0, 1, CALIBRATION_BINS + 1)[1:-1])
        return np.searchsorted(edges, self.scores, side="right")


def _weights(scored: Scored, weights: Floats | None) -> Floats:
    return np.ones(len(scored)) if weights is None else weights


def _ratio(top: float, bottom: float) -> float:
    return float(top / bottom) if bottom else float("nan")


def auc_roc(scored: Scored, weights: Floats | None = None) -> float:
    """Area under the ROC curve: P(score of a positive > score of a negative), ties counting one half.

    The Mann-Whitney form (Hanley & McNeil 1982), weighted. NaN unless both classes are present.
    """
    if not len(scored):
        return float("nan")
    ranked = _weights(scored, weights)[scored.order]
    positive = np.add.reduceat(ranked * scored.positives, scored.ties)
    negative = np.add.reduceat(ranked, scored.ties) - positive
    above = np.cumsum(positive) - positive
    wins = float(negative @ (above + positive / 2))
    return _ratio(wins, float(positive.sum()) * float(negative.sum()))


def average_precision(scored: Scored, weights: Floats | None = None) -> float:
    """Sum over thresholds of (recall step) x precision, without interpolation; NaN without positives."""
    if not len(scored):
        return float("nan")
    ranked = _weights(scored, weights)[scored.order]
    hits = np.add.reduceat(ranked * scored.positives, scored.ties)
    flagged = np.cumsum(np.add.reduceat(ranked, scored.ties))
    precision = np.divide(np.cumsum(hits), flagged, out=np.zeros_like(flagged), where=flagged > 0)
    return _ratio(float(hits @ precision), float(hits.sum()))


def f1(scored: Scored, weights: Floats | None = None) -> float:
    """2 TP / (2 TP + FP + FN) at the model's own threshold; NaN when nothing is positive or flagged."""
    w = _weights(scored, weights)
    positive = w * scored.outcomes
    return _ratio(2 * float(positive @ scored.flagged), float(positive.sum()) + float(w @ scored.flagged))


def accuracy(scored: Scored, weights: Floats | None = None) -> float:
    """Share of rows whose flag equals their outcome."""
    w = _weights(scored, weights)
    return _ratio(float(w @ (scored.flagged == scored.outcomes)), float(w.sum()))


def log_loss(scored: Scored, weights: Floats | None = None) -> float:
    """Mean negative log likelihood in nats."""
    w = _weights(scored, weights)
    return _ratio(float(w @ scored.log_losses), float(w.sum()))


def mse(scored: Scored, weights: Floats | None = None) -> float:
    """Mean squared error; of probabilities, the Brier score (Brier 1950)."""
    w = _weights(scored, weights)
    return _ratio(float(w @ scored.errors**2), float(w.sum()))


def rmse(scored: Scored, weights: Floats | None = None) -> float:
    """Root of the mean squared error, in units of the outcome."""
    return float(np.sqrt(mse(scored, weights)))


def mae(scored: Scored, weights: Floats | None = None) -> float:
    """Mean absolute error, in units of the outcome."""
    w = _weights(scored, weights)
    return _ratio(float(w @ np.abs(scored.errors)), float(w.sum()))


def r2(scored: Scored, weights: Floats | None = None) -> float:
    """1 - residual / total sum of squares; NaN when the outcome does not vary."""
    w = _weights(scored, weights)
    mean = _ratio(float(w @ scored.outcomes), float(w.sum()))
    return 1 - _ratio(float(w @ scored.errors**2), float(w @ (scored.outcomes - mean) ** 2))


def calibration_error(scored: Scored, weights: Floats | None = None) -> float:
    """Expected calibration error: mean |mean score - observed rate| over ten equal-frequency bins.

    Weighted by the rows of each bin (Naeini et al. 2015, with equal-frequency instead of equal-width bins,
    because scores of a rare class crowd near zero).
    """
    if not len(scored):
        return float("nan")
    w = _weights(scored, weights)
    gaps = np.bincount(scored.bins, w * scored.errors, minlength=CALIBRATION_BINS)
    return _ratio(float(np.abs(gaps).sum()), float(w.sum()))


def _top(scored: Scored, weights: Floats | None, percent: float) -> tuple[float, float, float]:
    """Positives in the top `percent` of rows by score, rows there, and positives in all."""
    ranked = _weights(scored, weights)[scored.order]
    through = np.cumsum(ranked)
    budget = through[-1] * percent / 100 if len(ranked) else 0.0
    # The row on the border counts by the part of its weight that still fits.
    taken = np.clip(budget - (through - ranked), 0, ranked)
    return float(taken @ scored.positives), float(taken.sum()), float(ranked @ scored.positives)


def precision_at(percent: float) -> Callable[[Scored, Floats | None], float]:
    """Share of positives among the `percent` of rows with the highest scores."""

    def precision(scored: Scored, weights: Floats | None = None) -> float:
        hits, rows, _ = _top(scored, weights, percent)
        return _ratio(hits, rows)

    return precision


def recall_at(percent: float) -> Callable[[Scored, Floats | None], float]:
    """Share of all positives found among the `percent` of rows with the highest scores."""

    def recall(scored: Scored, weights: Floats | None = None) -> float:
        hits, _, positives = _top(scored, weights, percent)
        return _ratio(hits, positives)

    return recall


@dataclass(frozen=True)
class Metric:
    """One metric: its name, its good direction, the task it judges, and how to compute it.

    `compute` is None for the metrics of the running artifact (task "system"), which are measured
    (`tools.evaluate.latency`), not computed from scores. The others are given the task's answers (`tools.tasks`): a
    `Scored`, or of several classes a `Classified`.
    """

    name: str
    direction: Direction
    task: str
    compute: Callable[[Any, Floats | None], float] | None = None

    def __call__(self, scored: Any, weights: Floats | None = None) -> float:
        if self.compute is None:
            raise ValueError(f"{self.name} is measured on the running model, not computed from scores")
        return self.compute(scored, weights)


_COMPUTED: dict[str, tuple[str, Callable[[Scored, Floats | None], float] | None]] = {
    "auc_roc": ("binary", auc_roc),
    "average_precision": ("binary", average_precision),
    "f1": ("binary", f1),
    "accuracy": ("binary", accuracy),
    "log_loss": ("binary", log_loss),
    "brier": ("binary", mse),
    "calibration_error": ("binary", calibration_error),
    "precision_at_k": ("binary", precision_at(10)),
    "recall_at_k": ("binary", recall_at(10)),
    "mae": ("regression", mae),
    "rmse": ("regression", rmse),
    "r2": ("regression", r2),
    "inference_ms": ("system", None),
    "inference_ms_p99": ("system", None),
    "latency_p99": ("system", None),
    "model_size_mb": ("system", None),
}
METRICS: dict[str, Metric] = {name: Metric(name, direction, *_COMPUTED[name]) for name, direction in DIRECTIONS.items()}


def metric(name: str) -> Metric:
    """The metric called `name`; `precision_at_10` and `recall_at_5` take the top 10 and 5 percent of rows.

    Raises:
        KeyError: no such metric; the message lists the names that exist.
    """
    if name in METRICS:
        return METRICS[name]
    if match := AT_PERCENT.fullmatch(name):
        family = precision_at if match[1] == "precision" else recall_at
        return Metric(name, Direction.HIGHER, "binary", family(float(match[2])))
    raise KeyError(f"no metric {name!r}; there are {', '.join(ALLOWED)}")


def best_f1_threshold(outcomes: Floats, scores: Floats) -> float:
    """The score at or above which flagging gives the highest F1 on these rows; 0.5 without positives.

    Meant for validation rows, before the model is refitted and judged on later ones.
    """
    scored = Scored(outcomes, scores)
    if not len(scored) or not outcomes.any():
        return 0.5
    ends = np.r_[scored.ties[1:], len(scored)]
    hits = np.cumsum(scored.positives)[ends - 1]
    f1s = 2 * hits / (ends + hits[-1])
    return float(scored.scores[scored.order][scored.ties[int(np.argmax(f1s))]])
