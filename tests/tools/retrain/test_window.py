"""Data windows and the split in time."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.errors import InputError
from tools.retrain.window import TemporalSplit, temporal_split, window_start

FIRST = datetime(2024, 1, 1)
HOLDOUT = datetime(2026, 1, 11)


def test_windows() -> None:
    assert window_start("rolling_12_months", datetime(2026, 1, 11)) == datetime(2025, 1, 11)
    assert window_start("rolling_1_months", datetime(2026, 3, 31)) == datetime(2026, 2, 28)
    assert window_start("rolling_12_months", datetime(2024, 2, 29)) == datetime(2023, 2, 28)
    assert window_start("rolling_1_months", datetime(2026, 1, 15)) == datetime(2025, 12, 15)
    assert window_start("rolling_90_days", datetime(2026, 4, 1)) == datetime(2026, 1, 1)
    assert window_start("expanding", HOLDOUT) is None
    with pytest.raises(InputError, match="rolling_N_days"):
        window_start("last_week", HOLDOUT)


def test_validation_is_the_last_week_before_the_holdout() -> None:
    split = temporal_split("rolling_12_months", FIRST, HOLDOUT)
    assert (split.start, split.cut, split.end) == (datetime(2025, 1, 11), datetime(2026, 1, 4), HOLDOUT)


def test_after_a_change_both_sides_of_the_cut_know_the_new_world() -> None:
    changed = datetime(2026, 1, 8)
    split = temporal_split("rolling_12_months", FIRST, HOLDOUT, changed)
    assert split.cut == datetime(2026, 1, 10)
    assert temporal_split("rolling_12_months", FIRST, HOLDOUT, HOLDOUT).cut == datetime(2026, 1, 4)
    assert temporal_split("rolling_12_months", FIRST, HOLDOUT, FIRST).cut == datetime(2026, 1, 4)


@given(days=st.floats(0.01, 800), change=st.one_of(st.none(), st.floats(-10, 900)), window=st.integers(1, 400))
def test_no_split_ever_leaks(days: float, change: float | None, window: int) -> None:
    first = HOLDOUT - timedelta(days=days)
    changed = None if change is None else first + timedelta(days=change)
    for declared in (f"rolling_{window}_days", "expanding"):
        split = temporal_split(declared, first, HOLDOUT, changed)
        assert split.start is None or split.start < split.cut
        assert split.cut < split.end <= split.holdout_start == HOLDOUT
        assert first < split.cut


def test_a_leak_is_an_error() -> None:
    with pytest.raises(InputError, match="follow each other"):
        TemporalSplit(FIRST, datetime(2026, 1, 5), datetime(2026, 1, 12), HOLDOUT)
    with pytest.raises(InputError, match="no row lies before"):
        temporal_split("expanding", HOLDOUT, HOLDOUT)


def test_rows_are_cut_where_validation_begins() -> None:
    split = TemporalSplit(None, HOLDOUT - timedelta(days=7), HOLDOUT, HOLDOUT)
    times = np.array([HOLDOUT - timedelta(days=days) for days in (20, 8, 7, 6, 1)], dtype="datetime64[us]")
    assert split.place_of_cut(times) == 2


@pytest.mark.parametrize(
    ("days_before", "told"),
    [
        ((20, 8, 6, 0), "the model would learn what it is judged by"),
        ((20, 8, 3, 6), "the model would learn what it is judged by"),
        ((6, 3, 1), "rows are needed on both sides"),
        ((30, 20, 8), "rows are needed on both sides"),
    ],
)
def test_a_row_on_the_wrong_side_is_a_leak(days_before: tuple[int, ...], told: str) -> None:
    split = TemporalSplit(None, HOLDOUT - timedelta(days=7), HOLDOUT, HOLDOUT)
    times = np.array([HOLDOUT - timedelta(days=days) for days in days_before], dtype="datetime64[us]")
    with pytest.raises(InputError, match=told):
        split.place_of_cut(times)
