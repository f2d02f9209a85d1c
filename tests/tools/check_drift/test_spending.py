"""A day's false alarms, spent over its looks: never more than the day has, and a first look gets its fair share."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from policies.declarations.drift import DriftMonitor
from tools.check_drift.evidence import DAILY_FALSE_ALARMS
from tools.check_drift.spending import Look, alpha, earlier_looks, share_of_day
from tools.systems.store import Kind, Store

DATA = {"type": "data_drift", "method": "psi", "threshold": 0.2}
FEATURE = {"type": "feature_drift", "method": "psi", "threshold": 0.2}
DECAY = {"type": "concept_drift", "method": "performance_decay", "metric": "auc_roc", "threshold": 0.05}
SCHEMA = {"type": "schema_drift", "method": "contract_validation", "expected_schema": "S", "frequency": "daily"}
PSI, AUC = ("data_drift", "psi"), ("concept_drift", "performance_decay")
NOW = datetime(2026, 1, 20, 2)


def monitor(*checks: dict[str, object]) -> DriftMonitor:
    return DriftMonitor.model_validate({"model": "M", "baseline": {"dataset": "t"}, "monitors": list(checks)})


def level(watched: DriftMonitor, check: int, before: int) -> float:
    declared = watched.monitors[check]
    return alpha(watched, declared, [frozenset({(declared.type, declared.method)})] * before)


@pytest.mark.parametrize("planned", [1, 2, 24, 1440])
def test_a_day_of_looks_never_spends_more_than_the_day_has(planned: int) -> None:
    shares = [share_of_day(planned, before) for before in range(5000)]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares[:planned]) == pytest.approx(0.9)
    assert sum(shares) <= 1
    assert shares[0] >= 0.5
    assert min(shares[:planned]) >= 0.4 / planned * shares[0]


def test_a_look_that_stays_alone_keeps_nearly_all_of_its_day() -> None:
    assert share_of_day(1, 0) == pytest.approx(0.9)


def test_each_check_spends_by_its_own_frequency_whatever_stands_beside_it() -> None:
    """A run makes all checks of a monitor: a daily check beside an hourly one is looked at 24 times."""
    both = monitor(DATA | {"frequency": "hourly"}, DECAY | {"frequency": "daily"}, SCHEMA)
    assert level(both, 1, 0) == pytest.approx(0.9 * DAILY_FALSE_ALARMS / 2)
    assert level(both, 0, 0) > DAILY_FALSE_ALARMS / 4
    assert level(both, 0, 23) == level(both, 0, 1) > 10 * level(both, 1, 23)
    assert sum(level(both, check, before) for check in (0, 1) for before in range(3000)) <= DAILY_FALSE_ALARMS


def test_the_correlations_of_a_feature_drift_are_a_test_of_their_own() -> None:
    daily = {"frequency": "daily"}
    assert level(monitor(FEATURE | daily), 0, 0) == pytest.approx(0.9 * DAILY_FALSE_ALARMS / 2)
    alone = monitor(FEATURE | daily | {"method": "correlation"})
    assert level(alone, 0, 0) == pytest.approx(0.9 * DAILY_FALSE_ALARMS)


@pytest.mark.parametrize(
    ("frequency", "looks"),
    [("0 * * * *", 24), ("*/10 8-17 * * 1-5", 60), ("0 2 * * 0", 1), ("* * * * *", 1440), ("on_ingestion", 1)],
)
def test_a_cron_expression_plans_the_looks_of_its_day(frequency: str, looks: int) -> None:
    watched = monitor(DATA | {"frequency": frequency})
    assert level(watched, 0, 0) == pytest.approx(DAILY_FALSE_ALARMS * (0.5 + 0.4 / looks))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'state.db'}")
    yield opened
    opened.close()


def report(store: Store, at: datetime, judged: Look, name: str = "Drift") -> None:
    checks = [{"type": kind, "method": method, "value": 0.1} for kind, method in sorted(judged)]
    checks.append({"type": "label_drift", "method": "class_balance", "value": None})
    store.add(Kind.drift_report, "M", {"monitor": name, "checks": checks}, at=at)


def test_what_a_look_could_not_judge_it_did_not_spend(store: Store) -> None:
    systems: Any = SimpleNamespace(store=store)
    report(store, NOW - timedelta(hours=1), frozenset({AUC}))
    report(store, NOW - timedelta(days=1), frozenset({PSI, AUC}))
    report(store, NOW - timedelta(hours=2), frozenset({PSI}), name="Another")
    watched = monitor(DATA | {"frequency": "daily"}, DECAY | {"frequency": "daily"})
    earlier = earlier_looks(systems, "Drift", "M", NOW)
    assert earlier == [frozenset({AUC})]
    data, decay = (alpha(watched, declared, earlier) for declared in watched.monitors)
    assert data == pytest.approx(0.9 * DAILY_FALSE_ALARMS / 2)
    assert decay == pytest.approx(0.05 * DAILY_FALSE_ALARMS / 2)


def test_looks_count_in_the_order_they_were_made_and_the_same_time_again_is_none(store: Store) -> None:
    systems: Any = SimpleNamespace(store=store)
    for hour in (9, 5, 5, 1, 12):
        report(store, NOW.replace(hour=hour), frozenset({PSI}))
    made = {hour: len(earlier_looks(systems, "Drift", "M", NOW.replace(hour=hour))) for hour in (9, 5, 1, 12, 13)}
    assert made == {9: 0, 5: 1, 1: 2, 12: 3, 13: 4}
