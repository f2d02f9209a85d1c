"""Signs of a broken pipeline in single columns."""

from __future__ import annotations

import numpy as np
import pytest

from tools.check_drift import profile
from tools.check_drift.bins import Summary
from tools.check_drift.signs import pipeline_sign

RANDOM = np.random.default_rng(6)
HOURS = RANDOM.lognormal(1, 0.5, 5000)
PLANS = RANDOM.choice(["monthly", "annual"], 5000)


def summary(values: object) -> Summary:
    return profile({"x": values}).columns["x"]


@pytest.mark.parametrize(
    ("before", "after", "sign"),
    [
        (HOURS, HOURS * 100, "unit changed by a factor of 100"),
        (HOURS, HOURS / 60, "unit changed by a factor of 0.0166667"),
        (HOURS, np.where(RANDOM.random(5000) < 0.3, np.nan, HOURS), "nulls"),
        (HOURS, np.full(500, 3.0), "constant 3"),
        (PLANS, np.array(["1", "2"] * 300), "codes changed: 100% of the values were never seen"),
        (PLANS, np.array(["annual"] * 300), "constant annual"),
        (HOURS, PLANS, "type changed"),
    ],
)
def test_broken_pipelines_show(before: object, after: object, sign: str) -> None:
    assert sign in str(pipeline_sign(summary(before), summary(after)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HOURS, HOURS * 1.12),
        (HOURS, HOURS + 3),
        (PLANS, RANDOM.choice(["monthly", "annual", "weekly"], 800, p=[0.3, 0.5, 0.2])),
    ],
)
def test_a_changed_world_shows_none(before: object, after: object) -> None:
    assert pipeline_sign(summary(before), summary(after)) is None


def test_a_missing_column_is_a_sign() -> None:
    assert pipeline_sign(summary(HOURS), None) == "missing"
