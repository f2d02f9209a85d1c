"""A monitor on stationary data is calm however often it looks, and small shifts are found; seeded and small.

`python -m evals.benchmarks false_alarms` shows the same over a thousand days.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from evals.benchmarks.calm.columns import SHAPES, Stationary, counted
from evals.benchmarks.calm.monitor import THRESHOLDS, day
from evals.benchmarks.calm.power import no_less, powers
from tools.check_drift import compare
from tools.check_drift.numeric import summarise


@pytest.mark.parametrize("rows", [200, 1_000, 10_000, 1_000_000])
def test_a_daily_check_of_fifty_features_is_calm(rows: int) -> None:
    columns = Stationary(rows)
    said = [day(columns, rows, 1) for _ in range(12)]
    # P(4 or more of 12 | 5%) = 0.002.
    assert sum(each.evidence for each in said) <= 3
    assert all(sum(method in each.both for each in said) <= 3 for method in THRESHOLDS)


@pytest.mark.parametrize("rows", [200, 10_000])
def test_twenty_four_looks_a_day_are_calm(rows: int) -> None:
    columns = Stationary(rows + 1)
    assert sum(day(columns, rows, 24).evidence for _ in range(2)) <= 1


def test_one_day_of_a_thresholds_alone_is_not() -> None:
    assert len(day(Stationary(3), 200, 1).threshold) == len(THRESHOLDS)


def test_evidence_finds_what_the_peers_find() -> None:
    found = powers(200, 40, np.random.default_rng(7))
    assert no_less(found, 40)
    assert found[-1].evidently.ours_at_level > 0.95


def test_counts_over_atoms_are_what_profiling_the_rows_gives() -> None:
    columns = Stationary(4)
    for shape in SHAPES:
        atoms = columns.atoms[shape]
        counts = columns.random.multinomial(5_000, atoms.shares)
        rows = np.repeat(atoms.values, counts)
        direct, made = summarise(rows, centre=atoms.template.centre), counted(atoms, counts, 0)
        np.testing.assert_array_equal(direct.ranks, made.ranks)
        np.testing.assert_array_equal(direct.counts, made.counts)
        np.testing.assert_array_equal(direct.edges, made.edges)
        assert made.std == pytest.approx(direct.std, rel=1e-4)


@pytest.mark.parametrize("shape", SHAPES)
def test_p_values_of_every_shape_are_no_smaller_than_chance(shape: str) -> None:
    random = np.random.default_rng(9)
    draw = SHAPES[shape]
    p_values = []
    for _ in range(150):
        (change,) = compare({"x": draw(random, 300)}, {"x": draw(random, 150)})
        p_values.append(change.p_value)
    assert stats.kstest(p_values, "uniform", alternative="greater").pvalue > 0.001
