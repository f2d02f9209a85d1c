"""Where the weighted improvement of challenger over champion comes from, and how sure it is."""

from __future__ import annotations

from markupsafe import Markup

from agent.report.model import Evaluation
from agent.report.numbers import percent, signed_percent, words
from agent.report.plots.canvas import WIDE, Canvas, Scale, text_width, ticks

_ROW, _TOP, _BOTTOM = 34, 22, 32


def weighted_comparison(evaluation: Evaluation, *, width: float = WIDE, key: str = "comparison") -> Markup:
    """A bar a metric (its weight times its relative improvement), and below them the sum with its interval.

    Right of zero the challenger is better. The dashed line is the improvement that is demanded.
    """
    narrow = width < 500
    parts = [part for part in evaluation.metrics if part.weighted is not None]
    low, high = evaluation.interval or (0.0, 0.0)
    total = evaluation.weighted_improvement or 0.0
    values = [0.0, total, low, high, evaluation.minimum or 0.0, *(part.weighted or 0.0 for part in parts)]
    room = (max(values) - min(values)) * 0.06 or 0.01
    left = 116 if narrow else 180
    height = _TOP + _ROW * (len(parts) + 1) + _BOTTOM
    x = Scale(
        min(values) - (room if min(values) < 0 else 0), max(values) + room, left + _label_room(values), width - 66
    )
    bottom = height - _BOTTOM
    canvas = Canvas(width, height, key, "Weighted improvement of the challenger", _described(evaluation))
    for value in ticks(x.low, x.high, 4 if narrow else 7):
        canvas.line(x(value), _TOP, x(value), bottom, "grid")
        canvas.text(x(value), bottom + 18, percent(value, 0 if x.high - x.low > 0.04 else 1), "mute", "middle")
    canvas.line(x(0), _TOP - 4, x(0), bottom, "axis")
    if evaluation.minimum is not None:
        canvas.line(x(evaluation.minimum), _TOP - 4, x(evaluation.minimum), bottom, "limit")
        canvas.text(x(evaluation.minimum) + 5, _TOP - 10, f"needed {percent(evaluation.minimum)}", "mute small halo")
    for place, part in enumerate(parts):
        up = _TOP + place * _ROW + _ROW / 2
        style = "now fill" if (part.weighted or 0) >= 0 else "bad fill"
        weight = f" ×{part.weight:g}" if part.weight is not None and not narrow else ""
        canvas.text(left - 12, up + 4, words(part.metric) + weight, "ink", "end")
        if part.weighted:
            canvas.rect(x(0), up - 7, x(part.weighted) - x(0), 14, style, 2)
        worse = (part.weighted or 0) < 0
        at = x(part.weighted or 0) + (-8 if worse else 8)
        needed = x(evaluation.minimum) if evaluation.minimum is not None else at
        # A number that would lie on the dashed line is written behind it.
        at = needed + 6 if not worse and at - 4 < needed < at + text_width(signed_percent(part.weighted)) else at
        canvas.text(at, up + 4, signed_percent(part.weighted), "ink halo", "end" if worse else "start")
    _sum(canvas, evaluation, x, _TOP + len(parts) * _ROW + _ROW / 2, left)
    return canvas.svg()


def _label_room(values: list[float]) -> float:
    """Room for the number left of the longest bar that points left."""
    return 46.0 if min(values) < 0 else 0.0


def _sum(canvas: Canvas, evaluation: Evaluation, x: Scale, up: float, left: float) -> None:
    total = evaluation.weighted_improvement or 0.0
    style = "bad" if total < 0 else "now"
    canvas.line(x.start, up - _ROW / 2, x.end, up - _ROW / 2, "axis faint")
    canvas.text(left - 12, up + 4, "in all", "ink strong", "end")
    end = x(total)
    if evaluation.interval is not None:
        low, high = (x(each) for each in evaluation.interval)
        canvas.line(low, up, high, up, f"{style} stroke")
        for edge in (low, high):
            canvas.line(edge, up - 5, edge, up + 5, f"{style} stroke")
        end = max(end, high)
    canvas.circle(x(total), up, 5.5, f"{style} dot")
    canvas.text(end + 11, up + 4, signed_percent(total), f"{style} label halo")


def _described(evaluation: Evaluation) -> str:
    parts = [f"{words(m.metric)} adds {signed_percent(m.weighted)}" for m in evaluation.metrics]
    total = f"in all {signed_percent(evaluation.weighted_improvement)}"
    if evaluation.interval is not None:
        total += f", interval {signed_percent(evaluation.interval[0])} to {signed_percent(evaluation.interval[1])}"
    return "; ".join([*parts, total]) + "."
