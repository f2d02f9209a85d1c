"""The histogram of a numeric column: monotone, mergeable, exact at its deciles."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tools.check_drift.numeric import lower_values, rank_of_value, recentred, summarise, upper_values

_FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)


@given(st.lists(_FLOATS, min_size=1, max_size=50), st.floats(-1e6, 1e6, width=32))
def test_ranks_keep_the_order_of_values(values: list[float], centre: float) -> None:
    ordered = np.sort(np.array(values))
    assert (np.diff(rank_of_value(ordered, centre)) >= 0).all()


def test_every_value_lies_in_its_bin() -> None:
    values = np.random.default_rng(1).standard_cauchy(10_000)
    ranks = rank_of_value(values, 0.0)
    as_single = values.astype(np.float32).astype(np.float64)
    assert (lower_values(ranks) <= as_single).all()
    assert (as_single <= upper_values(ranks)).all()


@pytest.mark.parametrize("size", [7, 200, 50_000])
def test_deciles_are_the_inverted_cdf(size: int) -> None:
    random = np.random.default_rng(size)
    for values in (random.normal(1000, 1, size), random.poisson(3, size).astype(float), random.lognormal(0, 2, size)):
        expected = np.unique(np.quantile(values, np.arange(1, 10) / 10, method="inverted_cdf"))
        if expected[0] == values.min():  # what is less has a bin of its own
            expected = np.append(np.nextafter(expected[0], -np.inf), expected)
        np.testing.assert_array_equal(summarise(values).edges, expected)


def test_moments_extremes_and_what_is_not_a_number() -> None:
    values = np.array([1.0, 2.0, 4.0, np.nan, np.inf, -np.inf, np.nan])
    summary = summarise(values)
    assert (summary.finite, summary.nulls, summary.pos_inf, summary.neg_inf, summary.rows) == (3, 2, 1, 1, 7)
    assert summary.mean == pytest.approx(7 / 3)
    assert summary.std == pytest.approx(np.std([1.0, 2.0, 4.0]))
    assert (summary.minimum, summary.maximum) == (1.0, 4.0)


def test_finite_values_beyond_single_precision_are_not_infinite() -> None:
    summary = summarise(np.array([1e300, -1e300, 0.0]))
    assert (summary.finite, summary.pos_inf, summary.neg_inf) == (3, 0, 0)
    assert summary.maximum == 1e300


def test_quantiles_of_whole_numbers_are_whole() -> None:
    codes = summarise(np.array([1.0, 2.0, 3.0, 7.0] * 5))
    assert [codes.quantile(q) for q in (0.25, 0.5, 0.75, 1.0)] == [1, 2, 3, 7]
    below = summarise(np.array([-7.0, -3.0, -2.0, -1.0] * 5))
    assert [below.quantile(q) for q in (0.25, 0.5, 0.75, 1.0)] == [-7, -3, -2, -1]


def test_negative_zero_is_zero() -> None:
    assert len(summarise(np.array([0.0, -0.0])).ranks) == 1


def test_empty_and_all_null_columns_have_no_values() -> None:
    for values in (np.empty(0), np.full(5, np.nan)):
        summary = summarise(values)
        assert summary.finite == 0
        assert np.isnan(summary.mean)
        assert np.isnan(summary.quantile(0.5))


@pytest.mark.parametrize("kind", ["normal", "far", "heavy"])
def test_parts_add_up_to_the_whole(kind: str) -> None:
    values = _sample(kind, 40_000)
    whole = summarise(values, exact_edges=False)
    parts = summarise(values[:9_000], centre=whole.centre) + summarise(values[9_000:], centre=whole.centre)
    np.testing.assert_array_equal(parts.ranks, whole.ranks)
    np.testing.assert_array_equal(parts.counts, whole.counts)
    assert parts.mean == pytest.approx(whole.mean)
    assert parts.std == pytest.approx(whole.std)


def test_recentring_moves_values_by_less_than_a_bin() -> None:
    values = _sample("normal", 20_000)
    moved = recentred(summarise(values), 0.25)
    assert moved.finite == 20_000
    assert moved.mean == pytest.approx(values.mean(), abs=1e-9)
    assert moved.quantile(0.5) == pytest.approx(np.quantile(values, 0.5), abs=2e-3)


def test_integers_have_bins_of_their_own() -> None:
    values = np.arange(-2047, 2048).astype(float)
    assert len(summarise(values).ranks) == len(values)
    assert summarise(values).integral
    assert not summarise(values + 0.5).integral


def _sample(kind: str, size: int) -> NDArray[np.float64]:
    random = np.random.default_rng(5)
    if kind == "normal":
        return random.normal(size=size)
    if kind == "far":
        return random.normal(1e6, 1, size)
    return random.standard_cauchy(size)
