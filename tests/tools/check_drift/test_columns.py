"""Columns of odd kinds: read as what they are, or refused in one line that names the column."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from policies.errors import InputError
from tools.check_drift import compare, profile
from tools.check_drift.categorical import CategorySummary
from tools.check_drift.numeric import NumericSummary
from tools.check_drift.profiles import Summary

REFUSED: dict[str, tuple[Any, str]] = {
    "a single value": ({"a": 5}, "column 'a' cannot be read: it is a single value, and must be a list or an array"),
    "no value": ({"a": None}, "column 'a' cannot be read: it is a single value"),
    "other lengths": ({"a": [1, 2], "b": [1]}, "columns of different lengths are no table: 'a' has 2, 'b' has 1"),
    "the same name twice": (
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        "column 'a' occurs more than once",
    ),
    "1 and '1'": (pd.DataFrame([[1, 2]], columns=[1, "1"]), "column '1' occurs more than once"),
    "twice in Arrow": (pa.table([[1], [2]], names=["a", "a"]), "column 'a' occurs more than once"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_table_is_refused(case: str) -> None:
    data, told = REFUSED[case]
    with pytest.raises(InputError) as caught:
        profile(data)
    assert str(caught.value).startswith(told)


def only(values: Any, **options: Any) -> Summary:
    return profile({"a": values}, **options).columns["a"]


def numeric(values: Any) -> NumericSummary:
    found = only(values)
    assert isinstance(found, NumericSummary)
    return found


def named(values: Any, **options: Any) -> tuple[dict[str, int], int]:
    found = only(values, **options)
    assert isinstance(found, CategorySummary)
    return found.counts, found.nulls


def test_numbers_beyond_every_width_are_numbers() -> None:
    assert numeric([2**70, None, 1]).maximum == 2.0**70
    assert numeric([2**70, None, 1]).nulls == 1
    assert numeric([Decimal("Infinity"), Decimal("1.5")]).pos_inf == 1


def test_times_beyond_every_calendar_are_numbers() -> None:
    """No unit is turned into another, in which it would wrap around."""
    far = [0, 2**62]
    tables: list[Any] = [{"a": pa.array(far, pa.timestamp("s"))}, {"a": np.array(far, dtype="datetime64[s]")}]
    tables += [{"a": pa.array(far, pa.duration("s"))}, pa.table({"a": pa.array(far, pa.timestamp("s"))})]
    for table in tables:
        column = profile(table).columns["a"]
        assert isinstance(column, NumericSummary)
        assert (column.minimum, column.maximum) == (0.0, 2.0**62)
    units = [pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us"), pa.timestamp("ns")]
    second = [pa.array([1_700_000_000], units[0]).cast(unit) for unit in units]
    second += [np.array(["2023-11-14T22:13:20"], dtype=f"datetime64[{unit}]") for unit in ("s", "10s", "m", "ns")][:2]
    assert {profile({"a": each}).columns["a"].maximum for each in second} == {1.7e9}  # type: ignore[union-attr]
    day = profile({"a": pa.array([19_675], pa.date32())}).columns["a"]
    assert isinstance(day, NumericSummary) and day.maximum == 19_675 * 86_400.0


def test_odd_text_is_text() -> None:
    assert named(["\ud800", "b"]) == ({"\\ud800": 1, "b": 1}, 0)
    assert named(pd.Series(["\ud800", None], dtype=object)) == ({"\\ud800": 1}, 1)
    binary = profile(pa.table({"a": pa.array([b"\xff", b"b", None])})).columns["a"]
    assert binary == CategorySummary({"\\xff": 1, "b": 1}, 0, 1)
    assert named([[1, 2], [3], None]) == ({"[1, 2]": 1, "[3]": 1}, 1)
    assert named([True, 2, None]) == ({"2": 1, "true": 1}, 1)


def test_what_is_masked_is_null() -> None:
    assert numeric(np.ma.masked_array([1.0, 2.0, 3.0], [0, 1, 0])).nulls == 1
    assert named(np.ma.masked_array(["a", "b"], [0, 1])) == ({"a": 1}, 1)


def test_a_null_in_a_dictionary_is_null() -> None:
    array = pa.DictionaryArray.from_arrays(pa.array([0, 1, 1, None]), pa.array(["a", None]))
    assert profile(pa.table({"a": array})).columns["a"] == CategorySummary({"a": 1}, 0, 3)


def test_codes_keep_all_their_digits() -> None:
    codes = [2**53, 2**53 + 1, -(2**62), None]
    assert (
        set(profile(pd.DataFrame({"a": pd.array(codes, "Int64")}), categorical=["a"]).columns["a"].counts)
        == {  # type: ignore[union-attr]
            str(code) for code in codes[:3]
        }
    )
    for values in (np.array(codes[:3]), codes):
        assert set(named(values, categorical=["a"])[0]) == {str(code) for code in codes[:3]}
    assert named([1.0, 2.5, float("nan")], categorical=["a"]) == ({"1": 1, "2.5": 1}, 1)
    assert named(np.array([1, 1, 2]), categorical=["a"]) == ({"1": 2, "2": 1}, 0)


def test_categories_of_numbers_are_those_of_their_own_file(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": pd.Categorical([1, 2, 2, None]), "b": pd.Categorical([True, False, None, True])})
    frame.to_parquet(tmp_path / "a.parquet")
    for before, after in ((frame, tmp_path / "a.parquet"), (tmp_path / "a.parquet", frame)):
        assert [change.psi for change in compare(before, after)] == [0.0, 0.0]
    plain = pd.DataFrame({"a": [1, 2, 2, np.nan], "b": [True, False, None, True]})
    assert [change.psi for change in compare(frame, plain)] == [0.0, 0.0]


def test_a_damaged_page_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": np.random.default_rng(1).normal(size=5000)}), path, use_dictionary=False)
    data = bytearray(path.read_bytes())
    data[4:2000] = b"\xff" * 1996
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.parquet: column 'a' cannot be read: "):
        profile(path)


def test_a_file_whose_name_looks_like_a_pattern_is_itself(tmp_path: Path) -> None:
    for name, value in (("w[1].parquet", 1.0), ("w1.parquet", 2.0)):
        pq.write_table(pa.table({"a": [value]}), tmp_path / name)
    assert profile(tmp_path / "w[1].parquet").columns["a"].maximum == 1.0  # type: ignore[union-attr]


@pytest.mark.parametrize("values", [[1.7e9, 1.7e9 + 1000], ["x", "y"], [1, 2], [True, False]])
def test_a_file_of_nulls_says_nothing_of_the_rest(tmp_path: Path, values: list[Any]) -> None:
    for name, part in (("1", pa.nulls(3)), ("2", pa.array(values)), ("3", pa.array([None], pa.string()))):
        pq.write_table(pa.table({"a": part}), tmp_path / f"{name}.parquet")
    whole = profile(pa.table({"a": pa.array([None] * 4 + values)}))
    seen = profile(tmp_path)
    assert type(seen.columns["a"]) is type(whole.columns["a"])
    assert [change.psi for change in compare(whole, seen)] == [0.0]
    if isinstance(seen.columns["a"], NumericSummary):
        assert seen.columns["a"].std == whole.columns["a"].std  # type: ignore[union-attr]
    nothing = profile({"a": [float("nan")] * 4})
    assert [change.psi for change in compare(whole, nothing + profile({"a": values}, like=nothing))] == [0.0]


def test_an_unknown_column_is_named() -> None:
    with pytest.raises(InputError, match="no column 'b' in the baseline; present: a"):
        compare({"a": [1.0]}, {"a": [1.0]}, columns=["b"])
