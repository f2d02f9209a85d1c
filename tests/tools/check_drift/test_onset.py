"""When a series changed: steps, ramps and noise of known shape."""

from __future__ import annotations

import numpy as np
import pytest

from tools.check_drift.onset import Onset, onset


def series(level: list[float], size: float | np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy values around `level`, each with the variance of a mean over `size` rows."""
    variances = np.broadcast_to(1 / np.asarray(size, dtype=float), len(level)).copy()
    return np.array(level) + np.random.default_rng(seed).normal(0, np.sqrt(variances)), variances


@pytest.mark.parametrize("seed", range(20))
def test_a_step_is_sudden_and_dated(seed: int) -> None:
    found = onset(*series([0.0] * 18 + [0.8] * 10, 400, seed))
    assert found == Onset(18, True)


@pytest.mark.parametrize("seed", range(20))
def test_a_slow_change_is_gradual_and_dated_where_it_begins_to_show(seed: int) -> None:
    found = onset(*series([0.0] * 8 + list(np.linspace(0.05, 1.0, 20)), 400, seed))
    assert found.sudden is False
    assert 5 <= found.first <= 12


@pytest.mark.parametrize("errors", [3, 5, 8])
@pytest.mark.parametrize("days", [4, 7, 14])
def test_a_change_over_days_is_not_called_sudden_where_noise_hides_its_pace(days: int, errors: int) -> None:
    level = list(np.clip((np.arange(28) - 9) / days, 0, 1) * errors)
    found = [onset(*series(level, 1, seed)) for seed in range(200)]
    assert np.mean([each.sudden is True for each in found]) <= 0.05
    at_once = [onset(*series([0.0] * 10 + [8.0] * 18, 1, seed)) for seed in range(50)]
    assert np.mean([each.sudden is True for each in at_once]) >= 0.9


def test_small_windows_count_less_but_are_not_left_out() -> None:
    rows = np.array([12.0] * 28)
    near = [abs(onset(*series([0.0] * 14 + [1.5] * 14, rows, seed)).first - 14) <= 1 for seed in range(50)]
    assert np.mean(near) >= 0.9
    rows[27] = 400
    assert onset(*series([0.0] * 27 + [1.5], rows, 1)) == Onset(27, True)


def test_noise_has_no_onset() -> None:
    found = [onset(*series([0.3] * 28, 400, seed)) for seed in range(200)]
    assert np.mean([each == Onset(0, None) for each in found]) >= 0.9
    assert onset(np.array([1.0]), np.array([0.1])) == Onset(0, None)


def test_weekdays_that_differ_are_no_onset() -> None:
    level = [0.0, 0.0, 0.0, 0.0, 0.0, 0.4, 0.4] * 4
    found = [onset(*series(level, 10_000, seed)) for seed in range(20)]
    assert np.mean([each == Onset(0, None) for each in found]) >= 0.9
    for step, sudden in ((0.8, None), (1.6, True)):  # four of the weekdays' deviations leave the pace open
        stepped = [each + (step if day >= 17 else 0.0) for day, each in enumerate(level)]
        assert onset(*series(stepped, 10_000, 1)) == Onset(17, sudden)
