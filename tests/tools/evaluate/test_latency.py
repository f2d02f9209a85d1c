"""Latency: what counts as a difference, by a clock that the test owns."""

from __future__ import annotations

import numpy as np
import pytest

from tools.evaluate.latency import compare_rounds, measure


class FakeTime:
    """A clock that only the timed models move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def model(self, milliseconds: float, first: float = 0.0) -> object:
        calls = iter([first])

        def predict(_: object) -> None:
            self.now += (milliseconds + next(calls, 0.0)) / 1000

        return predict


def _measured(champion: float, challenger: float, **options: float) -> object:
    clock = FakeTime()
    return measure(clock.model(champion), clock.model(challenger, **options), [0], timer=clock)  # type: ignore[arg-type]


def test_a_small_difference_is_none() -> None:
    found = _measured(5.0, 5.4)
    assert found.improvement == 0  # type: ignore[attr-defined]
    assert found.challenger_ms == pytest.approx(5.4)  # type: ignore[attr-defined]


def test_a_large_one_counts_in_full() -> None:
    assert _measured(5.0, 10.0).improvement == pytest.approx(-1.0)  # type: ignore[attr-defined]
    assert _measured(5.0, 2.5).improvement == pytest.approx(0.5)  # type: ignore[attr-defined]


def test_the_first_call_is_warm_up() -> None:
    assert _measured(5.0, 5.0, first=900.0).challenger_p99_ms == pytest.approx(5.0)  # type: ignore[attr-defined]


def test_rounds_that_disagree_vouch_for_nothing() -> None:
    steady = np.full((9, 4), 5.0)
    erratic = steady * np.array([0.8, 1.6, 1.0, 1.5, 0.9, 1.7, 1.2, 1.4, 0.7])[:, None]
    assert compare_rounds(steady, steady * 1.3).improvement == pytest.approx(-0.3)
    assert compare_rounds(steady, erratic).within_noise


def test_a_very_slow_model_does_not_stop_the_night() -> None:
    clock = FakeTime()
    measure(clock.model(5.0), clock.model(2000.0), [0], timer=clock)  # type: ignore[arg-type]
    assert clock.now < 4 * 12 * 2.1
