"""Performance without labels, on scores whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss, roc_auc_score

from tools.check_drift.estimate import calibrate, calibrate_classes, estimate, estimate_classes
from tools.check_drift.performance import measure, measure_classes
from tools.tasks.predicted import Predicted


def binary(rows: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Outcomes drawn from true probabilities, and those probabilities."""
    random = np.random.default_rng(seed)
    rates = 1 / (1 + np.exp(-random.normal(-1, spread, rows)))
    return (random.random(rows) < rates).astype(float), rates


@pytest.mark.parametrize(
    "name", ["auc_roc", "f1", "accuracy", "log_loss", "brier", "average_precision", "recall_at_10"]
)
@pytest.mark.parametrize("distorted", [False, True])
def test_the_estimate_is_what_labels_will_show(name: str, distorted: bool) -> None:
    """Over 12 windows with other inputs the mean difference to the realized metric is within three standard errors.

    The windows' scores lie within the baseline's: beyond them nothing was calibrated.
    """
    outcomes, rates = binary(60_000, 2.0, 0)
    calibration = calibrate(outcomes, rates**3 if distorted else rates)
    assert calibration.needed or not distorted
    gaps = []
    for seed in range(1, 13):
        later, rates = binary(3000, 1.2, seed)
        scores = rates**3 if distorted else rates
        realized = measure(name, later, scores, 0.3).value
        gaps.append(estimate(name, scores, calibration, 0.3).value - realized)
    assert abs(np.mean(gaps)) < 3 * np.std(gaps, ddof=1) / np.sqrt(len(gaps)) + 0.003


def test_calibration_is_sklearns_isotonic_regression() -> None:
    outcomes, rates = binary(5000, 1.0, 3)
    scores = rates**2
    expected = IsotonicRegression(out_of_bounds="clip").fit(scores, outcomes)
    asked = np.linspace(-0.1, 1.1, 101)
    assert calibrate(outcomes, scores)(asked) == pytest.approx(expected.predict(asked), abs=1e-12)


def test_calibrated_scores_stay_as_they_are() -> None:
    outcomes = np.tile([0.0, 0.0, 0.0, 1.0], 500)
    calibration = calibrate(outcomes, np.full(2000, 0.25))
    assert calibration(np.array([0.25, -1.0, 2.0])).tolist()[0] == pytest.approx(0.25, abs=1e-9)
    assert not calibrate(np.zeros(100), np.full(100, 0.1)).needed  # one class: nothing to learn from


def several(rows: int, seed: int) -> tuple[np.ndarray, Predicted]:
    random = np.random.default_rng(seed)
    weights = np.exp(random.normal([0.5, 0.0, -0.5], 1.5, (rows, 3)))
    chances = weights / weights.sum(axis=1, keepdims=True)
    classes = np.array(["bird", "cat", "dog"])
    outcomes = classes[(random.random((rows, 1)) > chances.cumsum(axis=1)).sum(axis=1)]
    best = chances.argmax(axis=1)
    return outcomes, Predicted(chances.max(axis=1), classes[best], chances, tuple(classes.tolist()))


@pytest.mark.parametrize("name", ["auc_roc", "f1", "accuracy", "log_loss"])
def test_several_classes_are_estimated_alike(name: str) -> None:
    calibrations = calibrate_classes(*several(20_000, 0))
    gaps = []
    for seed in range(1, 4):
        outcomes, predicted = several(2000, seed)
        estimated = estimate_classes(name, predicted, calibrations).value
        gaps.append(estimated - measure_classes(name, outcomes, predicted).value)
    assert abs(np.mean(gaps)) < 0.02


def test_metrics_of_several_classes_are_sklearns() -> None:
    from sklearn.metrics import accuracy_score, f1_score

    outcomes, predicted = several(3000, 7)
    names = list(predicted.classes)
    expected = {
        "accuracy": accuracy_score(outcomes, predicted.labels),
        "f1": f1_score(outcomes, predicted.labels, average="macro"),
        "log_loss": log_loss(outcomes, predicted.probabilities, labels=names),
        "auc_roc": roc_auc_score(outcomes, predicted.probabilities, multi_class="ovr", labels=names),
    }
    for name, value in expected.items():
        seen = measure_classes(name, outcomes, predicted)
        assert seen.value == pytest.approx(value, abs=1e-12), name
        assert 0 < seen.standard_error < 0.03


def test_a_class_the_model_does_not_know_counts_against_it() -> None:
    outcomes, predicted = several(1000, 8)
    strange = outcomes.astype("<U8")
    strange[:500] = "zebra"
    assert measure_classes("accuracy", strange, predicted).value < 0.5
    assert measure_classes("log_loss", strange, predicted).value > 10


def test_regression_metrics_are_sklearns() -> None:
    from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

    random = np.random.default_rng(1)
    truth = random.normal(0, 3, 2000)
    said = truth + random.normal(0, 1, 2000)
    for name, theirs in (("mae", mean_absolute_error), ("rmse", root_mean_squared_error), ("r2", r2_score)):
        seen = measure(name, truth, said)
        assert seen.value == pytest.approx(theirs(truth, said), abs=1e-12)
        assert seen.enough
        assert not measure(name, truth[:10], said[:10]).enough
