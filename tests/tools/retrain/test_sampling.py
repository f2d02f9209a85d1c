"""Thinned samples stand for all rows, at their importance."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.retrain.sampling import ages_in_days, inclusion, recency, thin


def test_equal_rows_within_the_cap_are_kept_once_each() -> None:
    for rows in (1, 7, 1000, 12_345):
        assert thin(np.ones(rows), rows).tolist() == list(range(rows))
        assert thin(np.full(rows, 20.0), rows + 5).tolist() == list(range(rows))


def test_equal_rows_above_the_cap_are_thinned_evenly() -> None:
    chosen = thin(np.ones(1000), 100)
    assert len(chosen) == 100
    assert set(np.diff(chosen)) == {10}


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=200), st.integers(1, 300))
def test_a_row_is_drawn_as_often_as_it_is_important(importance: list[float], cap: int) -> None:
    weights = np.array(importance)
    chosen = thin(weights, cap)
    size = min(len(weights), cap)
    assert abs(len(chosen) - size) <= 1
    drawn = np.bincount(chosen, minlength=len(weights))
    assert np.all(np.abs(drawn - weights / weights.sum() * size) <= 1 + 1e-5)


def test_a_half_life_halves() -> None:
    ages = np.array([0.0, 7.0, 14.0])
    assert recency(ages, 7.0).tolist() == [1, 0.5, 0.25]
    assert recency(ages, None).tolist() == [1, 1, 1]
    times = np.array(["2026-01-01", "2026-01-07T12:00"], dtype="datetime64[us]")
    assert ages_in_days(times, datetime(2026, 1, 8)).tolist() == [7, 0.5]


@given(st.lists(st.tuples(st.floats(0.001, 1), st.integers(1, 500)), min_size=1, max_size=60), st.integers(1, 5000))
def test_shares_sum_to_the_cap(groups: list[tuple[float, int]], cap: int) -> None:
    importance, counts = np.array([g[0] for g in groups]), np.array([g[1] for g in groups])
    shares = inclusion(importance, counts, cap)
    assert np.all((shares >= 0) & (shares <= 1))
    assert shares @ counts == pytest.approx(min(cap, counts.sum()), rel=1e-6)
    order = np.argsort(importance)
    assert np.all(np.diff(shares[order]) >= -1e-12)
