"""Metrics against scikit-learn, with ties and with weights."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from tools.evaluate.metrics import METRICS, Direction, Scored, best_f1_threshold, metric


def _rows(seed: int, rows: int = 400, levels: int = 25) -> tuple[Scored, np.ndarray]:
    rng = np.random.default_rng(seed)
    outcomes = (rng.random(rows) < 0.2).astype(float)
    outcomes[:2] = (0, 1)
    scores = np.clip(np.round((outcomes * 0.2 + rng.random(rows) * 0.8) * levels) / levels, 0.01, 0.99)
    return Scored(outcomes, scores, 0.6), rng.integers(0, 4, rows).astype(float) + (np.arange(rows) < 2)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), weighted=st.booleans())
def test_metrics_equal_scikit_learn(seed: int, weighted: bool) -> None:
    scored, drawn = _rows(seed)
    w = drawn if weighted else None
    y, p, flags = scored.outcomes, scored.scores, scored.flagged
    expected = {
        "auc_roc": reference.roc_auc_score(y, p, sample_weight=w),
        "average_precision": reference.average_precision_score(y, p, sample_weight=w),
        "f1": reference.f1_score(y, flags, sample_weight=w),
        "accuracy": reference.accuracy_score(y, flags, sample_weight=w),
        "log_loss": reference.log_loss(y, p, sample_weight=w),
        "brier": reference.brier_score_loss(y, p, sample_weight=w),
        "mae": reference.mean_absolute_error(y, p, sample_weight=w),
        "rmse": reference.root_mean_squared_error(y, p, sample_weight=w),
        "r2": reference.r2_score(y, p, sample_weight=w),
    }
    assert {name: metric(name)(scored, w) for name in expected} == pytest.approx(expected, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_a_weight_of_two_is_a_row_twice(seed: int) -> None:
    scored, weights = _rows(seed, levels=1000)
    repeated = Scored(
        np.repeat(scored.outcomes, weights.astype(int)), np.repeat(scored.scores, weights.astype(int)), scored.threshold
    )
    for name in ("auc_roc", "average_precision", "f1", "precision_at_10", "recall_at_5"):
        assert metric(name)(scored, weights) == pytest.approx(metric(name)(repeated), abs=1e-9), name


def test_precision_and_recall_look_at_the_top_percent() -> None:
    scored = Scored(np.array([1.0, 1, 0, 0, 0, 0, 0, 0, 1, 0]), np.arange(10, 0, -1) / 11)
    assert metric("precision_at_10")(scored) == 1
    assert metric("precision_at_30")(scored) == pytest.approx(2 / 3)
    assert metric("recall_at_30")(scored) == pytest.approx(2 / 3)
    assert metric("precision_at_k")(scored) == metric("precision_at_10")(scored)


def test_what_is_undefined_is_nan() -> None:
    one_class = Scored(np.zeros(30), np.linspace(0.1, 0.2, 30))
    for name in ("auc_roc", "average_precision", "f1", "recall_at_10", "r2"):
        assert math.isnan(metric(name)(one_class)), name
    empty = Scored(np.zeros(0), np.zeros(0))
    assert all(math.isnan(each(empty)) for each in METRICS.values() if each.compute)


def test_calibration_error_is_the_mean_gap() -> None:
    rng = np.random.default_rng(1)
    p = rng.uniform(0.02, 0.6, 200_000)
    honest = (rng.random(len(p)) < p).astype(float)
    assert metric("calibration_error")(Scored(honest, p)) < 0.005
    assert metric("calibration_error")(Scored(honest, p + 0.1)) == pytest.approx(0.1, abs=0.005)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_no_threshold_beats_the_best_f1_threshold(seed: int) -> None:
    scored, _ = _rows(seed, rows=120)
    y, p = scored.outcomes, scored.scores
    best = metric("f1")(Scored(y, p, best_f1_threshold(y, p)))
    assert all(metric("f1")(Scored(y, p, float(t))) <= best + 1e-12 for t in np.unique(p))


def test_names_are_checked_and_directions_known() -> None:
    assert metric("log_loss").direction is Direction.LOWER
    assert metric("precision_at_25").direction is Direction.HIGHER
    for wrong in ("auc", "precision_at_0", "recall_at_101"):
        with pytest.raises(KeyError, match="auc_roc"):
            metric(wrong)
    with pytest.raises(ValueError, match="measured"):
        metric("inference_ms")(Scored(np.ones(2), np.ones(2)))
