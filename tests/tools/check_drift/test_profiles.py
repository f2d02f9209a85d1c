"""Profiles: every input is read alike, they add up, and survive being stored."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from policies.errors import InputError
from tools.check_drift import Profile, compare, profile


def table(rows: int = 3000) -> pd.DataFrame:
    random = np.random.default_rng(9)
    frame = pd.DataFrame(
        {
            "number": random.normal(size=rows),
            "count": random.integers(0, 9, rows),
            "city": random.choice(["Oslo", "Bonn", "Lima"], rows),
            "flag": random.random(rows) < 0.2,
            "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(random.integers(0, 86400, rows), unit="s"),
        }
    )
    frame.loc[::7, "number"] = np.nan
    frame.loc[::5, "city"] = None
    return frame


def test_pandas_arrow_and_parquet_give_the_same_profile(tmp_path: Path) -> None:
    frame = table()
    arrow = pa.Table.from_pandas(frame)
    pq.write_table(arrow, tmp_path / "whole.parquet")
    seen = profile(frame)
    assert seen.digest == profile(arrow).digest
    assert seen.rows == 3000
    stored = profile(tmp_path / "whole.parquet")
    assert [change.psi for change in compare(seen, stored)] == [0.0] * 5


def test_parts_add_up(tmp_path: Path) -> None:
    frame = table()
    for number, part in enumerate(np.array_split(np.arange(3000), 4)):
        pq.write_table(pa.Table.from_pandas(frame.iloc[part]), tmp_path / f"{number}.parquet")
    whole = profile(frame)
    parts = [profile(frame.iloc[part], like=whole) for part in np.array_split(np.arange(3000), 4)]
    added = parts[0] + parts[1] + parts[2] + parts[3]
    streamed = profile(tmp_path)
    for each in (added, streamed, profile(str(tmp_path / "*.parquet"))):
        assert each.rows == 3000
        assert [change.psi for change in compare(whole, each)] == [0.0] * 5


def test_a_stored_profile_is_the_same(tmp_path: Path) -> None:
    whole = profile(table().assign(none=np.nan))
    whole.save(tmp_path / "deep" / "baseline.npz")
    loaded = Profile.load(tmp_path / "deep" / "baseline.npz")
    assert loaded.digest == whole.digest
    assert loaded.rows == 3000
    (change,) = compare(loaded, {"none": [1.0, 2.0]}, columns=["none"])
    assert change.null_change == 1.0


def test_damaged_or_absent_files_are_input_errors(tmp_path: Path) -> None:
    (tmp_path / "broken.npz").write_bytes(b"PK no")
    for name in ("broken.npz", "absent.npz"):
        with pytest.raises(InputError):
            Profile.load(tmp_path / name)
    with pytest.raises(InputError, match="no such Parquet"):
        profile(tmp_path / "nothing.parquet")


def test_what_cannot_be_profiled_says_so() -> None:
    with pytest.raises(InputError, match="cannot profile int"):
        profile(3)
    with pytest.raises(InputError, match="no column 'absent'"):
        profile(table(), columns=["absent"])
    with pytest.raises(InputError, match="different columns"):
        profile(table()) + profile(table()[["number"]])


def test_odd_columns_are_read() -> None:
    frame = pd.DataFrame(
        {
            "mixed": pd.Series([1, "two", None, 3.5], dtype=object),
            "nullable": pd.array([1, None, 3, 4], dtype="Int64"),
            "empty": [None, None, None, None],
            "lists": [[1], [2], None, [1]],
            "category": pd.Categorical(["a", "b", None, "a"]),
        }
    )
    seen = profile(frame)
    assert seen.columns["nullable"].nulls == 1
    assert seen.columns["empty"].nulls == 4
    assert seen.columns["mixed"].nulls == 1
    assert seen.columns["category"].nulls == 1
    assert seen.columns["lists"].rows == 4


def test_the_library_is_cheap_to_import() -> None:
    heavy = "'pandas', 'scipy', 'pyarrow', 'sklearn'"
    code = f"import sys, tools.check_drift; print([m for m in ({heavy}) if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_cut_off_or_changed_file_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "baseline.npz"
    profile(table()).save(path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 997):
        path.write_bytes(whole[:place])
        with pytest.raises(InputError, match="not a readable profile"):
            Profile.load(path)
        path.write_bytes(whole[:place] + b"\xff" * 40 + whole[place + 40 :])
        try:
            Profile.load(path)
        except InputError as error:
            assert "not a readable profile" in error.message


def far(random: np.random.Generator, rows: int, shift: float = 0.0) -> dict[str, Any]:
    """Never, or seconds since 1970: most rows in one histogram bin around 0."""
    return {"x": np.where(random.random(rows) < 0.6, 0.0, random.normal(1.7e9 + shift, 1000, rows))}


def test_rows_far_off_and_close_together_are_told_apart(tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    before, after = far(random, 9000), far(random, 9000, 3000)
    baseline = profile(before)
    baseline.save(tmp_path / "b.npz")
    stored = Profile.load(tmp_path / "b.npz")
    assert stored.digest == baseline.digest
    (once,) = compare(stored, after)
    assert once.psi > 1.5 and once.ks > 0.3
    hours = [profile({"x": part}, like=stored) for part in np.array_split(after["x"], 5)]
    (added,) = compare(stored, hours[0] + hours[1] + hours[2] + hours[3] + hours[4])
    assert (added.psi, added.ks, added.ks_bound) == (once.psi, once.ks, once.ks_bound)
    # Hours taken alike are a baseline as good.
    past = [profile({"x": part}, like=stored) for part in np.array_split(before["x"], 3)]
    (summed,) = compare(past[0] + past[1] + past[2], hours[0] + hours[1] + hours[2] + hours[3] + hours[4])
    assert summed.psi == pytest.approx(once.psi, rel=1e-3) and summed.ks == pytest.approx(once.ks, abs=0.005)


def test_sums_that_were_not_taken_alike_say_how_little_they_know() -> None:
    random = np.random.default_rng(3)
    parts = [profile(far(random, 4000)) for _ in range(2)]
    (change,) = compare(parts[0] + parts[1], far(random, 4000, 3000))
    assert change.ks < 0.02 and change.ks_bound > 0.3
