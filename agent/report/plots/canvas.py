"""The drawing surface of the report's pictures: SVG with escaped text, classes instead of colours, and linear scales.

Classes and what the page's CSS makes of them: `base` (grey: the baseline), `now` (blue: the current data, the guardian,
the challenger), `bad` (orange red: without the guardian, failed), `mute` and `ink` (text), `grid`, `axis`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from markupsafe import Markup, escape

WIDE = 760
NARROW = 346
FONT = 12
"""Size of all text in pictures, in px at their natural width."""
_AVERAGE_GLYPH = 0.6


def text_width(text: str, size: float = FONT) -> float:
    """A generous guess at the width of `text`, in px, in any sans-serif font."""
    return len(text) * size * _AVERAGE_GLYPH


@dataclass(frozen=True)
class Scale:
    """Maps [low, high] linearly to [start, end] in px."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        if self.high == self.low:
            return (self.start + self.end) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers within [low, high], about `about` of them: steps of 1, 2 or 5 times a power of ten."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low] if math.isfinite(low) else []
    rough = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(each * power for each in (1, 2, 5, 10) if each * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(n * step, 12) for n in range(first, last + 1)]


def widened(values: Iterable[float], least: float = 0.0, margin: float = 0.08) -> tuple[float, float]:
    """The range of the finite `values` with a margin, at least `least` wide. (0, 1) for none."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return 0.0, 1.0
    low, high = min(known), max(known)
    missing = max(least - (high - low), 0.0)
    low, high = low - missing / 2, high + missing / 2
    room = (high - low) * margin or 0.5
    return low - room, high + room


@dataclass
class Canvas:
    """An SVG of `width` by `height` px. `key` makes its ids unique in the page; title and description are for readers
    who do not see it.
    """

    width: float
    height: float
    key: str
    title: str
    description: str
    _parts: list[Markup] = field(default_factory=list)

    def line(self, x1: float, y1: float, x2: float, y2: float, style: str) -> None:
        """A straight line."""
        self._add('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>', _px(x1), _px(y1), _px(x2), _px(y2), style)

    def polyline(self, points: Sequence[tuple[float, float]], style: str) -> None:
        """Straight lines through `points`, not filled."""
        self._add('<polyline points="{}" class="{}"/>', " ".join(f"{_px(x)},{_px(y)}" for x, y in points), style)

    def area(self, points: Sequence[tuple[float, float]], style: str) -> None:
        """A closed, filled shape."""
        self._add('<polygon points="{}" class="{}"/>', " ".join(f"{_px(x)},{_px(y)}" for x, y in points), style)

    def rect(self, x: float, y: float, width: float, height: float, style: str, radius: float = 0) -> None:
        """A filled rectangle; a negative width or height is taken from the other side."""
        x, width = (x + width, -width) if width < 0 else (x, width)
        y, height = (y + height, -height) if height < 0 else (y, height)
        shape = '<rect x="{}" y="{}" width="{}" height="{}" rx="{}" class="{}"/>'
        self._add(shape, _px(x), _px(y), _px(width), _px(height), _px(radius), style)

    def circle(self, x: float, y: float, radius: float, style: str, hint: str = "") -> None:
        """A dot; `hint` is shown on hovering."""
        title = Markup("<title>{}</title>").format(hint) if hint else Markup()
        self._add('<circle cx="{}" cy="{}" r="{}" class="{}">{}</circle>', _px(x), _px(y), _px(radius), style, title)

    def text(self, x: float, y: float, text: str, style: str = "mute", anchor: str = "start") -> None:
        """One line of text with its baseline at `y`; `anchor` is start, middle or end."""
        self._add('<text x="{}" y="{}" class="{}" text-anchor="{}">{}</text>', _px(x), _px(y), style, anchor, text)

    def verdict(self, x: float, y: float, verdict: str, hint: str = "") -> None:
        """A verdict as a sign in a disc: a tick, a cross or a question mark, told apart by shape and colour."""
        sign = {"pass": "good", "passed": "good", "fail": "bad", "failed": "bad"}.get(verdict, "warn")
        self.circle(x, y, 8, f"disc {sign}", hint or verdict)
        if sign == "good":
            self.polyline([(x - 3.5, y + 0.3), (x - 1, y + 3), (x + 3.6, y - 3)], "sign")
        elif sign == "bad":
            self.line(x - 3, y - 3, x + 3, y + 3, "sign")
            self.line(x - 3, y + 3, x + 3, y - 3, "sign")
        else:
            self.text(x, y + 4, "?", "signtext", "middle")

    def svg(self) -> Markup:
        """The picture, to be put into the page."""
        head = Markup(
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}" role="img" '
            'aria-labelledby="{key}-t {key}-d"><title id="{key}-t">{title}</title><desc id="{key}-d">{desc}</desc>'
        ).format(w=_px(self.width), h=_px(self.height), key=self.key, title=self.title, desc=self.description)
        return head + Markup().join(self._parts) + Markup("</svg>")

    def _add(self, shape: str, *values: object) -> None:
        self._parts.append(Markup(shape).format(*(escape(value) for value in values)))  # noqa: S704 (shapes are literals)


def _px(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
