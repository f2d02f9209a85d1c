"""A feature's distribution now against the baseline: one small picture of a grid."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from agent.report.model import Distribution, DistributionKind
from agent.report.numbers import number, percent
from agent.report.plots.canvas import Canvas, Scale, text_width, ticks

WIDTH = 232
_PLOT, _TOP, _BAR = 84, 4, 30
_MOST_CATEGORIES = 5


def distribution(each: Distribution, *, key: str) -> Markup:
    """A histogram (numeric) or paired bars (categorical, the five largest and the rest). Shares start at 0."""
    return _categorical(each, key) if each.kind is DistributionKind.categorical else _numeric(each, key)


def _numeric(each: Distribution, key: str) -> Markup:
    bottom = _TOP + _PLOT
    canvas = Canvas(WIDTH, bottom + 20, key, f"{each.feature} against the baseline", _described_numeric(each))
    if len(each.edges) != len(each.baseline) + 1 or len(each.current) != len(each.baseline) or len(each.edges) < 2:
        canvas.text(WIDTH / 2, _TOP + _PLOT / 2, "no values to draw", "mute", "middle")
        return canvas.svg()
    # Bins may differ in width: what is drawn is density, so that equal areas are equal shares.
    widths = [b - a for a, b in zip(each.edges, each.edges[1:], strict=False)]
    before = [share / max(width, 1e-12) for share, width in zip(each.baseline, widths, strict=True)]
    now = [share / max(width, 1e-12) for share, width in zip(each.current, widths, strict=True)]
    x = Scale(each.edges[0], each.edges[-1], 1, WIDTH - 1)
    y = Scale(0, max([*before, *now]) or 1, bottom, _TOP)
    canvas.area(_steps(each.edges, before, x, y), "base fill")
    canvas.area(_steps(each.edges, now, x, y), "now veil")
    canvas.polyline(_steps(each.edges, now, x, y), "now stroke")
    canvas.line(0, bottom, WIDTH, bottom, "axis")
    for value in ticks(each.edges[0], each.edges[-1], 4):
        label = number(value)
        canvas.line(x(value), bottom, x(value), bottom + 3, "axis")
        half = text_width(label) / 2
        canvas.text(min(max(x(value), half), WIDTH - half), bottom + 16, label, "mute", "middle")
    return canvas.svg()


def _steps(edges: Sequence[float], heights: Sequence[float], x: Scale, y: Scale) -> list[tuple[float, float]]:
    points = [(x(edges[0]), y(0))]
    for left, right, height in zip(edges, edges[1:], heights, strict=False):
        points += [(x(left), y(height)), (x(right), y(height))]
    return [*points, (x(edges[-1]), y(0))]


def _categorical(each: Distribution, key: str) -> Markup:
    rows = _largest(each)
    canvas = Canvas(WIDTH, _TOP + _BAR * len(rows), key, f"{each.feature} against the baseline", _described_rows(rows))
    longest = max((text_width(_short(name)) for name, _, _ in rows), default=0)
    left = min(longest + 10, WIDTH * 0.42)
    x = Scale(0, max([share for _, a, b in rows for share in (a, b)] or [1]) or 1, left, WIDTH - 44)
    for place, (name, before, now) in enumerate(rows):
        up = _TOP + place * _BAR
        canvas.text(left - 8, up + 15, _short(name), "ink", "end")
        canvas.rect(left, up + 2, x(before) - left, 8, "base fill", 1)
        canvas.rect(left, up + 12, x(now) - left, 8, "now fill", 1)
        canvas.text(max(x(before), x(now)) + 6, up + 15, percent(now, 0), "mute")
    return canvas.svg()


def _largest(each: Distribution) -> list[tuple[str, float, float]]:
    rows = list(zip(each.categories, each.baseline, each.current, strict=False))
    if len(rows) <= _MOST_CATEGORIES:
        return rows
    order = sorted(rows, key=lambda row: -max(row[1], row[2]))
    rest = order[_MOST_CATEGORIES - 1 :]
    return [*order[: _MOST_CATEGORIES - 1], ("other", sum(r[1] for r in rest), sum(r[2] for r in rest))]


def _short(name: str) -> str:
    return name if len(name) <= 12 else name[:11] + "…"


def _described_rows(rows: Sequence[tuple[str, float, float]]) -> str:
    return "; ".join(f"{name}: {percent(before)} before, {percent(now)} now" for name, before, now in rows) + "."


def _described_numeric(each: Distribution) -> str:
    if len(each.edges) < 2:
        return "No values."
    middles = [(a + b) / 2 for a, b in zip(each.edges, each.edges[1:], strict=False)]
    means = [sum(m * s for m, s in zip(middles, shares, strict=False)) for shares in (each.baseline, each.current)]
    return f"Mean about {number(means[0])} in the baseline, {number(means[1])} now."
