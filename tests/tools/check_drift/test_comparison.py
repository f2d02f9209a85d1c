"""Statistics of a column against scipy, hand-computed values and the edge cases the rules name."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial import distance

from tools.check_drift import ColumnChange, compare, profile
from tools.check_drift.divergence import both_shares, psi

Floats = NDArray[np.float64]


def only(before: object, after: object, **options: float) -> ColumnChange:
    (change,) = compare(pd.DataFrame({"x": before}), pd.DataFrame({"x": after}), **options)  # type: ignore[arg-type]
    return change


def reference_shares(before: Floats, after: Floats) -> tuple[Floats, Floats]:
    """Decile shares by numpy alone: right-closed, open ends, floored and renormalised."""
    edges = np.unique(np.quantile(before, np.arange(1, 10) / 10, method="inverted_cdf"))
    p, q = (np.bincount(np.searchsorted(edges, side), minlength=len(edges) + 1) / len(side) for side in (before, after))
    used = (p > 0) | (q > 0)
    p, q = np.maximum(p[used], 1e-4), np.maximum(q[used], 1e-4)
    return p / p.sum(), q / q.sum()


CASES = {
    "normal": lambda r, n, shift: r.normal(shift, 1, n),
    "heavy": lambda r, n, shift: r.standard_cauchy(n) + shift,
    "skewed": lambda r, n, shift: r.lognormal(shift, 1, n),
    "counts": lambda r, n, shift: r.poisson(3 + shift, n).astype(float),
    "far": lambda r, n, shift: r.normal(1e6 + shift, 1, n),
    "zeros": lambda r, n, shift: np.where(r.random(n) < 0.6, 0.0, r.exponential(1 + shift, n)),
    "never_or_seconds": lambda r, n, shift: np.where(r.random(n) < 0.3, 0.0, r.normal(1.7e9 + 1e4 * shift, 1000, n)),
    "two_modes": lambda r, n, shift: np.where(r.random(n) < 0.5, r.normal(size=n), r.normal(1e6 + shift, 1, n)),
    "three_values": lambda r, n, shift: r.choice([0.1, 5e7 + 0.3, 5e7 + 0.4], n, p=[0.4, 0.5 - shift, 0.1 + shift]),
    "prices": lambda r, n, shift: np.round(r.lognormal(3 + shift, 0.2, n) / 5) * 5 - 0.01,
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("sizes", [(500, 300), (60_000, 40_000)])
def test_statistics_agree_with_scipy(name: str, sizes: tuple[int, int]) -> None:
    random = np.random.default_rng(11)
    before, after = CASES[name](random, sizes[0], 0.0), CASES[name](random, sizes[1], 0.3)
    change = only(before, after)
    p, q = reference_shares(before, after)
    assert change.psi == pytest.approx(float(np.sum((q - p) * np.log(q / p))), abs=2e-5)
    assert change.kl == pytest.approx(float(stats.entropy(q, p)), abs=1e-4)
    assert change.js == pytest.approx(float(distance.jensenshannon(p, q, base=2)), abs=1e-4)
    exact = stats.ks_2samp(before, after, method="asymp").statistic
    assert change.ks - 1e-12 <= exact <= change.ks + change.ks_bound + 1e-12
    assert change.ks_bound <= 1 / 200
    moved = stats.wasserstein_distance(before, after) / before.std()
    assert change.wasserstein == pytest.approx(moved, rel=2e-3, abs=2e-3)


def test_psi_counts_current_values_at_the_deciles_where_it_matters(tmp_path: Path) -> None:
    """Where a mode lies within a decile's histogram bin, the baseline's share of it says little of the other's."""
    random = np.random.default_rng(5)
    before = np.concatenate([random.normal(1000, 0.3, 30_000), random.normal(5000, 2000, 70_000)])
    after = np.concatenate([random.normal(1000.4, 0.3, 60_000), random.normal(5000, 2000, 40_000)])
    p, q = reference_shares(before, after)
    for name, side in (("before", before), ("after", after)):
        pd.DataFrame({"x": side}).to_parquet(tmp_path / f"{name}.parquet", row_group_size=7_000)
    (streamed,) = compare(tmp_path / "before.parquet", tmp_path / "after.parquet")
    for change in (only(before, after), streamed):
        assert change.psi == pytest.approx(float(np.sum((q - p) * np.log(q / p))), abs=1e-9)


def test_same_bins_agree_to_rounding() -> None:
    before, after = np.array([30.0, 50.0, 20.0]), np.array([10.0, 60.0, 30.0])
    p, q = both_shares(before, after)
    assert psi(p, q) == pytest.approx(-0.2 * math.log(1 / 3) + 0.1 * math.log(1.2) + 0.1 * math.log(1.5), abs=1e-9)


def test_categories_by_hand() -> None:
    change = only(["a"] * 50 + ["b"] * 50, ["a"] * 80 + ["b"] * 20)
    assert change.psi == pytest.approx(0.3 * math.log(0.8 / 0.5) - 0.3 * math.log(0.2 / 0.5), abs=1e-12)
    assert change.total_variation == pytest.approx(0.3)
    assert math.isnan(change.ks)
    assert "a 50.0% → 80.0%" in change.reason


def test_an_unseen_category_has_a_bin_of_its_own() -> None:
    change = only(["a"] * 900 + ["b"] * 100, ["a"] * 850 + ["b"] * 100 + ["new"] * 50)
    assert change.psi > 0.25
    assert change.drifted
    assert "new categories new (5.0%)" in change.reason


def test_nulls_have_a_bin_of_their_own() -> None:
    random = np.random.default_rng(2)
    before, after = random.normal(size=5000), random.normal(size=5000)
    after[:1500] = np.nan
    change = only(before, after)
    assert change.drifted
    assert "nulls 0.0% → 30.0%" in change.reason


def test_constants() -> None:
    assert only(np.ones(500), np.ones(300)).psi == 0
    assert not only(np.ones(500), np.ones(300)).drifted
    moved = only(np.ones(500), np.full(300, 2.0))
    assert moved.drifted
    assert moved.ks == 1
    frozen = only(np.random.default_rng(1).normal(size=500), np.full(300, 2.0))
    assert frozen.drifted
    assert "constant 2" in frozen.reason


@pytest.mark.parametrize("rest", [0.0, 0.4, 0.85])
@pytest.mark.parametrize("least", [0.0, 5.0, 0.1, -7.5, 1e6])
def test_what_is_less_than_a_minimum_of_many_rows_is_seen(least: float, rest: float) -> None:
    random = np.random.default_rng(2)
    before = np.where(random.random(4000) < rest, least + random.exponential(size=4000), least)
    share = float((before == least).mean())
    after = np.where(before == least, -999.0, before)
    change = only(before, after)
    assert change.drifted and change.ks == pytest.approx(share)
    p, q = both_shares(np.array([0.0, share, 1 - share]), np.array([share, 0.0, 1 - share]))
    assert change.psi == pytest.approx(psi(p, q), rel=1e-3)
    same = np.where(random.random(4000) < rest, least + random.exponential(size=4000), least)
    assert not only(before, same).drifted
    (added,) = compare(profile({"x": before[:2000]}) + profile({"x": before[2000:]}), {"x": after})
    assert added.drifted


def test_ties_merge_deciles_and_lie_below_them() -> None:
    before = np.repeat([1.0, 2.0, 3.0], [700, 200, 100])
    after = np.repeat([1.0, 2.0, 3.0], [100, 200, 700])
    p, q = both_shares(np.array([700.0, 200.0, 100.0]), np.array([100.0, 200.0, 700.0]))
    assert only(before, after).psi == pytest.approx(psi(p, q), abs=1e-12)


def test_values_beyond_the_baselines_range_are_in_the_open_bins() -> None:
    before = np.arange(1000.0)
    after = np.concatenate([before[:800], np.full(100, -1e9), np.full(100, 1e9)])
    counted = np.array([200.0, *[100.0] * 7, 0.0, 100.0])
    p, q = both_shares(np.full(10, 100.0), counted)
    assert only(before, after).psi == pytest.approx(psi(p, q), abs=1e-9)


def test_a_vanished_category_counts() -> None:
    change = only(["a"] * 800 + ["b"] * 200, ["a"] * 1000)
    p, q = both_shares(np.array([800.0, 200.0]), np.array([1000.0, 0.0]))
    assert change.psi == pytest.approx(psi(p, q), abs=1e-12)
    assert change.drifted


def test_infinities_fall_in_the_open_end_bins() -> None:
    before, after = np.arange(1000.0), np.arange(1000.0)
    after[:300] = np.inf
    change = only(before, after)
    assert change.drifted
    assert "300 infinite values" in change.reason
    assert change.ks == pytest.approx(stats.ks_2samp(before, after, method="asymp").statistic, abs=1e-9)


def test_an_empty_window_is_no_drift_and_no_number() -> None:
    change = only(np.arange(10.0), np.empty(0))
    assert not change.drifted
    assert math.isnan(change.psi)
    assert change.reason == "no rows in the current window"


def test_a_missing_column_counts_as_null() -> None:
    before = pd.DataFrame({"x": np.arange(500.0), "c": ["a", "b"] * 250})
    changes = compare(before, before[["x"]])
    assert changes[0].column == "c"
    assert changes[0].drifted
    assert not changes[1].drifted


def test_a_column_that_changed_its_kind_drifted() -> None:
    change = only(np.arange(500.0), ["n"] * 500)
    assert change.drifted
    assert "type changed from numeric to categorical" in change.reason


def test_integer_codes_declared_categorical_are_compared_by_code() -> None:
    codes = pd.DataFrame({"x": [1, 2, 3] * 200})
    swapped = pd.DataFrame({"x": [1.0, 2.0, 4.0] * 200})
    (change,) = compare(profile(codes, categorical=["x"]), swapped)
    assert change.kind == "categorical"
    assert "new categories 4" in change.reason


def test_booleans_and_dates() -> None:
    days = pd.date_range("2026-01-01", periods=400, freq="h")
    before = pd.DataFrame({"flag": [True, False] * 200, "when": days})
    after = pd.DataFrame({"flag": [True] * 400, "when": days + pd.Timedelta(days=30)})
    assert all(change.drifted for change in compare(before, after))


def test_the_worst_comes_first() -> None:
    random = np.random.default_rng(3)
    before = pd.DataFrame({"calm": random.normal(size=4000), "bad": random.normal(size=4000)})
    after = pd.DataFrame({"calm": random.normal(size=4000), "bad": random.normal(2, 1, size=4000)})
    assert [change.column for change in compare(before, after)] == ["bad", "calm"]


@pytest.mark.parametrize("current", [5_000, 50_000])
def test_high_cardinality_is_bounded_and_calm(current: int) -> None:
    random = np.random.default_rng(4)
    names = np.array([f"city {i}" for i in range(5000)])
    before = pd.DataFrame({"x": names[random.integers(0, 5000, 50_000)]})
    after = pd.DataFrame({"x": names[random.integers(0, 5000, current)]})
    (change,) = compare(before, after)
    assert not change.drifted
    assert change.adjusted_p > 0.01


def test_a_category_that_grows_is_seen_among_thousands() -> None:
    random = np.random.default_rng(4)
    names = np.array([f"city {i}" for i in range(5000)])
    before, after = random.integers(0, 5000, 50_000), random.integers(0, 5000, 50_000)
    after[:2_000] = np.bincount(before).argmax()
    (change,) = compare(pd.DataFrame({"x": names[before]}), pd.DataFrame({"x": names[after]}))
    assert change.adjusted_p < 1e-6


def test_of_many_rare_categories_some_are_always_new() -> None:
    random = np.random.default_rng(5)
    weights = 1 / np.arange(1, 801)
    for rows in (200, 10_000):
        before, after = (random.choice(800, rows, p=weights / weights.sum()).astype(str) for _ in range(2))
        assert only(before, after).adjusted_p > 0.01


def names(many: int, rows: int, prefix: str = "store ", seed: int = 0) -> np.ndarray:
    return np.array([f"{prefix}{i}" for i in np.random.default_rng(seed).integers(many, size=rows)])


@pytest.mark.parametrize(("many", "before", "after"), [(1_500, 4_000, 3_000), (5_000, 20_000, 5_000)])
def test_thousands_of_categories_that_are_all_new_are_seen(many: int, before: int, after: int) -> None:
    known = names(many, before)
    assert only(known, names(many, after, "new ", 1)).drifted
    assert not any(only(known, names(many, after, seed=seed)).drifted for seed in range(2, 12))
    half = only(known, np.concatenate([names(many, after // 2, seed=1), names(many, after // 2, "new ", 1)]))
    assert half.p_value < 0.01


def test_p_values_of_thousands_of_categories_are_right_where_nothing_changed() -> None:
    known = profile({"x": names(1_500, 20_000)})
    found = [compare(known, {"x": names(1_500, 700, seed=seed)})[0].p_value for seed in range(1, 201)]
    assert np.mean(np.array(found) < 0.05) <= 0.08


def test_parts_of_the_overflow_add_up_and_are_kept(tmp_path: Path) -> None:
    values = names(3_000, 30_000)
    whole = profile({"x": values})
    added = profile({"x": values[:9_000]}) + profile({"x": values[9_000:]})
    assert whole.columns["x"].by_part == added.columns["x"].by_part
    assert sum(whole.columns["x"].rest) == whole.columns["x"].other > 0
    whole.save(tmp_path / "profile.npz")
    assert type(whole).load(tmp_path / "profile.npz").columns["x"] == whole.columns["x"]


def test_of_a_profile_stored_without_parts_names_alone_are_compared() -> None:
    known = profile({"x": names(1_500, 4_000)})
    old = replace(known, columns={"x": replace(known.columns["x"], rest=())})
    assert old.columns["x"].by_part is None
    assert (old + old).columns["x"].rest == ()
    assert compare(old, {"x": names(1_500, 3_000, "new ", 1)})[0].p_value == 1.0


def test_what_lies_far_from_zero_and_close_together_has_no_wasserstein_of_wrong_size() -> None:
    far = 1e15 + np.random.default_rng(0).uniform(0, 50, 20_000)
    change = only(far, far[:5_000] + 10)
    assert math.isnan(change.wasserstein) and change.drifted
    dates = 1.7e9 + np.random.default_rng(0).uniform(0, 86_400, 20_000)
    assert only(dates, dates + 8_640).wasserstein == pytest.approx(8_640 / dates.std(), rel=1e-2)
