"""DeLong and the bootstrap against independent ways to the same numbers."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from tools.evaluate.comparison import WeightedMetric
from tools.evaluate.metrics import Direction, Scored
from tools.evaluate.significance import delong, improvement_interval

AUC = WeightedMetric(name="auc_roc", weight=0.4, direction=Direction.HIGHER)
F1 = WeightedMetric(name="f1", weight=0.3, direction=Direction.HIGHER)


def _pair(seed: int, rows: int, gain: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random(rows) < 0.15).astype(float)
    y[:4] = (0, 1, 0, 1)
    shared = rng.normal(size=rows) + y
    return y, np.round(shared + rng.normal(size=rows), 1), np.round(shared + gain * y + rng.normal(size=rows), 1)


def _structural_delong(y: np.ndarray, a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """DeLong as the paper defines it: all pairs, the 2 x 2 covariance of structural components. O(mn)."""
    hit = y > 0

    def components(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        psi = (s[hit][:, None] > s[~hit][None, :]) + 0.5 * (s[hit][:, None] == s[~hit][None, :])
        return psi.mean(axis=1), psi.mean(axis=0)

    (va, ha), (vb, hb) = components(a), components(b)
    covariance = np.cov([va, vb]) / hit.sum() + np.cov([ha, hb]) / (~hit).sum()
    contrast = np.array([-1, 1])
    return vb.mean() - va.mean(), float(np.sqrt(contrast @ covariance @ contrast))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_delong_equals_the_paper_on_all_pairs(seed: int) -> None:
    y, a, b = _pair(seed, 150)
    found = delong(y, a, b)
    difference, error = _structural_delong(y, a, b)
    assert found.auc_a == pytest.approx(roc_auc_score(y, a))
    assert found.difference == pytest.approx(difference)
    assert found.standard_error == pytest.approx(error)
    assert found.p_value == pytest.approx(2 * norm.sf(abs(difference) / error))
    assert (found.low, found.high) == pytest.approx(norm.interval(0.95, difference, error))


def test_delongs_error_is_the_spread_over_resamples() -> None:
    y, a, b = _pair(3, 3000)
    rng = np.random.default_rng(0)
    spread = []
    for _ in range(300):
        at = rng.integers(0, len(y), len(y))
        spread.append(roc_auc_score(y[at], b[at]) - roc_auc_score(y[at], a[at]))
    assert delong(y, a, b).standard_error == pytest.approx(np.std(spread), rel=0.12)


def test_delong_is_calibrated_under_no_difference() -> None:
    p_values = [delong(*_pair(seed, 800)).p_value for seed in range(300)]
    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.05, abs=0.035)


def test_identical_scores_differ_by_nothing() -> None:
    y, a, _ = _pair(1, 200)
    found = delong(y, a, a)
    assert (found.difference, found.p_value, found.low, found.high) == (0, 1, 0, 0)


def test_the_interval_covers_what_it_should() -> None:
    def interval(seed: int, gain: float) -> tuple[float, float]:
        y, a, b = _pair(seed, 2000, gain)
        fixed = {"model_size_mb": 0.0}
        size = WeightedMetric(name="model_size_mb", weight=0.6, direction=Direction.LOWER)
        return improvement_interval([AUC, size], Scored(y, a), Scored(y, b), fixed=fixed, seed=1)

    null = [interval(seed, 0.0) for seed in range(40)]
    assert sum(low <= 0 <= high for low, high in null) >= 34
    assert all(low > 0 for low, _ in (interval(seed, 0.6) for seed in range(5)))


def test_the_same_seed_gives_the_same_interval_and_fixed_parts_shift_it() -> None:
    y, a, b = _pair(5, 500, 0.3)
    size = WeightedMetric(name="model_size_mb", weight=0.1, direction=Direction.LOWER)

    def interval(gain: float) -> tuple[float, float]:
        both = (Scored(y, a, 0.5), Scored(y, b, 0.5))
        return improvement_interval([AUC, F1, size], *both, fixed={"model_size_mb": gain}, seed=3)

    assert interval(0.0) == interval(0.0)
    assert interval(-1.0) == pytest.approx([each - 0.1 for each in interval(0.0)])


def test_a_hundred_thousand_rows_take_seconds() -> None:
    y, a, b = _pair(1, 100_000, 0.2)
    started = time.process_time()
    improvement_interval([AUC, F1], Scored(y, a, 1.0), Scored(y, b, 1.0), fixed={}, seed=1)
    delong(y, a, b)
    assert time.process_time() - started < 6
