"""Correlations of grades, and the pair that changed most."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from tools.check_drift import profile
from tools.check_drift.correlation import Correlations, correlations, largest_change


def pair(rows: int, rho: float, seed: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    a, noise, other = random.normal(size=(3, rows))
    return {"a": np.exp(a), "b": rho * a + np.sqrt(1 - rho * rho) * noise, "c": other}


def test_they_are_spearmans() -> None:
    data = pair(5000, 0.6, 1)
    seen = correlations(data, profile(data))
    assert seen.matrix[0, 1] == pytest.approx(stats.spearmanr(data["a"], data["b"]).statistic, abs=2e-3)


def test_a_flipped_correlation_with_the_same_marginals_is_found() -> None:
    before, after = pair(20_000, 0.5, 1), pair(800, -0.5, 2)
    baseline = profile(before)
    change = largest_change(correlations(before, baseline), correlations(after, baseline), ["a"])
    assert change is not None
    assert change.pair == ("a", "b")
    assert change.change > 0.8
    assert change.p_value < 1e-6


def test_nothing_changed_is_no_evidence() -> None:
    before, after = pair(20_000, 0.5, 1), pair(800, 0.5, 2)
    after["b"][::3] = np.nan
    baseline = profile(before)
    change = largest_change(correlations(before, baseline), correlations(after, baseline), None)
    assert change is not None
    assert change.p_value > 0.05


def test_the_noise_of_a_pair_of_few_rows_hides_no_proven_change() -> None:
    random = np.random.default_rng(1)

    def rows(size: int, rho: float) -> dict[str, np.ndarray]:
        known = np.where(random.random(size) < 0.035, 1.0, np.nan)  # u and v are nearly always null
        u, v = random.normal(size=(2, size)) * known
        return {**pair(size, rho, int(random.integers(1000))), "u": u, "v": v}

    before = rows(3000, 0.6)
    baseline = profile(before)
    for _ in range(30):
        now = rows(1000, 0.25)
        change = largest_change(correlations(before, baseline), correlations(now, baseline), None, 1e-4)
        assert change is not None
        assert change.pair == ("a", "b")
        assert change.p_value < 1e-6


def test_constant_columns_have_no_correlation(tmp_path: Path) -> None:
    data = {"a": np.ones(100), "b": np.arange(100.0)}
    seen = correlations(data, profile(data))
    seen.save(tmp_path / "c.npz")
    loaded = Correlations.load(tmp_path / "c.npz")
    assert np.isnan(loaded.matrix[0, 1])
    assert largest_change(loaded, loaded, None) is None


def test_a_relation_within_one_of_two_far_modes_is_seen() -> None:
    random = np.random.default_rng(4)

    def rows(related: bool) -> dict[str, np.ndarray]:
        z, far = random.normal(size=(2, 4000)), random.random(4000) < 0.7
        x = np.where(far, 1.7e9 + 1000 * z[0], 0.0)
        return {"x": x, "y": np.where(related & far, z[0], z[1])}

    before, now = rows(related=False), rows(related=True)
    baseline = profile(before)
    change = largest_change(correlations(before, baseline), correlations(now, baseline), None)
    assert change is not None and change.change > 0.3 and change.p_value < 1e-6
    assert correlations(before, baseline).matrix[0, 1] == pytest.approx(
        float(stats.spearmanr(before["x"], before["y"]).statistic), abs=0.01
    )
