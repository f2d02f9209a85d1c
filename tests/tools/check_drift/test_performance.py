"""Performance with its interval, and the decay of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from policies.errors import InputError
from tools.check_drift.performance import Performance, auc_error, decay, measure


def scored(rows: int, signal: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    outcomes = (random.random(rows) < 0.2).astype(float)
    return outcomes, 1 / (1 + np.exp(-(random.normal(size=rows) + signal * outcomes - 1)))


def test_auc_is_sklearns_and_its_error_is_what_repetition_shows() -> None:
    outcomes, scores = scored(2000, 1.5)
    assert measure("auc_roc", outcomes, scores).value == pytest.approx(roc_auc_score(outcomes, scores), abs=1e-12)
    seen = [measure("auc_roc", *scored(2000, 1.5, seed)).value for seed in range(200)]
    assert auc_error(outcomes, scores) == pytest.approx(float(np.std(seen)), rel=0.2)


@pytest.mark.parametrize("name", ["f1", "average_precision", "brier"])
def test_bootstrap_errors_are_what_repetition_shows(name: str) -> None:
    seen = [measure(name, *scored(1500, 2.0, seed), threshold=0.4).value for seed in range(150)]
    assert measure(name, *scored(1500, 2.0), threshold=0.4).standard_error == pytest.approx(np.std(seen), rel=0.35)


def test_decay_has_a_sign_by_the_metrics_direction() -> None:
    good, bad = scored(20_000, 2.0), scored(20_000, 1.0, 1)
    fallen = decay("auc_roc", measure("auc_roc", *good), measure("auc_roc", *bad))
    assert fallen.drop > 0.05
    assert fallen.low < fallen.drop < fallen.high
    assert fallen.p_value < 1e-6
    worse = decay("log_loss", measure("log_loss", good[0], good[0] * 0.8 + 0.1), measure("log_loss", *bad))
    assert worse.drop > 0


def test_one_class_is_undefined_and_never_enough() -> None:
    seen = measure("auc_roc", np.zeros(100), np.linspace(0, 1, 100))
    assert math.isnan(seen.value)
    assert not seen.enough
    assert not measure("auc_roc", np.array([0.0] * 500 + [1.0] * 5), np.linspace(0, 1, 505)).enough


def test_metrics_of_the_running_artifact_cannot_decay() -> None:
    with pytest.raises(InputError, match="not computed from scores"):
        measure("inference_ms", *scored(100, 1.0))


def test_a_calibration_error_does_not_rise_because_rows_are_few() -> None:
    random = np.random.default_rng(8)

    def calibrated(rows: int, off: float = 1.0) -> Performance:
        rates = random.beta(2, 4, rows)
        return measure("calibration_error", (random.random(rows) < rates).astype(float), np.clip(rates * off, 0, 1))

    stationary = [decay("calibration_error", calibrated(3000), calibrated(200)) for _ in range(200)]
    assert np.mean([each.drop for each in stationary]) == pytest.approx(0, abs=0.01)
    assert sum(each.p_value < 0.05 and each.drop > 0.05 for each in stationary) <= 10
    assert sum(each.p_value < 0.05 for each in stationary) <= 20
    worse = [decay("calibration_error", calibrated(3000), calibrated(1000, 1.4)) for _ in range(20)]
    assert all(each.p_value < 0.001 and each.drop > 0.05 for each in worse)
    assert Performance.restore(stored := calibrated(100).dump()).dump() == stored
