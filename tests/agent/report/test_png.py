"""The report's pictures as PNG, for Slack."""

from __future__ import annotations

from io import BytesIO

import pytest
from PIL import Image

from agent.report import plots
from agent.report.plots.png import png
from tests.agent.report import samples

BLUE, GREEN, PAPER = (11, 95, 191), (16, 120, 92), (252, 252, 251)


def drawn(*pictures: tuple[str, object]) -> Image.Image:
    return Image.open(BytesIO(png(pictures))).convert("RGB")  # type: ignore[arg-type]


def count(image: Image.Image, colour: tuple[int, int, int]) -> int:
    return sum(found for found, each in image.getcolors(1 << 24) or () if each == colour)  # type: ignore[misc]


@pytest.mark.parametrize("name", ["auc", "traffic", "kpi", "distribution"])
def test_each_plot_keeps_its_size_and_the_colours_of_the_page(name: str) -> None:
    content = samples.full()
    assert content.rollout is not None
    svg = {
        "auc": lambda: plots.auc_by_week(content.weeks, content.markers, content.auc_floor, content.auc_deployed),
        "traffic": lambda: plots.rollout_traffic(content.rollout),  # type: ignore[arg-type]
        "kpi": lambda: plots.kpi_bullet(content.kpis[0], key="k"),
        "distribution": lambda: plots.distribution(content.distributions[0], key="d"),
    }[name]()
    image = drawn((name, svg))
    assert image.width == pytest.approx(2 * (float(svg.split('width="')[1].split('"')[0]) + 48), abs=2)
    assert count(image, BLUE) > 300
    assert (count(image, GREEN) > 100) is (name in ("traffic", "kpi"))
    assert image.getpixel((0, 0)) == PAPER


def test_several_stand_beside_each_other_and_a_name_is_no_formula() -> None:
    one = plots.distribution(samples.full().distributions[0], key="d")
    hostile = samples.full().distributions[-1].model_copy(update={"categories": ("$\\frac{", "<b>&", "{}")})
    image = drawn(("$x_1$ <&", one), ("b", one), ("c", one), ("$\\bad{", plots.distribution(hostile, key="h")))
    alone = drawn(("a", one))
    assert image.width > 3 * 2 * 232 and alone.height < image.height < 2 * alone.height + 64
