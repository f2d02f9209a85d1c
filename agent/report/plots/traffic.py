"""A rollout's traffic over time as steps, with the verdict of every stage's gate."""

from __future__ import annotations

from datetime import datetime, timedelta

from markupsafe import Markup

from agent.report.gates import shown
from agent.report.model import Rollout
from agent.report.numbers import short_moment, words
from agent.report.plots.canvas import WIDE, Canvas, Scale, text_width, ticks

_LEFT, _TOP, _PLOT, _BOTTOM = 46, 18, 264, 40
_EARLY = 25.0


def rollout_traffic(rollout: Rollout, *, width: float = WIDE, key: str = "traffic") -> Markup:
    """The challenger's share of the requests since the rollout began; time runs true to scale, in hours or days."""
    steps = sorted(rollout.traffic, key=lambda step: step.at)
    start, last = steps[0].at, max([step.at for step in steps] + [s.ended_at for s in rollout.stages if s.ended_at])
    tail = max((last - start) * 0.08, timedelta(minutes=10))
    unit = timedelta(days=1) if last - start > timedelta(days=5) else timedelta(hours=1)
    if last - start <= timedelta(hours=2):
        unit = timedelta(minutes=1)
    x = Scale(0, (last + tail - start) / unit, _LEFT, width - 14)
    # A rollout that ended early is drawn as far up as it came; the axis says so.
    most = 100 if max(step.pct for step in steps) > _EARLY else _EARLY
    y = Scale(0, most, _TOP + _PLOT, _TOP)
    canvas = Canvas(width, _TOP + _PLOT + _BOTTOM, key, "Traffic of the rollout", _described(rollout))
    _grid(canvas, rollout, x, y, unit, start)
    points: list[tuple[float, float]] = []
    for step in steps:
        left = x((step.at - start) / unit)
        points += [(left, points[-1][1] if points else y(0)), (left, y(step.pct))]
    points.append((x.end, points[-1][1]))
    canvas.area([*points, (x.end, y(0)), (points[0][0], y(0))], "now veil")
    canvas.polyline(points, "now stroke")
    for stage in rollout.stages:
        if stage.ended_at is not None and stage.verdict:
            hint = f"{stage.traffic_pct:g}%: {words(stage.gate)} {stage.verdict}"
            canvas.verdict(x((stage.ended_at - start) / unit), y(stage.traffic_pct), stage.verdict, hint)
    _name_end(canvas, rollout, points[-2][0], y, steps[-1].pct)
    return canvas.svg()


def _name_end(canvas: Canvas, rollout: Rollout, left: float, y: Scale, pct: float) -> None:
    """How it ended, beside the last step, where nothing else is drawn."""
    label = words(rollout.status)
    if rollout.status == "promoted":
        label = f"version {rollout.version} serves all" if rollout.version else "promoted"
    style = "bad label" if rollout.status in ("rolled_back", "aborted") else "now label"
    if pct > y.high / 2:
        canvas.text(left - 10, y(pct) + 4, label, f"{style} halo", "end")
    else:
        room = left + 14 + text_width(label) < canvas.width
        canvas.text(left + (14 if room else -14), y(pct) - 26, label, f"{style} halo", "start" if room else "end")


def _grid(canvas: Canvas, rollout: Rollout, x: Scale, y: Scale, unit: timedelta, start: datetime) -> None:
    known = {stage.traffic_pct for stage in rollout.stages} | {0.0, y.high}
    shares = sorted(pct for pct in known if pct <= y.high)
    written = float("inf")
    for pct in shares:
        canvas.line(x.start, y(pct), x.end, y(pct), "axis" if pct == 0 else "grid")
        if written - y(pct) >= 11.5:
            canvas.text(x.start - 8, y(pct) + 4, f"{pct:g}%", "mute", "end")
            written = y(pct)
    name = {timedelta(days=1): "d", timedelta(hours=1): "h"}.get(unit, "min")
    about = 6 if x.end > 500 else 5
    for value in _whole(ticks(0, x.high, about), unit, x.high):
        canvas.line(x(value), y(0), x(value), y(0) + 4, "axis")
        canvas.text(x(value), y(0) + 18, f"{value:g} {name}", "mute", "middle" if value else "start")
    about_time = f"since {short_moment(start)}"
    canvas.text(x.end, y(0) + 35, about_time, "mute", "end")
    assert text_width(about_time) < x.end - x.start


def _whole(values: list[float], unit: timedelta, high: float) -> list[float]:
    """Hours fall on the clock's own steps: 6, 12, 24."""
    if unit != timedelta(hours=1) or len(values) < 2:
        return values
    step = next((each for each in (1, 2, 3, 6, 12, 24, 48) if each >= (values[1] - values[0]) * 0.9), 24)
    return [float(n * step) for n in range(int(high / step) + 1)]


def _described(rollout: Rollout) -> str:
    parts = [f"{short_moment(step.at)}: {step.pct:g}% to the challenger" for step in rollout.traffic]
    for stage in rollout.stages:
        if stage.verdict:
            seen = ", ".join(" ".join(shown(m)[:2]) for m in stage.measurements)
            parts.append(f"gate at {stage.traffic_pct:g}%: {stage.verdict}{f' ({seen})' if seen else ''}")
    return "; ".join([*parts, words(rollout.status)]) + "."
