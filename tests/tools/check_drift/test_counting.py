"""Counting keys: nothing is lost, whatever the values and however the column is cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy import stats

from policies.errors import InputError
from tools.check_drift import compare, counting, profile
from tools.check_drift.bins import looks_again
from tools.check_drift.categorical import count_codes
from tools.check_drift.numeric import summarise


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

    monkeypatch.setattr(counting.Tally, "add", interrupted)
    monkeypatch.setattr(counting, "_BLOCK", 100)
    with pytest.raises(KeyboardInterrupt):
        summarise(np.append(values, 2e6), centre=0.0)
    np.testing.assert_array_equal(summarise(values).counts, expected.counts)


@pytest.mark.parametrize("names", [1, 3, 200, 254, 255, 300])
@pytest.mark.parametrize("kind", [np.int16, np.int32, np.int64])
def test_codes_are_counted_with_nulls_last(names: int, kind: type) -> None:
    codes = np.random.default_rng(names).integers(-1, names, 10_001).astype(kind)
    expected = [int((codes == code).sum()) for code in [*range(names), -1]]
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
