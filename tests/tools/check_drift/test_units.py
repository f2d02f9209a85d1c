"""Which columns came in another unit: property-style, over shifts, factors and shapes."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from policies.declarations.drift import DriftType
from tests.tools.check_drift.world import NOW, World
from tools.check_drift import profile
from tools.check_drift.counting import Floats
from tools.check_drift.numeric import NumericSummary
from tools.check_drift.signs import FACTORS, unit_factor

FAR = [factor for factor in FACTORS if factor >= 10]
SHIFTS = (-0.2, 0.0, 0.03, 0.06, 0.1, 0.2, 0.25)


def found(before: Floats, now: Floats) -> float | None:
    baseline = profile({"x": before})
    was, current = baseline.columns["x"], profile({"x": now}, like=baseline).columns["x"]
    assert isinstance(was, NumericSummary)
    assert isinstance(current, NumericSummary)
    return unit_factor(was, current)


def column(shape: str, random: np.random.Generator, rows: int, shift: float) -> Floats:
    """Values around 50, or for `prices` of median 50, whose mean or scale moved by `shift`."""
    if shape == "prices":
        return random.lognormal(math.log(50), 0.6, rows) * (1 + shift)
    return random.normal(50 * (1 + shift), {"narrow": 2, "usual": 5, "wide": 20}[shape], rows)


@pytest.mark.parametrize("shape", ["narrow", "usual", "wide", "prices"])
@pytest.mark.parametrize("factor", [*FAR, *(1 / factor for factor in FAR)])
@pytest.mark.parametrize("rows", [200, 4000])
def test_another_unit_is_one_whatever_else_moved_a_little(shape: str, factor: float, rows: int) -> None:
    random = np.random.default_rng(8)
    before = column(shape, random, 20_000, 0.0)
    for shift in SHIFTS:
        named = found(before, column(shape, random, rows, shift) * factor)
        assert named is not None, shift
        assert abs(math.log(named / factor)) < math.log(1.5), shift  # 10 and a fifth are 12 as well


@pytest.mark.parametrize("factor", [2.54, 1.609344, 2.20462])
def test_small_factors_are_told_from_the_world_only_where_nothing_else_moved(factor: float) -> None:
    random = np.random.default_rng(9)
    before = random.normal(50, 5, 20_000)
    assert found(before, random.normal(50, 5, 4000) * factor) == factor
    assert found(before, random.normal(53.5, 5, 4000) * factor) is None


def test_columns_that_cannot_be_scaled_are_in_their_unit() -> None:
    usual = np.random.default_rng(11).normal(50, 5, 2000)
    nothing, tiny, huge = np.full(50, np.nan), usual * 1e-300, usual * 1e300
    for before, now in (
        (usual, nothing),
        (nothing, usual),
        (huge, tiny),
        (tiny, huge),
        (usual, usual * 0),
        (usual, -usual),
    ):
        assert found(before, now) is None


@pytest.mark.parametrize("n", [100, 400, 4000])
def test_columns_that_the_world_moved_are_in_their_unit(n: int) -> None:
    random = np.random.default_rng(10)
    prices = random.lognormal(0, 1, 20_000)
    around_zero = random.normal(50, 500, 20_000)
    orders = random.poisson(2, 20_000).astype(float)
    rare = np.where(random.random(20_000) < 0.7, 0.0, random.lognormal(0, 1, 20_000))
    heavy = random.pareto(1.2, 20_000) + 1
    world = {
        "prices that double": (prices, random.lognormal(0, 1, n) * 2),
        "prices a few times as high": (prices, random.lognormal(0, 1, n) * 5),
        "orders up by ten": (prices, random.lognormal(0, 1, n) + 10),
        "a narrow column that moved far": (random.normal(1, 0.1, 20_000), random.normal(10, 0.1, n)),
        "a narrow column that moved far and widened": (random.normal(1, 0.1, 20_000), random.normal(10, 0.3, n)),
        "ten times the counts": (orders + 1, random.poisson(20, n) + 11.0),
        "ten times the counts, from none": (orders, random.poisson(20, n).astype(float)),
        "the upper half up by ten times": (prices, np.where(prices > 1, prices * 10, prices)[:n]),
        "the lower half up": (heavy, random.pareto(1.2, n) + 10),
        "a tail ten times as heavy": (prices, random.lognormal(0, 2.3, n)),
        "small ones gone": (prices, random.lognormal(2.3, 0.3, n)),
        "wider for some": (prices, random.lognormal(2.3, 1.6, n)),
        "less of nothing": (rare, random.lognormal(0, 1, n)),
        "a mean of ten times in a spread of ten": (around_zero, random.normal(500, 500, n)),
        "a mean of a hundred times": (around_zero, random.normal(5000, 500, n)),
        "a mean that turned": (around_zero, random.normal(-500, 500, n)),
        "a share that collapsed": (random.beta(20, 20, 20_000), random.beta(2, 40, n)),
        "a bit of everything": (prices, random.lognormal(0.3, 1.2, n)),
    }
    assert {name: unit for name, sides in world.items() if (unit := found(*sides))} == {}
    for shift in (*SHIFTS, 0.5, 1.0, 2.0, 4.0):
        for shape in ("narrow", "usual", "wide", "prices"):
            assert found(column(shape, random, 20_000, 0.0), column(shape, random, n, shift)) is None, (shape, shift)


@pytest.mark.parametrize(("days_ago", "kind"), [(3.5, "pipeline"), (5, "pipeline"), (2, "pipeline"), (0, "world")])
def test_a_window_partly_in_another_unit_is_judged_since_the_change(tmp_path: Path, days_ago: float, kind: str) -> None:
    checks = [{"type": DriftType.data_drift.value, "method": "psi", "threshold": 0.1}]
    world = World(tmp_path, checks)
    for table, rows in (("features.baseline", world.rows(NOW - timedelta(days=60))), ("features.live", world.live(28))):
        rows["x"] += 10
        if table == "features.live":
            rows.loc[rows["at"] >= NOW - timedelta(days=days_ago), "x"] *= 100 * 1.06
            if not days_ago:
                rows.loc[rows["at"] >= NOW - timedelta(days=4), "x"] += 2
        world.write(table, rows)
    assert world.check().diagnosis.kind == kind
