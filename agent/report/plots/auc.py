"""Live AUC by week, with the guardian and without, and what happened when."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import date, datetime, time, timedelta

from markupsafe import Markup

from agent.report.model import Marker, MarkerKind, WeekPoint
from agent.report.numbers import day, fixed
from agent.report.plots.canvas import WIDE, Canvas, Scale, text_width, ticks, widened

_LEFT, _BOTTOM, _ROW = 40, 28, 19


def auc_by_week(
    weeks: Sequence[WeekPoint],
    markers: Sequence[Marker] = (),
    floor: float | None = None,
    *,
    width: float = WIDE,
    key: str = "auc",
) -> Markup:
    """A step a week, for a weekly AUC is that of the whole week. The y axis spans the values, as its ticks say."""
    narrow = width < 500
    right = 14 if narrow else 160
    start = datetime.combine(weeks[0].week_start, time())
    end = datetime.combine(weeks[-1].week_start, time()) + timedelta(days=7)
    shown = sorted((m for m in markers if start <= m.at <= end), key=lambda marker: marker.at)
    x = Scale(0, (end - start) / timedelta(days=1), _LEFT, width - right)
    at = [(marker, x((marker.at - start) / timedelta(days=1))) for marker in shown]
    rows = _rows([(left, text_width(marker.label) + 22) for marker, left in at], width)
    top = 14 + _ROW * (max(rows, default=-1) + 1)
    height = top + (210 if narrow else 250) + _BOTTOM
    values = [v for w in weeks for v in (w.with_guardian, w.without_guardian) if v is not None]
    low, high = widened([*values, *([floor] if floor is not None else [])], least=0.06, margin=0.16 if narrow else 0.08)
    y = Scale(low, min(high, 1.0), height - _BOTTOM, top)
    canvas = Canvas(width, height, key, "Live AUC by week", _described(weeks, shown))
    _grid(canvas, x, y, weeks, narrow)
    _marks(canvas, at, rows, x, top, height - _BOTTOM, start, width)
    if floor is not None:
        canvas.line(_LEFT, y(floor), width - right, y(floor), "limit")
    without = _steps([(w.week_start, w.without_guardian) for w in weeks], x, y)
    guarded = _steps([(w.week_start, w.with_guardian) for w in weeks], x, y)
    for points, style in ((without, "bad stroke"), (guarded, "now stroke")):
        canvas.polyline(points, style)
    _end_labels(canvas, weeks, without, guarded, narrow)
    if floor is not None:
        ends = [points[-1][1] for points in (without, guarded) if points]
        beside = not narrow and all(abs(end - y(floor)) > 26 for end in ends)
        label = f"retrain below {fixed(floor, 2)}"
        if beside:
            canvas.text(x.end + 10, y(floor) + 4, label, "mute")
        else:
            canvas.text(x.end - 4, y(floor) - 5, label, "mute small halo", "end")
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


def _end_labels(
    canvas: Canvas,
    weeks: Sequence[WeekPoint],
    without: Sequence[tuple[float, float]],
    guarded: Sequence[tuple[float, float]],
    narrow: bool,
) -> None:
    """Names and last values right of the lines; on a phone above and below their ends."""
    named = (
        (
            guarded,
            f"{'with guardian' if without else 'AUC'} {fixed(_last(w.with_guardian for w in weeks))}",
            "now label",
        ),
        (
            without,
            f"{'without' if guarded else 'left alone'} {fixed(_last(w.without_guardian for w in weeks))}",
            "bad label",
        ),
    )
    lines = sorted((points[-1][1], points[-1][0], text, style) for points, text, style in named if points)
    gap = lines[-1][0] - lines[0][0] if len(lines) == 2 else 18
    for number, (up, left, text, style) in enumerate(lines):
        if narrow:
            canvas.text(left, up + (-9 if number == 0 else 19), text, f"{style} halo", "end")
        else:
            apart = max(18 - gap, 0) / 2 * (1 if number else -1)
            canvas.text(left + 10, up + 4 + apart, text, style)


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


def _described(weeks: Sequence[WeekPoint], markers: Sequence[Marker]) -> str:
    parts = []
    for week in weeks:
        told = [f"with the guardian {fixed(week.with_guardian)}"] if week.with_guardian is not None else []
        told += [f"without {fixed(week.without_guardian)}"] if week.without_guardian is not None else []
        parts.append(f"week of {day(week.week_start)}: {', '.join(told) or 'unknown'}")
    parts += [f"{day(marker.at)}: {marker.label}" for marker in markers]
    return "; ".join(parts) + "."
