"""When checks are due."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from policies.declarations.base import frequency_period
from policies.declarations.drift import DataDrift
from policies.monitoring import due, last_tick

MONDAY = datetime(2026, 1, 19)


@pytest.mark.parametrize(
    "frequency", ["hourly", "daily", "weekly", "monthly", "quarterly", "*/15 * * * *", "0 2 * * 0"]
)
def test_what_never_ran_is_due_once_a_tick(frequency: str) -> None:
    declared = DataDrift(type="data_drift", method="psi", threshold=0.2, frequency=frequency)
    now = MONDAY + timedelta(hours=5, minutes=7)
    assert due(declared.frequency, None, now, new_rows=False)
    tick = last_tick(frequency, now)
    assert tick <= now
    assert not due(frequency, tick, now, new_rows=True)
    assert due(frequency, tick - timedelta(seconds=1), now, new_rows=False)


@pytest.mark.parametrize(
    ("frequency", "tick"),
    [
        ("hourly", datetime(2026, 1, 21, 5)),
        ("daily", datetime(2026, 1, 21)),
        ("weekly", MONDAY),
        ("30 2 * * *", datetime(2026, 1, 21, 2, 30)),
        ("0 2 * * 0", datetime(2026, 1, 18, 2)),
    ],
)
def test_ticks_lie_on_the_clock(frequency: str, tick: datetime) -> None:
    assert last_tick(frequency, datetime(2026, 1, 21, 5, 59, 59)) == tick
    assert last_tick(frequency, tick) == tick


def test_a_late_run_does_not_put_off_the_next() -> None:
    assert due("daily", MONDAY + timedelta(seconds=30), MONDAY + timedelta(days=1), new_rows=False)


def test_on_ingestion_is_new_rows_and_nothing_else() -> None:
    assert due("on_ingestion", MONDAY, MONDAY + timedelta(minutes=1), new_rows=True)
    assert not due("on_ingestion", MONDAY, MONDAY + timedelta(days=9), new_rows=False)
    assert not due("on_ingestion", None, MONDAY, new_rows=False)


def test_a_look_back_is_never_due() -> None:
    assert not due("hourly", MONDAY, MONDAY - timedelta(days=2), new_rows=True)
    assert not due("on_ingestion", MONDAY, MONDAY - timedelta(days=2), new_rows=True)


def test_a_check_without_a_window_looks_at_one_period() -> None:
    assert frequency_period("hourly") == timedelta(hours=1)
    assert frequency_period("on_ingestion") == frequency_period("0 2 * * *") == timedelta(days=1)
