"""A KPI between its baseline and its target, with its history where there is one."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from agent.report.model import KpiReading
from agent.report.numbers import day, kpi
from agent.report.plots.canvas import Canvas, Scale, text_width, widened

WIDTH = 232
_LINE = 64
_TREND = 56


def kpi_bullet(reading: KpiReading, *, key: str) -> Markup:
    """The value as a dot on a line with ticks at baseline and target; above it the history, from three points on."""
    points = [(point.at, point.value) for point in reading.history]
    trend = _TREND if len(points) >= 3 else 0
    canvas = Canvas(WIDTH, trend + _LINE, key, f"{reading.kpi} against its target", _described(reading))
    if trend:
        _history(canvas, reading, trend)
    known = [v for v in (reading.value, reading.target, reading.baseline) if v is not None]
    if not known:
        canvas.text(WIDTH / 2, trend + 30, "no reading", "mute", "middle")
        return canvas.svg()
    x = Scale(*widened(known, least=_least(known), margin=0.14), 4, WIDTH - 4)
    up = trend + 30
    canvas.line(4, up, WIDTH - 4, up, "rail")
    if reading.target is not None:
        good = WIDTH - 4 if reading.direction == "higher" else 4
        canvas.line(x(reading.target), up, good, up, "rail good")
        canvas.line(x(reading.target), up - 12, x(reading.target), up + 12, "tick")
        _named(canvas, x(reading.target), up + 27, f"target {kpi(reading.target, reading.percent)}")
    if reading.baseline is not None:
        canvas.line(x(reading.baseline), up - 6, x(reading.baseline), up + 6, "base tickmark")
        _named(canvas, x(reading.baseline), up - 14, f"baseline {kpi(reading.baseline, reading.percent)}")
    if reading.value is not None:
        canvas.circle(x(reading.value), up, 6.5, "now dot", kpi(reading.value, reading.percent))
    return canvas.svg()


def _least(values: Sequence[float]) -> float:
    """The least range drawn: a tenth of the values' size, so that a change of a fraction of a percent looks small."""
    return max((abs(value) for value in values), default=0.0) / 10


def _named(canvas: Canvas, left: float, up: float, label: str) -> None:
    half = text_width(label) / 2
    canvas.text(min(max(left, half), WIDTH - half), up, label, "mute halo", "middle")


def _history(canvas: Canvas, reading: KpiReading, height: float) -> None:
    first, last = reading.history[0], reading.history[-1]
    length = max((last.at - first.at).total_seconds(), 1.0)
    x = Scale(0, length, 5, WIDTH - 8)
    values = [point.value for point in reading.history]
    y = Scale(*widened(values, least=_least(values)), height - 22, 6)
    canvas.polyline([(x((p.at - first.at).total_seconds()), y(p.value)) for p in reading.history], "now stroke")
    canvas.circle(x(length), y(last.value), 3, "now dot")
    canvas.text(4, height - 4, day(first.at), "mute")
    canvas.text(WIDTH - 4, height - 4, day(last.at), "mute", "end")


def _described(reading: KpiReading) -> str:
    parts = [f"value {kpi(reading.value, reading.percent)}", f"target {kpi(reading.target, reading.percent)}"]
    if reading.baseline is not None:
        parts.append(f"baseline {kpi(reading.baseline, reading.percent)}")
    return f"{', '.join(parts)}; {reading.direction} is better."
