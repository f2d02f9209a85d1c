"""The weighted improvement and the three verdicts."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.evaluate.comparison import Outcome, WeightedMetric, compare, judge, relative_improvement
from tools.evaluate.metrics import Direction

SEED_METRICS = [
    WeightedMetric(name="auc_roc", weight=0.4, direction=Direction.HIGHER),
    WeightedMetric(name="f1", weight=0.3, direction=Direction.HIGHER),
    WeightedMetric(name="inference_ms", weight=0.2, direction=Direction.LOWER),
    WeightedMetric(name="model_size_mb", weight=0.1, direction=Direction.LOWER),
]
CHAMPION = {"auc_roc": 0.80, "f1": 0.40, "inference_ms": 5.0, "model_size_mb": 0.2}
values = st.floats(-10, 10, allow_nan=False)


def test_the_seeds_example_by_hand() -> None:
    challenger = {"auc_roc": 0.84, "f1": 0.42, "inference_ms": 4.0, "model_size_mb": 0.25}
    found = compare(SEED_METRICS, CHAMPION, challenger)
    assert found.improvement == pytest.approx(0.4 * 0.05 + 0.3 * 0.05 + 0.2 * 0.2 - 0.1 * 0.25)
    assert [part.relative for part in found.contributions] == pytest.approx([0.05, 0.05, 0.2, -0.25])


def test_zero_is_no_division() -> None:
    assert relative_improvement(0, 0, Direction.HIGHER) == 0
    assert relative_improvement(0, 0.3, Direction.HIGHER) == 1
    assert relative_improvement(0, 0.3, Direction.LOWER) == -1
    assert relative_improvement(-2, -1, Direction.HIGHER) == 0.5


@given(a=values, b=values)
def test_better_is_positive_in_the_good_direction(a: float, b: float) -> None:
    higher = relative_improvement(a, b, Direction.HIGHER)
    assert (higher > 0) == (b > a) or abs(b - a) < 1e-300
    assert relative_improvement(a, b, Direction.LOWER) == -higher


def test_a_missing_metric_adds_nothing_and_forbids_a_win() -> None:
    challenger = {**CHAMPION, "auc_roc": 0.9}
    del challenger["f1"]
    found = compare(SEED_METRICS, CHAMPION, challenger)
    assert found.missing == ["f1"]
    assert found.improvement == pytest.approx(0.4 * 0.125)
    interval = (0.04, 0.06)
    assert judge(found.improvement, interval, 0.01, complete=not found.missing) is Outcome.TIE
    assert judge(found.improvement, interval, 0.01) is Outcome.CHALLENGER_WINS


def test_a_measured_difference_replaces_the_ratio() -> None:
    challenger = {**CHAMPION, "inference_ms": 5.3}
    found = compare(SEED_METRICS, CHAMPION, challenger, measured={"inference_ms": (0.0, "within noise")})
    assert found.improvement == 0
    assert found.contributions[2].detail == "within noise"


@pytest.mark.parametrize(
    ("improvement", "interval", "verdict"),
    [
        (0.05, (0.02, 0.08), Outcome.CHALLENGER_WINS),
        (0.05, (-0.01, 0.11), Outcome.TIE),
        (0.005, (0.004, 0.006), Outcome.TIE),
        (-0.005, (-0.03, 0.02), Outcome.TIE),
        (-0.005, (-0.009, -0.001), Outcome.TIE),
        (-0.02, (-0.05, 0.01), Outcome.TIE),
        (-0.02, (-0.03, -0.01), Outcome.CHAMPION_WINS),
    ],
)
def test_the_three_ends(improvement: float, interval: tuple[float, float], verdict: Outcome) -> None:
    assert judge(improvement, interval, 0.01) is verdict


@pytest.mark.parametrize("require_interval", [True, False])
def test_no_difference_is_a_tie_even_without_a_minimum(require_interval: bool) -> None:
    assert judge(0.0, (0.0, 0.0), 0.0, require_interval=require_interval) is Outcome.TIE
    assert judge(-0.0, (-0.01, 0.01), 0.0, require_interval=require_interval) is Outcome.TIE


def test_the_declaration_may_turn_the_interval_off() -> None:
    assert judge(0.05, (-0.01, 0.11), 0.01, require_interval=False) is Outcome.CHALLENGER_WINS
    assert judge(-0.05, (-0.11, 0.01), 0.01, require_interval=False) is Outcome.CHAMPION_WINS


@given(improvement=st.floats(-1, 1), low=st.floats(-1, 1), width=st.floats(0, 1), minimum=st.floats(0, 0.5))
def test_nobody_wins_on_an_interval_that_includes_zero(
    improvement: float, low: float, width: float, minimum: float
) -> None:
    found = judge(improvement, (low, low + width), minimum)
    if found is Outcome.CHALLENGER_WINS:
        assert low > 0
        assert improvement >= minimum
    mirrored = judge(-improvement, (-low - width, -low), minimum)
    assert (found is Outcome.CHALLENGER_WINS) == (mirrored is Outcome.CHAMPION_WINS)
    assert not math.isnan(improvement)
