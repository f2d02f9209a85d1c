"""Performance without labels, estimated from calibrated probabilities (CBPE).

If a model's probabilities are right, they say how often each prediction comes true; the expected value of a metric
follows without a single label. That sees what a change of the inputs does to performance. It cannot see that the
relation of inputs and outcomes itself changed: only labels show that. And it is as good as the calibration: scores
beyond those of the baseline are taken for its extremes.

Source: J. Białek et al., Estimating Model Performance Under Covariate Shift Without Labels (2024), as in NannyML's
CBPE: calibrated by isotonic regression on the baseline where that helps, several classes one against the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.check_drift.counting import Floats
from tools.check_drift.performance import Performance, bootstrap_error
from tools.evaluate.metrics import Scored, calibration_error, metric
from tools.tasks.classes import Classified, class_metric
from tools.tasks.predicted import Predicted

_FOLDS = 3


@dataclass(frozen=True)
class Calibration:
    """A non-decreasing map from scores to probabilities through the points (`scores`, `rates`); none: as it is."""

    scores: Floats
    rates: Floats

    def __call__(self, scores: Floats) -> Floats:
        """Calibrated probabilities."""
        if not len(self.scores):
            return np.clip(scores, 0.0, 1.0)
        return np.interp(scores, self.scores, self.rates)

    @property
    def needed(self) -> bool:
        """Whether the scores were changed."""
        return len(self.scores) > 0


_AS_IT_IS = Calibration(np.empty(0), np.empty(0))


def calibrate(outcomes: Floats, scores: Floats) -> Calibration:
    """Isotonic calibration where it lowers the calibration error of rows left out (three folds), else none."""
    fold = np.arange(len(scores)) % _FOLDS
    before = after = 0.0
    for k in range(_FOLDS):
        held = fold == k
        if len(np.unique(outcomes[~held])) < 2 or not held.any():
            return _AS_IT_IS
        fitted = _isotonic(outcomes[~held], scores[~held])
        before += calibration_error(Scored(outcomes[held], np.clip(scores[held], 0.0, 1.0)))
        after += calibration_error(Scored(outcomes[held], fitted(scores[held])))
    return _isotonic(outcomes, scores) if after < before else _AS_IT_IS


def estimate(name: str, scores: Floats, calibration: Calibration, threshold: float = 0.5) -> Performance:
    """The expected metric `name` of a binary model over rows of unknown outcome; its error is that of the sample.

    Every row counts twice: as a positive with its calibrated probability, as a negative with the rest.
    Raises KeyError for a metric that is none.
    """
    rates = calibration(scores)
    rows = len(scores)
    doubled = Scored(np.repeat([1.0, 0.0], rows), np.tile(scores, 2), threshold)
    likely = np.concatenate([rates, 1 - rates])
    judged = metric(name)
    value = judged(doubled, likely)
    spread = bootstrap_error(lambda weights: judged(doubled, likely * np.tile(weights, 2)), rows)
    return Performance(value, spread, rows, round(float(rates.sum())))


def calibrate_classes(outcomes: NDArray[Any], predicted: Predicted) -> list[Calibration]:
    """A calibration for each class against the rest."""
    assert predicted.probabilities is not None
    return [
        calibrate((outcomes == name).astype(np.float64), predicted.probabilities[:, k])
        for k, name in enumerate(predicted.classes)
    ]


def estimate_classes(name: str, predicted: Predicted, calibrations: list[Calibration]) -> Performance:
    """The expected metric `name` of several classes; calibrated probabilities are brought to sum to 1 a row.

    Raises InputError for a metric that is none of several classes.
    """
    assert predicted.probabilities is not None
    assert predicted.labels is not None
    rows, classes = predicted.probabilities.shape
    rates = np.column_stack([each(predicted.probabilities[:, k]) for k, each in enumerate(calibrations)])
    sums = rates.sum(axis=1, keepdims=True)
    likely = np.divide(rates, sums, out=predicted.probabilities.copy(), where=sums > 0).T.reshape(-1)
    place = {label: k for k, label in enumerate(predicted.classes)}
    said = np.fromiter((place[label] for label in predicted.labels.tolist()), np.int64, rows)
    outcomes = np.repeat(np.arange(classes), rows)
    every = Classified(outcomes, np.tile(said, classes), np.tile(predicted.probabilities, (classes, 1)), classes)
    judged = class_metric(name)
    spread = bootstrap_error(lambda weights: judged(every, likely * np.tile(weights, classes)), rows)
    return Performance(judged(every, likely), spread, rows, None)


def _isotonic(outcomes: Floats, scores: Floats) -> Calibration:
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(scores, outcomes)
    return Calibration(np.asarray(fitted.X_thresholds_, np.float64), np.asarray(fitted.y_thresholds_, np.float64))
