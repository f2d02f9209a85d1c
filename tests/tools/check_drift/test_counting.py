"""Counting keys: nothing is lost, whatever the values and however the column is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray
from scipy import stats

from policies.errors import InputError
from tools.check_drift import compare, counting, profile
from tools.check_drift.bins import looks_again, psi_error
from tools.check_drift.categorical import count_codes
from tools.check_drift.distance import distances
from tools.check_drift.divergence import divergences
from tools.check_drift.numeric import summarise

NOT_BUILT = "built by `make`: a C compiler is needed to test it"
BUILT = counting.compiled


def test_what_is_not_finite_is_counted_apart_in_every_block() -> None:
    random = np.random.default_rng(4)
    values = random.standard_cauchy(50_000)
    for start, odd in enumerate((np.nan, np.inf, -np.inf, -np.nan, 1e300, -1e300, -0.0)):
        values[start::100] = odd
    summary = summarise(values)
    assert summary.rows == 50_000
    assert (summary.nulls, summary.pos_inf, summary.neg_inf) == (1000, 500, 500)
    finite = values[np.isfinite(values)]
    assert summary.finite == len(finite)
    assert (summary.minimum, summary.maximum) == (finite.min(), finite.max())
    assert (np.diff(summary.ranks) > 0).all()


def test_a_count_that_was_interrupted_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(1000.0)
    expected = summarise(values)
    add = counting.Tally.add

    def interrupted(tally: counting.Tally, *block: Any) -> None:
        add(tally, *block)
        if tally.maximum > 1e6:
            raise KeyboardInterrupt

    monkeypatch.setattr(counting, "compiled", None)
    monkeypatch.setattr(counting.Tally, "add", interrupted)
    monkeypatch.setattr(counting, "_BLOCK", 100)
    with pytest.raises(KeyboardInterrupt):
        summarise(np.append(values, 2e6), centre=0.0)
    np.testing.assert_array_equal(summarise(values).counts, expected.counts)


def _hostile(kind: str) -> NDArray[Any]:
    random = np.random.default_rng(11)
    size = 300_001  # more than one block of either
    if kind == "whole":
        return np.rint(random.normal(0, 1e4, size))
    if kind == "nothing finite":
        return random.choice([np.nan, np.inf, -np.inf], 5000)
    values = random.standard_cauchy(size) if kind != "far off" else random.normal(1e6, 1, size)
    if kind == "all sorts":
        odd_ones = (np.nan, np.inf, -np.inf, -np.nan, 1e300, -1.79e308, -0.0, 0.0, 5e-324, 3.4028236e38)
        for start, odd in enumerate(odd_ones):
            values[start::97] = odd
    return values


@pytest.mark.parametrize("kind", ["cauchy", "all sorts", "whole", "far off", "nothing finite", "empty", "one"])
@pytest.mark.parametrize("form", ["double", "single", "every third", "backwards", "unwritable", "unaligned"])
def test_compiled_and_numpy_count_alike(monkeypatch: pytest.MonkeyPatch, kind: str, form: str) -> None:
    values = {"empty": np.empty(0), "one": np.array([0.1])}.get(kind, _hostile(kind))
    with np.errstate(over="ignore"):
        values = {
            "single": values.astype(np.float32), "every third": np.repeat(values, 3)[::3], "backwards": values[::-1],
            "unaligned": np.frombuffer(b"-" + values.tobytes(), dtype=np.uint8)[1:].view(np.float64),
        }.get(form, values)  # fmt: skip
    if form == "unwritable":
        values.flags.writeable = False
    assert counting.compiled is not None, NOT_BUILT
    compiled = summarise(values)
    monkeypatch.setattr(counting, "compiled", None)
    plain = summarise(values)
    np.testing.assert_array_equal(compiled.ranks, plain.ranks)
    np.testing.assert_array_equal(compiled.counts, plain.counts)
    np.testing.assert_array_equal(compiled.edges, plain.edges)
    for name in ("nulls", "pos_inf", "neg_inf", "minimum", "maximum", "integral", "centre"):
        assert getattr(compiled, name) == pytest.approx(getattr(plain, name), abs=0, rel=0, nan_ok=True), name
    assert compiled.total == pytest.approx(plain.total, rel=1e-9, abs=1e-6)
    assert compiled.squares == pytest.approx(plain.squares, rel=1e-12)


@pytest.mark.parametrize("integral", [False, True])
@pytest.mark.parametrize("odd", [(), (np.inf,), (-np.inf, -np.inf), (np.nan, np.inf, -np.inf)])
@pytest.mark.parametrize("sizes", [(0, 5), (7, 0), (1, 1), (900, 400)])
def test_compiled_and_numpy_walk_alike(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int], odd: tuple[float, ...], integral: bool
) -> None:
    random = np.random.default_rng(9)
    sides = [np.append(random.standard_cauchy(size) * 3000, odd) for size in sizes]
    before, after = (summarise(np.rint(side) if integral else side, centre=0.0) for side in sides)
    assert counting.compiled is not None, NOT_BUILT
    compiled = distances(before, after)
    monkeypatch.setattr(counting, "compiled", None)
    plain = distances(before, after)
    for name in ("ks", "ks_bound", "wasserstein"):
        assert getattr(compiled, name) == pytest.approx(getattr(plain, name), rel=1e-12, abs=1e-15, nan_ok=True), name


@pytest.mark.parametrize("bins", [1, 2, 11, 1000])
def test_compiled_and_numpy_diverge_alike(monkeypatch: pytest.MonkeyPatch, bins: int) -> None:
    random = np.random.default_rng(bins)
    sides = [random.poisson(mean, bins) * 1.0 for mean in (0.5, 5, 500)]
    for before in (*sides, np.zeros(bins)):
        for after in (*sides, np.zeros(bins), before):
            monkeypatch.setattr(counting, "compiled", BUILT)
            compiled = divergences(before, after)
            monkeypatch.setattr(counting, "compiled", None)
            plain = divergences(before, after)
            assert compiled == pytest.approx(plain, rel=1e-9, abs=1e-7, nan_ok=True)
            assert compiled.psi == pytest.approx(plain.psi, rel=1e-12, abs=1e-14, nan_ok=True)


@pytest.mark.parametrize("whole", [False, True])
def test_compiled_and_numpy_bound_the_psi_alike(monkeypatch: pytest.MonkeyPatch, whole: bool) -> None:
    random = np.random.default_rng(4)
    sides = [random.lognormal(9, 1, size) for size in (5_000, 900)]
    before, after = (np.rint(side) if whole else side for side in sides)
    baseline = summarise(before)
    current = summarise(np.append(after, [np.nan] * 9), centre=baseline.centre, exact_edges=False)
    assert counting.compiled is not None, NOT_BUILT
    compiled = psi_error(baseline, current)
    monkeypatch.setattr(counting, "compiled", None)
    assert compiled == pytest.approx(psi_error(baseline, current), rel=1e-12) and compiled > 0


def test_what_the_compiled_loops_cannot_take_is_refused() -> None:
    table = np.zeros(2 * counting.SIGN, dtype=np.int32)
    row, short = table.astype(np.int64), np.zeros(5, dtype=np.int64)
    scan, distance = counting.compiled.scan, counting.compiled.distance
    for values, *rows in (
        (np.arange(3), table, row, row), (np.zeros((2, 2)), table, row, row), (np.zeros(3), table[:5], row, row),
        (np.zeros(3, dtype=">f8"), table, row, row), (np.zeros(3), table, row, short),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="scan takes"):
            scan(values, 0.0, *rows)
    for wrong in (row.astype(np.float64), table, row[::2]):
        with pytest.raises(ValueError, match=r"int64|contiguous"):
            scan(np.zeros(3), 0.0, table, wrong, row)
    assert not table.any()
    with pytest.raises(ValueError, match="distance takes"):
        distance((row, row, 0, 1, 1), (short, short[:2], 0, 1, 1), 0, 0)
    with pytest.raises(ValueError, match="int64"):
        distance((row, row, 0, 1, 1), (short, short.astype(float), 0, 1, 1), 0, 0)
    codes, counts = np.zeros(9, dtype=np.uint8), np.zeros(256, dtype=np.int64)
    for wrong, match in ((codes.astype(np.int8), "uint8"), (short, "uint8"), (codes[::2], "contiguous")):
        with pytest.raises(ValueError, match=match):
            counting.compiled.tally(wrong, counts)
    with pytest.raises(ValueError, match="256"):
        counting.compiled.tally(codes, short)
    two, three = np.ones(2), np.ones(3)
    for function, rows in (("divergences", (two, three)), ("psi_error", (two, three, three))):
        with pytest.raises(ValueError, match=f"{function} takes"):
            getattr(counting.compiled, function)(*rows, 1e-4)
        with pytest.raises(ValueError, match="float64"):
            getattr(counting.compiled, function)(short, *rows[1:], 1e-4)


@pytest.mark.parametrize("names", [1, 3, 200, 254, 255, 300])
@pytest.mark.parametrize("kind", [np.int16, np.int32, np.int64])
def test_codes_are_counted_with_nulls_last(monkeypatch: pytest.MonkeyPatch, names: int, kind: type) -> None:
    codes = np.random.default_rng(names).integers(-1, names, 10_001).astype(kind)
    expected = [int((codes == code).sum()) for code in [*range(names), -1]]
    assert count_codes(codes, names) == expected
    monkeypatch.setattr(counting, "compiled", None)
    assert count_codes(codes, names) == expected


def test_exact_ks_is_scipys() -> None:
    random = np.random.default_rng(8)
    before, after = random.normal(size=30_000), random.normal(0.05, 1, 20_000)
    (change,) = compare(pd.DataFrame({"x": before}), pd.DataFrame({"x": after}), exact_ks=True)
    assert change.ks == pytest.approx(float(stats.ks_2samp(before, after, method="asymp").statistic), abs=1e-12)
    assert change.ks_bound == 0.0
    with pytest.raises(InputError, match="cannot profile Profile"):
        compare(profile(pd.DataFrame({"x": before})), pd.DataFrame({"x": after}), exact_ks=True)


def test_a_files_deciles_are_exact(tmp_path: object) -> None:
    values = np.round(np.random.default_rng(3).lognormal(5, 1, 30_000), 2)
    file = f"{tmp_path}/prices.parquet"
    pq.write_table(pa.table({"x": values}), file, row_group_size=7000)
    expected = np.unique(np.quantile(values, np.arange(1, 10) / 10, method="inverted_cdf"))
    summary = profile(file).columns["x"]
    np.testing.assert_array_equal(summary.edges, expected)  # type: ignore[union-attr]


def test_what_is_compared_with_a_sum_of_profiles_is_not_looked_at_again() -> None:
    random = np.random.default_rng(5)
    before = summarise(random.normal(size=20_000)) + summarise(random.normal(size=20_000), centre=0.0)
    assert not looks_again(before, summarise(random.normal(0.3, 1, 20_000), centre=before.centre, exact_edges=False))
