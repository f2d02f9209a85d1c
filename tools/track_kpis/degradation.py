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
Trend = Literal["worsening", "improving", "steady", "unknown"]

CRITICAL_FACTOR = 2.0
"""Worse than the limit by this factor is critical."""
TREND_READINGS = 3
LASTS = timedelta(days=7)
"""A KPI that has been beyond its limit for a period of its frequency, at most this long, did not slip once."""
HISTORY_READINGS = 12


class Point(BaseModel):
    """An earlier value of a KPI."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    value: float


class Reading(BaseModel):
    """One KPI at one time. `change_pct` is the change from the baseline in percent of it; `severity` is `unknown`, and
    `error` says why, where there is no value. `trend` is over the last three periods, `unknown` where there are fewer;
    `worsening` is that trend. `lasting`: it has been beyond its limit for long enough to be no slip. `history` is one
    value a period, oldest first, this one last."""

    model_config = ConfigDict(frozen=True)

    kpi: str
    value: float | None
    target: float
    baseline: float | None
    direction: Direction
    change_pct: float | None
    severity: Severity
    on_target: bool | None
    trend: Trend = "unknown"
    worsening: bool
    lasting: bool = False
    read_at: datetime
    error: str = ""
    detail: str = ""
    history: tuple[Point, ...] = ()


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
    points = [*past, Point(at=at, value=value)]
    trend = trend_of(points, good, period, limit_pct)
    return Reading.model_validate(
        {
            **common,
            "value": value,
            "change_pct": change,
            "severity": _severity(worse_pct, limit_pct),
            "on_target": value >= kpi.target if good == "higher" else value <= kpi.target,
            "trend": trend,
            "worsening": trend == "worsening",
            "lasting": _lasts(points, baseline, good, min(period, LASTS), limit_pct),
            "history": apart(points, period)[-HISTORY_READINGS:],
        }
    )


def worsened_pct(before: float, value: float, good: Direction) -> float:
    """How much worse, in percent of `before`; negative where better. From zero, infinite where worse at all."""
    worse = before - value if good == "higher" else value - before
    if before == 0:
        return float("inf") if worse > 0 else 0.0
    return worse / abs(before) * 100.0


def apart(points: Sequence[Point], period: timedelta) -> list[Point]:
    """The newest of `points`, and before it one of each period: nightly readings of a weekly KPI are one value."""
    kept: list[Point] = []
    for point in reversed(points):
        if not kept or kept[-1].at - point.at >= period:
            kept.append(point)
    return kept[::-1]


def trend_of(points: Sequence[Point], good: Direction, period: timedelta, limit_pct: float) -> Trend:
    """Whether a KPI went from worse to worse, or from better to better, over its last three readings a period apart,
    by half of `limit_pct` in all."""
    last = apart(points, period)[-TREND_READINGS:]
    if len(last) < TREND_READINGS:
        return "unknown"
    steps = [worsened_pct(a.value, b.value, good) for a, b in pairwise(last)]
    in_all = worsened_pct(last[0].value, last[-1].value, good)
    if all(step > 0 for step in steps) and in_all >= limit_pct / 2:
        return "worsening"
    if all(step < 0 for step in steps) and in_all <= -limit_pct / 2:
        return "improving"
    return "steady"


def _lasts(points: Sequence[Point], baseline: float, good: Direction, span: timedelta, limit_pct: float) -> bool:
    """Whether every reading was beyond the limit since one that is at least `span` old."""
    for point in reversed(points):
        if worsened_pct(baseline, point.value, good) <= limit_pct:
            return False
        if points[-1].at - point.at >= span:
            return True
    return False


def disconnect(readings: Sequence[Reading], green: str | None) -> str:
    """What to tell people where the model's metrics are sound (`green` says by which report) and a KPI worsens all the
    same, over enough readings to be no slip; empty where that is not so. It is for people: a retraining mends a model,
    and the model is not the fault."""
    if green is None:
        return ""
    worse = [each for each in readings if each.worsening or each.lasting]
    if not worse:
        return ""
    numbers = "; ".join(_in_words(each) for each in worse)
    return (
        f"{numbers}, while the model's metrics are sound ({green}). What is done with the predictions, or the business "
        "around them, has changed: this is for people, not for retraining."
    )


def _in_words(reading: Reading) -> str:
    change = "" if reading.change_pct is None else f", {reading.change_pct:+.1f}% from {reading.baseline:g}"
    trend = f", worse in each of its last {TREND_READINGS} periods" if reading.worsening else ""
    return f"{reading.kpi} is {reading.value:.4g}{change}{trend}"


def _severity(worse_pct: float, limit_pct: float) -> Severity:
    if worse_pct == float("inf"):
        return Severity.warning
    if worse_pct > CRITICAL_FACTOR * limit_pct:
        return Severity.critical
    return Severity.warning if worse_pct > limit_pct else Severity.ok
