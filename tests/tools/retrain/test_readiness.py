"""Whether there is anything to learn after the world changed."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from policies.declarations import Severity
from tools.retrain.readiness import NewWorld, drift_began, something_to_learn
from tools.retrain.triggers import DriftSeen

DAY = timedelta(days=1)
BEGAN = datetime(2026, 1, 8)


def _seen(day: int, *, detected: bool = True, broken: bool = False, first: datetime | None = None) -> DriftSeen:
    severity = Severity.critical if detected else Severity.ok
    stale, at = ("stale",) if broken else (), datetime(2026, 1, day)
    return DriftSeen(f"drift-{day}", "LoanDrift", at, detected, severity, stale, first)


def _newest_first(*seen: DriftSeen) -> list[DriftSeen]:
    return sorted(seen, key=lambda each: each.checked_at, reverse=True)


def test_the_unbroken_series_counts() -> None:
    reports = _newest_first(_seen(5), _seen(6, detected=False), _seen(8), _seen(9), _seen(10))
    assert drift_began(reports) == datetime(2026, 1, 8)
    assert drift_began(_newest_first(_seen(9), _seen(10, detected=False))) is None
    assert drift_began([]) is None


def test_one_monitors_quiet_does_not_end_anothers_drift() -> None:
    quiet = [replace(_seen(day, detected=False), monitor="Quiet") for day in (8, 9, 10)]
    assert drift_began(_newest_first(*quiet, _seen(7, detected=False), _seen(8), _seen(9), _seen(10))) == BEGAN
    assert drift_began(_newest_first(*quiet, _seen(9), _seen(10, detected=False))) is None


def test_broken_data_neither_begin_nor_end_a_drift() -> None:
    assert drift_began(_newest_first(_seen(8), _seen(9, broken=True), _seen(10))) == datetime(2026, 1, 8)
    assert drift_began(_newest_first(_seen(8, broken=True), _seen(9))) == datetime(2026, 1, 9)
    assert drift_began(_newest_first(_seen(8), _seen(9, detected=False, broken=True), _seen(10))) == BEGAN


def test_what_the_data_show_counts_before_the_report() -> None:
    assert drift_began([_seen(12, first=BEGAN)]) == BEGAN


def test_too_few_new_rows_are_refused_until_there_will_be_enough() -> None:
    now, train_end = datetime(2026, 1, 23), datetime(2026, 1, 2)
    world = NewWorld(BEGAN, train_end, rows=0, rows_per_day=10_000)
    refused = something_to_learn(world, 5_000, now)
    assert refused is not None
    assert refused.until == datetime(2026, 1, 29, 12)  # half a day of rows after the change, 21 days late
    assert "the drift began on 2026-01-08, and the training window ends before, on 2026-01-02" in refused.reason
    refused = something_to_learn(NewWorld(BEGAN, BEGAN + DAY, 400, 10_000), 5_000, now)
    assert refused is not None
    assert "400 of 5,000 wanted labelled rows lie between 2026-01-08, when the drift began, and" in refused.reason
    assert something_to_learn(NewWorld(BEGAN, train_end, 5_000, 10_000), 5_000, now) is None


def test_the_same_drift_is_worth_another_run_when_its_rows_have_doubled() -> None:
    end = BEGAN + 4 * DAY
    assert something_to_learn(NewWorld(BEGAN, end, 40_000, 10_000, learned_rows=30_000), 5_000, end) is not None
    assert something_to_learn(NewWorld(BEGAN, end, 60_000, 10_000, learned_rows=30_000), 5_000, end) is None


def test_without_rows_nobody_knows_until_when() -> None:
    refused = something_to_learn(NewWorld(BEGAN, BEGAN, 0, 0.0), 5_000, BEGAN)
    assert refused is not None
    assert refused.until is None
