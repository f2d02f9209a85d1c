"""The walk-forward monitor on a picture: accuracy week by week, and the weeks in which it raised an alarm."""

from __future__ import annotations

import importlib.resources
import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from markupsafe import Markup

from agent.report.plots.canvas import Canvas, Scale, ticks, widened
from policies.declarations import Severity

_WIDTH, _LEFT, _RIGHT = 960, 46, 150
_PANEL, _GAP, _STRIP = 220, 46, 46
_WEEK = timedelta(days=7)


@dataclass(frozen=True)
class Walked:
    """A week that the champion and a regularly refitted model both lived through, and what the monitor said at its end.

    `drop` is how far the champion's AUC over the monitor's window lies below its baseline's; NaN where not judged.
    """

    start: datetime
    accuracy: float
    refitted: float
    drop: float
    severity: Severity

    @property
    def alarm(self) -> bool:
        """Whether the monitor found decay."""
        return self.severity in (Severity.warning, Severity.critical)


def page(weeks: Sequence[Walked], threshold: float) -> str:
    """One HTML file without script or network: accuracy above, alarms between, the measured decay below."""
    css = importlib.resources.files("agent.report").joinpath("templates", "report.css").read_text(encoding="utf-8")
    alarms = sum(each.alarm for each in weeks)
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="color-scheme" '
        f'content="light dark"><title>Elec2: the concept-drift monitor and the accuracy</title>\n'
        f"<style>{css} main {{ max-width: 1000px; padding: 40px 20px; }}</style></head>\n<body><main>"
        f"<h1>Elec2: a champion left alone, and the monitor that watches it</h1>"
        f'<p class="lead">{alarms} of {len(weeks)} weekly runs raise an alarm. Each looks back on 28 labelled days; '
        f"shaded: weeks that end with one.</p>\n<figure>{draw(weeks, threshold)}</figure></main></body></html>\n"
    )


def draw(weeks: Sequence[Walked], threshold: float) -> Markup:
    """The picture itself."""
    end = weeks[-1].start + _WEEK
    x = Scale(0, (end - weeks[0].start) / _WEEK, _LEFT, _WIDTH - _RIGHT)
    tops = (30, 30 + _PANEL + _STRIP + _GAP)
    height = tops[1] + _PANEL * 0.7 + 30
    said = f"{sum(w.alarm for w in weeks)} of {len(weeks)} weeks end with an alarm of the concept-drift monitor."
    canvas = Canvas(_WIDTH, height, "elec2", "Accuracy by week and the alarms of the concept-drift monitor", said)
    _bands(canvas, weeks, x, tops[0], height - 30)
    _accuracy(canvas, weeks, x, tops[0])
    _alarms(canvas, weeks, x, tops[0] + _PANEL + _STRIP / 2 + 4)
    _decay(canvas, weeks, x, tops[1], threshold)
    _months(canvas, weeks, x, height - 30)
    return canvas.svg()


def _accuracy(canvas: Canvas, weeks: Sequence[Walked], x: Scale, top: float) -> None:
    low, high = widened([each for w in weeks for each in (w.accuracy, w.refitted)], margin=0.05)
    y = Scale(low, min(high, 1.0), top + _PANEL, top)
    _grid(canvas, x, y, "Accuracy by week", "{:.0%}")
    refitted = _steps([w.refitted for w in weeks], x, y)
    champion = _steps([w.accuracy for w in weeks], x, y)
    canvas.polyline(refitted, "base stroke")
    canvas.polyline(champion, "bad stroke")
    ours, theirs = champion[-1][1], refitted[-1][1]
    if abs(ours - theirs) < 15:
        ours, theirs = (theirs + 15, theirs) if ours >= theirs else (ours, ours + 15)
    canvas.text(x.end + 8, ours + 4, "champion, left alone", "label bad")
    canvas.text(x.end + 8, theirs + 4, "refitted every 4 weeks")


def _alarms(canvas: Canvas, weeks: Sequence[Walked], x: Scale, middle: float) -> None:
    canvas.line(x.start, middle, x.end, middle, "grid")
    for place, week in enumerate(weeks):
        if week.alarm:
            tone = "bad" if week.severity is Severity.critical else "warn"
            hint = f"{week.start + _WEEK:%Y-%m-%d}: {week.severity.value}, AUC {week.drop:.3f} below the baseline's"
            canvas.circle(x(place + 1), middle, 5, f"disc {tone}", hint)
    canvas.circle(x.end + 13, middle - 8, 5, "disc bad")
    canvas.text(x.end + 22, middle - 4, "critical alarm")
    canvas.circle(x.end + 13, middle + 9, 5, "disc warn")
    canvas.text(x.end + 22, middle + 13, "warning")


def _decay(canvas: Canvas, weeks: Sequence[Walked], x: Scale, top: float, threshold: float) -> None:
    known = [w for w in weeks if math.isfinite(w.drop)]
    low, high = widened([*(w.drop for w in known), 0.0, threshold], margin=0.05)
    y = Scale(low, high, top + _PANEL * 0.7, top)
    _grid(canvas, x, y, "AUC lost since the baseline, over the 28 days the monitor looks back on", "{:.2f}")
    canvas.line(x.start, y(threshold), x.end, y(threshold), "limit")
    canvas.text(x.end + 8, y(threshold) + 4, f"threshold {threshold:g}")
    points = [(x(place + 1), y(w.drop)) for place, w in enumerate(weeks) if math.isfinite(w.drop)]
    canvas.polyline(points, "now stroke")


def _bands(canvas: Canvas, weeks: Sequence[Walked], x: Scale, top: float, bottom: float) -> None:
    """A veil over each unbroken series of weeks that end with an alarm."""
    edges = [0, *(place for place, (a, b) in enumerate(pairwise(weeks), 1) if a.alarm != b.alarm), len(weeks)]
    for first, last in pairwise(edges):
        if weeks[first].alarm:
            canvas.rect(x(first), top, x(last) - x(first), bottom - top, "band")


def _grid(canvas: Canvas, x: Scale, y: Scale, title: str, form: str) -> None:
    canvas.text(x.start, y.end - 12, title, "ink strong")
    for value in ticks(y.low, y.high, 5):
        canvas.line(x.start, y(value), x.end, y(value), "grid")
        canvas.text(x.start - 8, y(value) + 4, form.format(value), "mute", "end")


def _months(canvas: Canvas, weeks: Sequence[Walked], x: Scale, bottom: float) -> None:
    canvas.line(x.start, bottom, x.end, bottom, "axis")
    told = (0, 0)
    for place, week in enumerate(weeks):
        month = (week.start.year, week.start.month)
        if month != told and week.start.day <= 7 and week.start.month % 3 == 1:
            canvas.line(x(place), bottom, x(place), bottom + 4, "axis")
            canvas.text(x(place), bottom + 19, f"{week.start:%b %Y}", "mute", "middle")
            told = month


def _steps(values: Sequence[float], x: Scale, y: Scale) -> list[tuple[float, float]]:
    return [point for at, value in enumerate(values) for point in ((x(at), y(value)), (x(at + 1), y(value)))]
