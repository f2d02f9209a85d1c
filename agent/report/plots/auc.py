"""Live AUC by week, with the guardian and without, and what happened when."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta

from markupsafe import Markup

from agent.report.model import Marker, MarkerKind, WeekPoint
from agent.report.numbers import day, fixed
from agent.report.plots.canvas import WIDE, Canvas, Scale, text_width, ticks, widened

_LEFT, _BOTTOM, _ROW, _LEGEND = 40, 28, 19, 20


@dataclass(frozen=True)
class _Label:
    """What a line of the picture is called, at its height in px; `line` and `style` are those of line and text."""

    at: float
    text: str
    line: str
    style: str


def auc_by_week(
    weeks: Sequence[WeekPoint],
    markers: Sequence[Marker] = (),
    floor: float | None = None,
    deployed: float | None = None,
    *,
    width: float = WIDE,
    key: str = "auc",
) -> Markup:
    """A step a week, for a weekly AUC is that of the whole week. The y axis spans the values, as its ticks say.

    `floor` is where retraining triggers, `deployed` the AUC at the deployment: a line each.
    """
    narrow = width < 500
    right = 14 if narrow else 160
    start = datetime.combine(weeks[0].week_start, time())
    end = datetime.combine(weeks[-1].week_start, time()) + timedelta(days=7)
    shown = sorted((m for m in markers if start <= m.at <= end), key=lambda marker: marker.at)
    x = Scale(0, (end - start) / timedelta(days=1), _LEFT, width - right)
    at = [(marker, x((marker.at - start) / timedelta(days=1))) for marker in shown]
    rows = _rows([(left, text_width(marker.label) + 22) for marker, left in at], width)
    top = 14 + _ROW * (max(rows, default=-1) + 1)
    bottom = top + (210 if narrow else 250)
    values = [v for w in weeks for v in (w.with_guardian, w.without_guardian) if v is not None]
    low, high = widened([*values, *(v for v in (floor, deployed) if v is not None)], least=0.06)
    y = Scale(low, min(high, 1.0), bottom, top)
    labels = _labels(weeks, floor, deployed, y)
    below = _LEGEND * math.ceil(len(labels) / 2) + 10 if narrow else 0
    canvas = Canvas(width, bottom + _BOTTOM + below, key, "Live AUC by week", _described(weeks, shown, deployed))
    _grid(canvas, x, y, weeks, narrow)
    _marks(canvas, at, rows, x, top, bottom, start, width)
    for value, style in ((floor, "limit"), (deployed, "deployed")):
        if value is not None:
            canvas.line(_LEFT, y(value), width - right, y(value), style)
    for points, style in (
        ([(w.week_start, w.without_guardian) for w in weeks], "bad stroke"),
        ([(w.week_start, w.with_guardian) for w in weeks], "now stroke"),
    ):
        canvas.polyline(_steps(points, x, y), style)
    if narrow:
        _legend(canvas, labels, bottom + _BOTTOM + 12)
    else:
        _right(canvas, labels, x.end + 10)
    return canvas.svg()


def _steps(values: Sequence[tuple[date, float | None]], x: Scale, y: Scale) -> list[tuple[float, float]]:
    points = []
    for monday, value in values:
        if value is not None:
            days = (monday - values[0][0]).days
            points += [(x(days), y(value)), (x(days + 7), y(value))]
    return points


def _grid(canvas: Canvas, x: Scale, y: Scale, weeks: Sequence[WeekPoint], narrow: bool) -> None:
    for value in ticks(y.low, y.high, 6):
        canvas.line(x.start, y(value), x.end, y(value), "grid")
        canvas.text(x.start - 8, y(value) + 4, fixed(value, 2), "mute", "end")
    every = max(1, math.ceil(len(weeks) / (4 if narrow else 8)))
    for number, week in enumerate(weeks):
        left = x((week.week_start - weeks[0].week_start).days)
        canvas.line(left, y.start, left, y.start + 4, "axis")
        if number % every == 0:
            canvas.text(left, y.start + 19, day(week.week_start), "mute")
    canvas.line(x.start, y.start, x.end, y.start, "axis")


def _labels(weeks: Sequence[WeekPoint], floor: float | None, deployed: float | None, y: Scale) -> list[_Label]:
    """The lines there are, from the top of the picture down, with their last values."""
    guarded, alone = _last(w.with_guardian for w in weeks), _last(w.without_guardian for w in weeks)
    named = (
        (guarded, f"{'AUC' if alone is None else 'with guardian'} {fixed(guarded)}", "now stroke", "now label"),
        (alone, f"{'left alone' if guarded is None else 'without'} {fixed(alone)}", "bad stroke", "bad label"),
        (deployed, f"at deployment {fixed(deployed)}", "deployed", "mute"),
        (floor, f"retrain below {fixed(floor, 2)}", "limit", "mute"),
    )
    return sorted((_Label(y(v), *told) for v, *told in named if v is not None), key=lambda label: label.at)


def _right(canvas: Canvas, labels: Sequence[_Label], left: float) -> None:
    """Beside the ends of their lines, pushed down where they would touch."""
    free = 0.0
    for label in labels:
        up = max(label.at + 4, free)
        canvas.text(left, up, label.text, label.style)
        free = up + 16


def _legend(canvas: Canvas, labels: Sequence[_Label], top: float) -> None:
    """Below the plot in two columns, each with a piece of its line."""
    for place, label in enumerate(labels):
        left, up = 4 + canvas.width / 2 * (place % 2), top + _LEGEND * (place // 2)
        canvas.line(left, up - 4, left + 18, up - 4, label.line)
        canvas.text(left + 25, up, label.text, label.style)


def _last(values: Iterable[float | None]) -> float | None:
    return next((value for value in reversed(list(values)) if value is not None), None)


def _marks(
    canvas: Canvas,
    at: Sequence[tuple[Marker, float]],
    rows: Sequence[int],
    x: Scale,
    top: float,
    bottom: float,
    start: datetime,
    width: float,
) -> None:
    for (marker, left), row in zip(at, rows, strict=True):
        style = "now" if marker.kind is MarkerKind.action else "base"
        height = 12 + _ROW * row
        if marker.until is not None:
            until = min(x((marker.until - start) / timedelta(days=1)), x.end)
            canvas.rect(left, top, until - left, bottom - top, "band")
        canvas.line(left, height, left, bottom, f"{style} mark")
        canvas.circle(left, height - 4, 4, f"{style} {'dot' if marker.kind is MarkerKind.action else 'ring'}")
        flip = left + text_width(marker.label) + 12 > width
        canvas.text(left + (-9 if flip else 9), height, marker.label, "ink halo", "end" if flip else "start")


def _rows(spans: Sequence[tuple[float, float]], width: float) -> list[int]:
    """For labels at x positions (ascending) with their widths: the first row, from the top, where each has room."""
    taken: list[list[tuple[float, float]]] = []
    rows = []
    for left, length in spans:
        # A label that would leave the picture is written to the left of its mark.
        here = (left - 8, left + length) if left + length - 10 <= width else (left - length, left + 8)
        row = next(
            (n for n, used in enumerate(taken) if all(here[0] >= b or here[1] <= a for a, b in used)), len(taken)
        )
        if row == len(taken):
            taken.append([])
        taken[row].append(here)
        rows.append(row)
    return rows


def _described(weeks: Sequence[WeekPoint], markers: Sequence[Marker], deployed: float | None) -> str:
    parts = [f"{fixed(deployed)} at deployment"] if deployed is not None else []
    for week in weeks:
        told = [f"with the guardian {fixed(week.with_guardian)}"] if week.with_guardian is not None else []
        told += [f"without {fixed(week.without_guardian)}"] if week.without_guardian is not None else []
        parts.append(f"week of {day(week.week_start)}: {', '.join(told) or 'unknown'}")
    parts += [f"{day(marker.at)}: {marker.label}" for marker in markers]
    return "; ".join(parts) + "."
