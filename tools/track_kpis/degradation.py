"""Judges KPI values: against target and baseline, over time, and against what the model's own metrics say. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict

from policies.declarations import Severity
from policies.declarations.kpis import Kpi

Direction = Literal["higher", "lower"]

CRITICAL_FACTOR = 2.0
"""Worse than the limit by this factor is critical."""
TREND_READINGS = 3


class Reading(BaseModel):
    """One KPI at one time. `change_pct` is the change from the baseline in percent of it; `severity` is `unknown`, and
    `error` says why, where there is no value. `worsening`: each of the last periods was worse than the one before."""

    model_config = ConfigDict(frozen=True)

    kpi: str
    value: float | None
    target: float
    baseline: float | None
    direction: Direction
    change_pct: float | None
    severity: Severity
    on_target: bool | None
    worsening: bool
    read_at: datetime
    error: str = ""
    detail: str = ""


class Point(BaseModel):
    """An earlier value of a KPI."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    value: float


def direction(kpi: Kpi, baseline: float | None) -> Direction:
    """Which way is good: as declared, else from the baseline towards the target, else up."""
    if kpi.direction is not None:
        return kpi.direction
    return "lower" if baseline is not None and kpi.target < baseline else "higher"


def judge(
    kpi: Kpi, value: float | None, error: str, past: Sequence[Point], at: datetime, limit_pct: float, period: timedelta
) -> Reading:
    """A reading: `past` are earlier values, oldest first; `limit_pct` how much worse than the baseline is a warning.

    The baseline is the declared one, else the first value ever read. A baseline of zero has no percentages: any
    worsening from it is a warning.
    """
    first = past[0].value if past else value
    baseline = kpi.baseline if kpi.baseline is not None else first
    good = direction(kpi, kpi.baseline)
    common = {"kpi": kpi.name, "target": kpi.target, "baseline": baseline, "direction": good, "read_at": at}
    if value is None:
        return Reading.model_validate(
            {
                **common,
                "value": None,
                "change_pct": None,
                "severity": Severity.unknown,
                "on_target": None,
                "worsening": False,
                "error": error,
                "detail": error,
            }
        )
    assert baseline is not None
    worse_pct = worsened_pct(baseline, value, good)
    change = None if baseline == 0 else (value - baseline) / abs(baseline) * 100.0
    return Reading.model_validate(
        {
            **common,
            "value": value,
            "change_pct": change,
            "severity": _severity(worse_pct, limit_pct),
            "on_target": value >= kpi.target if good == "higher" else value <= kpi.target,
            "worsening": worsens([*past, Point(at=at, value=value)], good, period, limit_pct),
        }
    )


def worsened_pct(before: float, value: float, good: Direction) -> float:
    """How much worse, in percent of `before`; negative where better. From zero, infinite where worse at all."""
    worse = before - value if good == "higher" else value - before
    if before == 0:
        return float("inf") if worse > 0 else 0.0
    return worse / abs(before) * 100.0


def worsens(points: Sequence[Point], good: Direction, period: timedelta, limit_pct: float) -> bool:
    """Whether a KPI went from worse to worse over its last three readings, by half of `limit_pct` in all.

    Of readings within one period of the KPI's frequency only the newest counts: nightly readings of a weekly KPI
    would see a trend in noise.
    """
    apart: list[Point] = []
    for point in reversed(points):
        if not apart or apart[-1].at - point.at >= period:
            apart.append(point)
    last = apart[:TREND_READINGS][::-1]
    if len(last) < TREND_READINGS:
        return False
    steps = [worsened_pct(a.value, b.value, good) for a, b in pairwise(last)]
    return all(step > 0 for step in steps) and worsened_pct(last[0].value, last[-1].value, good) >= limit_pct / 2


def disconnect(readings: Sequence[Reading], green: str | None) -> str:
    """What to tell people where the model's metrics are sound (`green` says by which report) and a KPI worsens all the
    same; empty where that is not so. It is for people: a retraining mends a model, and the model is not the fault."""
    if green is None:
        return ""
    worse = [each for each in readings if each.worsening or each.severity in (Severity.warning, Severity.critical)]
    if not worse:
        return ""
    numbers = "; ".join(_in_words(each) for each in worse)
    return (
        f"{numbers}, while the model's metrics are sound ({green}). What is done with the predictions, or the business "
        "around them, has changed: this is for people, not for retraining."
    )


def _in_words(reading: Reading) -> str:
    change = "" if reading.change_pct is None else f", {reading.change_pct:+.1f}% from {reading.baseline:g}"
    trend = f", worse in each of its last {TREND_READINGS} readings" if reading.worsening else ""
    return f"{reading.kpi} is {reading.value:.4g}{change}{trend}"


def _severity(worse_pct: float, limit_pct: float) -> Severity:
    if worse_pct == float("inf"):
        return Severity.warning
    if worse_pct > CRITICAL_FACTOR * limit_pct:
        return Severity.critical
    return Severity.warning if worse_pct > limit_pct else Severity.ok
