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
from policies.declarations.drift import DriftMonitor
from tools.check_drift import compare
from tools.check_drift.evidence import DAILY_FALSE_ALARMS
from tools.check_drift.numeric import summarise
from tools.check_drift.tool import _alpha


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
    found = powers(300, 60, np.random.default_rng(7))
    assert no_less(found, 60)
    assert found[-1].ours_level > 0.95


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


def monitor(*checks: dict[str, object]) -> DriftMonitor:
    return DriftMonitor.model_validate({"model": "M", "baseline": {"dataset": "t"}, "monitors": list(checks)})


DATA = {"type": "data_drift", "method": "psi", "threshold": 0.2}
FEATURE = {"type": "feature_drift", "method": "psi", "threshold": 0.2}
DECAY = {"type": "concept_drift", "method": "performance_decay", "metric": "auc_roc", "threshold": 0.05}
SCHEMA = {"type": "schema_drift", "method": "contract_validation", "expected_schema": "S"}


def test_a_days_alarms_are_divided_by_every_test_of_every_run() -> None:
    """A run makes all checks of a monitor: a daily check beside an hourly one looks 24 times."""
    hourly, daily = {"frequency": "hourly"}, {"frequency": "daily"}
    both = monitor(DATA | hourly, DECAY | daily, SCHEMA | daily)
    assert _alpha(both, 0) == pytest.approx(DAILY_FALSE_ALARMS / 2 / 25)
    assert sum(2 * _alpha(both, before) for before in range(3000)) <= DAILY_FALSE_ALARMS
    # Feature drift also judges the correlations.
    assert _alpha(monitor(FEATURE | daily), 0) == pytest.approx(DAILY_FALSE_ALARMS / 2 / 2)
    assert _alpha(monitor(FEATURE | daily | {"method": "correlation"}), 0) == pytest.approx(DAILY_FALSE_ALARMS / 2)


@pytest.mark.parametrize(
    ("frequency", "looks"),
    [("0 * * * *", 24), ("*/10 8-17 * * 1-5", 60), ("0 2 * * 0", 1), ("weekly", 1), ("on_ingestion", 1)],
)
def test_cron_expressions_are_counted_by_their_busiest_day(frequency: str, looks: int) -> None:
    assert _alpha(monitor(DATA | {"frequency": frequency}), 0) == pytest.approx(DAILY_FALSE_ALARMS / (looks + 1))


def test_looks_beyond_the_plan_get_less_and_less() -> None:
    watched = monitor(DATA | {"frequency": "on_ingestion"})
    alphas = [_alpha(watched, before) for before in range(5)]
    assert alphas[0] > alphas[1] > alphas[2] > alphas[3] > alphas[4]
    assert sum(alphas) < DAILY_FALSE_ALARMS
