"""Pictures of drifted features: shares over common bins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from agent.report.distributions import BINS, distribution_of


def test_numbers_share_bins_and_add_up_to_one() -> None:
    rng = np.random.default_rng(3)
    before = pd.Series(np.append(rng.normal(0, 1, 5000), [np.nan, np.inf, 1e9]), name="spend")
    now = pd.Series(rng.normal(1, 1, 3000), name="spend")
    found = distribution_of(before, now, categorical=False)
    assert len(found.edges) == BINS + 1
    assert sum(found.baseline) == pytest.approx(1)
    assert sum(found.current) == pytest.approx(1)
    assert found.edges[-1] < 10, "a wild value stretches nothing"
    assert np.dot(found.current, found.edges[1:]) - np.dot(found.baseline, found.edges[1:]) == pytest.approx(1, abs=0.1)


def test_few_whole_numbers_have_a_bin_each() -> None:
    before, now = (pd.Series(values, name="tickets") for values in ([0, 0, 1, 2], [1, 2, 2, 3]))
    found = distribution_of(before, now, categorical=False)
    assert found.edges == (-0.5, 0.5, 1.5, 2.5, 3.5)
    assert found.baseline == (0.5, 0.25, 0.25, 0.0)
    assert found.current == (0.0, 0.25, 0.5, 0.25)


def test_categories_keep_the_order_of_the_baseline_and_what_is_new_or_missing() -> None:
    before = pd.Series(["web", "web", "app", "web"], name="channel")
    now = pd.Series(["app", "kiosk", None, "web"], name="channel")
    found = distribution_of(before, now, categorical=True)
    assert found.categories[:2] == ("web", "app")
    assert set(found.categories) == {"web", "app", "kiosk", "(missing)"}
    assert found.baseline[:2] == (0.75, 0.25)
    assert sum(found.current) == pytest.approx(1)


def test_a_constant_column_can_be_drawn() -> None:
    same = pd.Series([0.25] * 5, name="x")
    found = distribution_of(same, same, categorical=False)
    assert found.baseline == found.current
    assert found.edges[0] < found.edges[-1]
