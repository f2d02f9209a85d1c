"""The report's pictures as a PNG, for where no page is shown: the same SVG in the same colours, drawn by matplotlib.

Only what `canvas` writes is understood: six shapes, and the rules for `svg` of the page's stylesheet.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from markupsafe import Markup

from agent.report.plots.canvas import WIDE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CSS = Path(__file__).parents[1] / "templates" / "report.css"
_POINT = 0.75
"""Points of a CSS pixel."""
_DPI = 192
_MARGIN, _GAP, _HEAD = 24.0, 32.0, 26.0
_NUMBER = re.compile(r"[\d.]+")
_one_at_a_time = threading.Lock()  # matplotlib's fonts are not made for threads


def png(pictures: Sequence[tuple[str, Markup]]) -> bytes:
    """Titled pictures (title, SVG) side by side as far as they fit into the width of a page, then below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawn = [(title, ElementTree.fromstring(svg)) for title, svg in pictures]  # noqa: S314  written by canvas
    places, width, height = _placed([_size(svg) for _, svg in drawn])
    out = BytesIO()
    with _one_at_a_time:
        figure = Figure(figsize=(width / 96, height / 96), dpi=_DPI, facecolor=_variables()["paper"])
        for (title, svg), (left, top) in zip(drawn, places, strict=True):
            wide, high = _size(svg)
            box = (left / width, 1 - (top + _HEAD + high) / height, wide / width, high / height)
            axes = figure.add_axes(box, xlim=(0, wide), ylim=(high, 0))
            axes.axis("off")
            for shape in svg:
                _draw(axes, shape)
            head = ElementTree.Element("text", {"class": "ink strong", "x": "0", "y": "-12"})
            head.text = title
            _draw(axes, head)
        FigureCanvasAgg(figure).print_png(out)  # type: ignore[no-untyped-call]
    return out.getvalue()


def _placed(sizes: Sequence[tuple[float, float]]) -> tuple[list[tuple[float, float]], float, float]:
    """Where each picture stands (left, top), and the size of all."""
    places, left, top, row, right = [], _MARGIN, _MARGIN, 0.0, 0.0
    for wide, high in sizes:
        if left > _MARGIN and left + wide > _MARGIN + WIDE:
            left, top, row = _MARGIN, top + row + _GAP, 0.0
        places.append((left, top))
        left, row, right = left + wide + _GAP, max(row, high + _HEAD), max(right, left + wide)
    return places, right + _MARGIN, top + row + _MARGIN


def _size(svg: ElementTree.Element) -> tuple[float, float]:
    return float(svg.attrib["width"]), float(svg.attrib["height"])


def _draw(axes: Axes, shape: ElementTree.Element) -> None:
    from matplotlib.patches import Circle, Polygon, Rectangle

    kind, given = shape.tag.rpartition("}")[2], shape.attrib
    style = _style(kind, given.get("class", ""))
    at = {name: float(given[name]) for name in ("x", "y", "width", "height", "cx", "cy", "r") if name in given}
    if kind == "text":
        _write(axes, shape, style)
    elif kind == "line":
        ends = [float(given[name]) for name in ("x1", "x2", "y1", "y2")]
        axes.plot(ends[:2], ends[2:], **_line(style))
    elif kind == "polyline":
        points = _points(given["points"])
        axes.plot([x for x, _ in points], [y for _, y in points], **_line(style))
    elif kind == "polygon":
        axes.add_patch(Polygon(_points(given["points"]), **_filled(style)))
    elif kind == "rect":
        axes.add_patch(Rectangle((at["x"], at["y"]), at["width"], at["height"], **_filled(style)))
    elif kind == "circle":
        axes.add_patch(Circle((at["cx"], at["cy"]), at["r"], **_filled(style)))


def _write(axes: Axes, shape: ElementTree.Element, style: Mapping[str, str]) -> None:
    from matplotlib.patheffects import Normal, Stroke

    size = float(_NUMBER.findall(style.get("font-size", style["font"]))[0])
    width = float(style.get("stroke-width", "0").removesuffix("px")) * _POINT
    axes.text(
        float(shape.attrib["x"]),
        float(shape.attrib["y"]),
        shape.text or "",
        color=style["fill"],
        fontsize=size * _POINT,
        fontweight="bold" if int(style.get("font-weight", "400")) >= 600 else "normal",
        horizontalalignment={"middle": "center", "end": "right"}.get(shape.attrib.get("text-anchor", ""), "left"),
        verticalalignment="baseline",
        path_effects=[Stroke(linewidth=width, foreground=style["stroke"]), Normal()] if width else None,
        parse_math=False,
    )


def _line(style: Mapping[str, str]) -> dict[str, Any]:
    width = float(style.get("stroke-width", "1"))
    dashes = tuple(float(each) / width for each in style.get("stroke-dasharray", "").split())
    cap = "round" if style.get("stroke-linecap") == "round" else "butt"
    return {
        "color": style["stroke"],
        "linewidth": width * _POINT,
        "linestyle": (0, dashes) if dashes else "solid",
        "alpha": float(style.get("opacity", "1")),
        "solid_capstyle": cap,
        "dash_capstyle": cap,
        "clip_on": False,
    }


def _filled(style: Mapping[str, str]) -> dict[str, Any]:
    edge = style.get("stroke", "none")
    return {
        "facecolor": style.get("fill", "none"),
        "edgecolor": edge,
        "linewidth": float(style.get("stroke-width", "1")) * _POINT if edge != "none" else 0,
        "alpha": float(style.get("opacity", "1")),
        "clip_on": False,
        "zorder": 2,  # as lines: what is written later lies above
    }


def _points(text: str) -> list[tuple[float, float]]:
    pairs = (each.split(",") for each in text.split())
    return [(float(x), float(y)) for x, y in pairs]


def _style(kind: str, classes: str) -> dict[str, str]:
    """What the stylesheet makes of a shape: the rules that name its kind and classes, the narrower ones last."""
    own = set(classes.split())
    found: dict[str, str] = {}
    for tag, needed, said in _rules():
        if tag in ("", kind) and needed <= own:
            found |= said
    return found


@cache
def _variables() -> dict[str, str]:
    """The colours of the page in daylight, by name."""
    return dict(re.findall(r"--([\w-]+):\s*(#\w+)", _CSS.read_text(encoding="utf-8").partition("}")[0]))


@cache
def _rules() -> list[tuple[str, frozenset[str], dict[str, str]]]:
    """(kind, classes, declarations) of each `svg …` rule, from the widest to the narrowest."""
    colours, rules = _variables(), []
    for selectors, body in re.findall(r"(?:^|(?<=\}) )(svg [^{}]+)\{([^}]*)\}", _CSS.read_text(encoding="utf-8"), re.M):
        said = {}
        for each in body.split(";"):
            name, _, value = each.partition(":")
            said[name.strip()] = re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found.group(1)], value.strip())
        for selector in selectors.split(","):
            tag, *classes = selector.strip().removeprefix("svg ").split(".")
            rules.append((tag, frozenset(classes), said))
    return sorted(rules, key=lambda rule: (len(rule[1]), rule[0] != ""))
