"""The four triggers, from evidence to fired or refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policies.declarations import Severity
from policies.declarations.training import DecayTrigger, DriftTrigger, ScheduledTrigger, VolumeTrigger
from tests.tools.retrain.tiny_world import FIRST, MODEL, PIPELINE
from tools.retrain import triggers
from tools.retrain.case import Case
from tools.retrain.triggers import DriftSeen, Fired, Performance, Refused
from tools.systems.systems import Systems

NOW = datetime(2026, 2, 1, 3, 0)  # a Sunday
DRIFT = DriftTrigger(type="drift_detected", source="ChurnDrift", min_severity="warning")
DECAY = DecayTrigger(type="performance_decay", metric="auc_roc", threshold=0.80, window="7d")
WEEKLY = ScheduledTrigger(type="scheduled", cron="0 2 * * 0", always_run=False)
VOLUME = VolumeTrigger(type="data_volume", min_new_labels=1000, label_table="ml_labels.churn_actuals")


def _seen(severity: Severity, detected: bool = True) -> DriftSeen:
    return DriftSeen("drift-1", "LoanDrift", NOW, detected, severity)


def test_drift_fires_at_its_severity() -> None:
    assert isinstance(triggers.drift_detected(DRIFT, _seen(Severity.warning)), Fired)
    only_critical = DRIFT.model_copy(update={"min_severity": "critical"})
    refused = triggers.drift_detected(only_critical, _seen(Severity.warning))
    assert isinstance(refused, Refused)
    assert refused.rule == "severity"


def test_without_drift_or_report_nothing_fires() -> None:
    for report in (None, _seen(Severity.ok, detected=False), _seen(Severity.unknown)):
        assert isinstance(triggers.drift_detected(DRIFT, report), Refused)


def test_decay_is_against_an_absolute_threshold() -> None:
    def outcome(value: float | None) -> Fired | Refused:
        return triggers.performance_decay(DECAY, Performance("auc_roc", value, 5000))

    assert isinstance(outcome(0.79), Fired)
    assert isinstance(outcome(0.80), Refused)
    unknown = outcome(None)
    assert isinstance(unknown, Refused)
    assert unknown.rule == "no_labels"
    loss = DECAY.model_copy(update={"metric": "log_loss", "threshold": 0.3})
    assert isinstance(triggers.performance_decay(loss, Performance("log_loss", 0.4, 9), higher=False), Fired)


def test_the_schedule_counts_sunday_as_zero() -> None:
    fired = triggers.scheduled(WEEKLY, datetime(2026, 1, 30), True, NOW)
    assert isinstance(fired, Fired)
    assert "2026-02-01 02:00" in fired.reason
    refused = triggers.scheduled(WEEKLY, datetime(2026, 2, 1, 2, 30), True, NOW)
    assert isinstance(refused, Refused)
    assert refused.until == datetime(2026, 2, 8, 2, 0)


def test_a_tick_due_this_very_second_counts() -> None:
    assert isinstance(triggers.scheduled(WEEKLY, datetime(2026, 1, 31), True, datetime(2026, 2, 1, 2, 0)), Fired)


def test_a_quiet_week_skips_the_schedule_unless_it_always_runs() -> None:
    refused = triggers.scheduled(WEEKLY, datetime(2026, 1, 30), False, NOW)
    assert isinstance(refused, Refused)
    assert refused.rule == "no_drift"
    always = WEEKLY.model_copy(update={"always_run": True})
    assert isinstance(triggers.scheduled(always, datetime(2026, 1, 30), False, NOW), Fired)


@given(hours=st.integers(0, 24 * 60), last=st.integers(0, 24 * 60))
def test_one_tick_starts_one_run(hours: int, last: int) -> None:
    now, started = NOW + timedelta(hours=hours), NOW + timedelta(hours=last)
    if started <= now and isinstance(triggers.scheduled(WEEKLY, started, True, now), Fired):
        assert isinstance(triggers.scheduled(WEEKLY, now, True, now), Refused)


@pytest.mark.parametrize(("labels", "fires"), [(999, False), (1000, True)])
def test_volume(labels: int, fires: bool) -> None:
    assert isinstance(triggers.data_volume(VOLUME, labels), Fired) is fires


def test_the_drift_of_a_version_that_serves_no_longer_triggers_nothing(opened: Callable[[str], Systems]) -> None:
    systems = opened("home")
    assert Case.open(systems, PIPELINE).ask(None)[-1].fired
    systems.traffic.set(MODEL, "1", at=FIRST, why="adopted", rests_on=None)
    assert Case.open(systems, PIPELINE).ask(None)[-1].fired
    name, features = systems.operations.model(MODEL).registry_name, systems.operations.model(MODEL).features.names
    rows = systems.warehouse.read(systems.operations.model(MODEL).table, features).to_pandas()[:5]
    again = systems.registry.load(name, "1")
    version = systems.registry.register(name, again, example=rows, params={}, metrics={}, tags={}).version
    systems.traffic.set(MODEL, version, at=systems.clock.now() + timedelta(hours=1), why="promoted", rests_on=None)
    case = Case.open(systems, PIPELINE)
    assert case.seen == []
    told = case.ask(None)[0].reason
    assert told == (
        f"a look as of 2026-02-14 00:00 ({case.earlier[0].report_id}) starts no training: "
        "what serves now began on 2026-02-14 01:00; look again as of now"
    )
