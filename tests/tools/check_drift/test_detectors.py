"""ADWIN and Page-Hinkley against River, and the false alarms of the checks' own settings."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from tools.check_drift.adwin import Adwin
from tools.check_drift.error_stream import adwin_rise, page_hinkley_rise
from tools.check_drift.page_hinkley import PageHinkley

ONE_RISE = (1, [(1000, 0.1), (1000, 0.3)])
THERE_AND_BACK = (2, [(3000, 0.2), (500, 0.5), (2000, 0.2)])
NONE = (3, [(5000, 0.1)])

Pieces = tuple[int, list[tuple[int, float]]]


def stream(made: Pieces) -> Iterator[float]:
    """Zeros and ones from the linear congruential generator of Numerical Recipes: the same in every library."""
    state = made[0]
    for length, share in made[1]:
        for _ in range(length):
            state = (1664525 * state + 1013904223) % 2**32
            yield 1.0 if state / 2**32 < share else 0.0


@pytest.mark.parametrize(
    ("made", "changes", "width", "spread"),
    [
        (ONE_RISE, [(1151, 768, 115.0)], 848, 185.46698113207552),
        (THERE_AND_BACK, [(3071, 896, 201.0), (3647, 320, 113.0)], 1852, 280.7316414686823),
        (NONE, [], 5000, 431.49420000000055),
    ],
)
def test_adwin_is_rivers(made: Pieces, changes: list[tuple[int, int, float]], width: int, spread: float) -> None:
    """Expected: `river.drift.ADWIN()` of River 0.22.0 over `stream`: place, width and total at each `drift_detected`
    (River starts a new window after one), then width and variance * width at the end.
    """
    adwin, seen = Adwin(), []
    for place, value in enumerate(stream(made)):
        if adwin.update(value):
            seen.append((place, adwin.width, round(adwin.total, 6)))
            adwin = Adwin()
    assert seen == changes
    assert adwin.width == width
    assert adwin.spread == pytest.approx(spread, rel=1e-9)


@pytest.mark.parametrize(("made", "alarms"), [(ONE_RISE, [1130]), (THERE_AND_BACK, [3059]), (NONE, [])])
def test_page_hinkley_is_rivers(made: Pieces, alarms: list[int]) -> None:
    """Expected: the places of `drift_detected` of `river.drift.PageHinkley(delta=0.05, threshold=20, mode="up")`,
    River 0.22.0, over `stream`.
    """
    test = PageHinkley(tolerance=0.05, height=20.0)
    assert [place for place, value in enumerate(stream(made)) if test.update(value)] == alarms


@pytest.mark.parametrize("method", ["adwin", "page_hinkley"])
def test_a_steady_error_raises_no_more_than_its_share_of_false_alarms(method: str) -> None:
    """120 weeks of 1,000 labels at a level of 5%: six false alarms expected at most, eleven in one of 25 such tests."""
    random = np.random.default_rng(8)
    told = 0
    for _ in range(120):
        before, after = (random.beta(1, 4, size=rows) for rows in (2000, 1000))
        rise = (
            adwin_rise(before, after, 1.0, 0.05) if method == "adwin" else page_hinkley_rise(before, after, 0.05, 0.05)
        )
        told += rise.at is not None
    assert told <= 10


@pytest.mark.parametrize("method", ["adwin", "page_hinkley"])
def test_a_rise_is_told_soon_and_its_size_is_right(method: str) -> None:
    random = np.random.default_rng(9)
    before, after = random.random(3000) * 0.4, random.random(1000) * 0.4
    after[400:] += 0.1
    rise = adwin_rise(before, after, 1.0, 0.01) if method == "adwin" else page_hinkley_rise(before, after, 0.1, 0.01)
    assert rise.at is not None
    assert 400 < rise.at < 550
    assert rise.value == pytest.approx(0.1, abs=0.03)
    assert rise.before == pytest.approx(0.2, abs=0.01)


@pytest.mark.parametrize("method", ["adwin", "page_hinkley"])
def test_a_falling_error_is_no_finding(method: str) -> None:
    random = np.random.default_rng(10)
    before, after = random.random(3000), random.random(2000) * 0.5
    rise = adwin_rise(before, after, 1.0, 0.01) if method == "adwin" else page_hinkley_rise(before, after, 0.1, 0.01)
    assert rise.at is None
    assert rise.value < 0
