"""Judging KPI values: direction, baseline, severity, trend and the disconnect."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from policies.declarations.kpis import Kpi
from tools.track_kpis.degradation import Point, Reading, direction, disconnect, judge, trend_of

NOW = datetime(2026, 2, 2)
WEEK = timedelta(days=7)


def kpi(**given: object) -> Kpi:
    return Kpi.model_validate({"name": "k", "query": "SELECT 1", "target": 0.08, "frequency": "weekly", **given})


def reading(value: float | None, past: list[float] | None = None, **given: object) -> Reading:
    values = past or []
    points = [Point(at=NOW - (len(values) - i) * WEEK, value=v) for i, v in enumerate(values)]
    return judge(kpi(**given), value, "" if value is not None else "no table", points, NOW, 10.0, WEEK)


@pytest.mark.parametrize(
    ("given", "good"),
    [
        ({"baseline": 0.14}, "lower"),
        ({"baseline": 0.05}, "higher"),
        ({}, "higher"),
        ({"direction": "lower"}, "lower"),
        ({"direction": "higher", "baseline": 0.14}, "higher"),
    ],
)
def test_direction(given: dict[str, object], good: str) -> None:
    declared = kpi(**given)
    assert direction(declared, declared.baseline) == good


@pytest.mark.parametrize(
    ("value", "severity", "change", "on_target"),
    [
        (0.14, "ok", 0.0, False),
        (0.154, "ok", 10.0, False),
        (0.16, "warning", 14.29, False),
        (0.175, "critical", 25.0, False),
        (0.07, "ok", -50.0, True),
    ],
)
def test_severity_of_a_rate_that_should_fall(value: float, severity: str, change: float, on_target: bool) -> None:
    found = reading(value, baseline=0.14)
    assert (found.severity, found.on_target) == (severity, on_target)
    assert found.change_pct == pytest.approx(change, abs=0.01)


def test_the_first_reading_is_the_baseline_where_none_is_declared() -> None:
    assert reading(5.2, target=5.0).baseline == 5.2
    later = reading(4.0, [5.0, 4.9], target=5.0)
    assert (later.baseline, later.severity) == (5.0, "warning")


def test_no_value_is_unknown_and_never_ok() -> None:
    found = reading(None, baseline=0.14)
    assert (found.severity, found.on_target, found.error) == ("unknown", None, "no table")


def test_from_a_baseline_of_zero_any_worsening_is_a_warning() -> None:
    assert reading(-1.0, baseline=0.0, direction="higher").severity == "warning"
    assert reading(1.0, baseline=0.0, direction="higher").change_pct is None


def test_a_trend_takes_three_readings_a_period_apart_and_some_size() -> None:
    def points(*values: float, apart: timedelta = WEEK) -> list[Point]:
        return [Point(at=NOW + i * apart, value=v) for i, v in enumerate(values)]

    def trend(*values: float, apart: timedelta = WEEK) -> str:
        return trend_of(points(*values, apart=apart), "higher", WEEK, 10.0)

    assert trend(5.0, 4.8, 4.6) == "worsening"
    assert trend(4.6, 4.8, 5.0) == "improving"
    assert trend(5.0, 4.8) == "unknown"
    assert trend(5.0, 5.1, 4.6) == "steady"
    assert trend(5.0, 4.99, 4.98) == "steady"
    assert trend(5.0, 4.8, 4.6, apart=timedelta(days=1)) == "unknown"
    assert trend(*[5.0 - 0.03 * i for i in range(20)], apart=timedelta(days=1)) == "worsening"


def test_the_history_has_a_value_a_period() -> None:
    found = reading(5.0, [4.0 + i / 10 for i in range(20)])
    assert len(found.history) == 12
    assert [found.history[-2].value, found.history[-1].value] == [5.9, 5.0]


def test_the_disconnect_is_named_only_where_the_model_is_known_to_be_sound() -> None:
    fine, worse = reading(0.10, baseline=0.14), reading(0.17, [0.16], baseline=0.14)
    assert disconnect([fine, reading(0.17, [0.14], baseline=0.14)], "drift-7") == "", "it slipped once"
    assert disconnect([worse], None) == ""
    said = disconnect([fine, worse], "drift-7")
    assert "k is 0.17, +21.4% from 0.14" in said
    assert "drift-7" in said
    assert "not for retraining" in said
