"""Importances and explained shares against models whose dependence on each feature is known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tools.check_drift.attribution import explained, importances, sample_size

NAMES = ["strong", "weak", "idle", "plan"]


def rows(seed: int, size: int = 2000, shift: float = 0.0, annual: float = 0.5) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    strong = random.normal(shift, 1, size)
    return pd.DataFrame(
        {
            "strong": strong,
            "weak": 0.7 * strong + random.normal(0, 1, size) + shift * 0.3,
            "idle": random.normal(shift, 1, size),
            "plan": np.where(random.random(size) < annual, "annual", "monthly"),
        }
    )


def score(frame: pd.DataFrame) -> np.ndarray:
    annual = (frame["plan"] == "annual").to_numpy(dtype=float)
    return 1.0 * frame["strong"].to_numpy() + 0.25 * frame["weak"].to_numpy() + 0.5 * annual


def test_importance_is_the_share_in_what_moves_the_scores() -> None:
    found = importances(score, rows(1), NAMES)
    assert sum(found.values()) == pytest.approx(1)
    assert found["idle"] == 0
    # Root mean square change by shuffling: weight · σ · √2.
    assert found["strong"] / found["weak"] == pytest.approx(1.0 / (0.25 * np.sqrt(1.49)), rel=0.05)


def test_a_drifted_feature_explains_what_it_does_to_the_scores() -> None:
    base, now = rows(1), rows(2)
    now["strong"] += 1.0
    found = explained(score, base, now, ["idle", "strong"], ["plan"])
    assert found is not None
    assert found["strong"] == pytest.approx(1, abs=0.1)
    assert found["idle"] == pytest.approx(0, abs=0.02)


def test_shares_are_split_by_what_each_adds_and_sum_to_the_whole() -> None:
    base, now = rows(1), rows(2, annual=0.9)
    now["strong"] += 0.4
    found = explained(score, base, now, ["strong", "plan", "idle"], ["plan"])
    assert found is not None
    # The mean score moves by 0.4 because of `strong`, by 0.5 · 0.4 because of `plan`.
    assert found["strong"] == pytest.approx(2 / 3, abs=0.12)
    assert found["plan"] == pytest.approx(1 / 3, abs=0.12)
    assert 0.8 <= sum(found.values()) <= 1


def test_what_drift_of_single_features_cannot_explain_is_left_over() -> None:
    base, now = rows(1), rows(2)
    now["weak"] = -now["weak"]
    now["idle"] += 2
    found = explained(lambda frame: frame["strong"].to_numpy() * frame["weak"].to_numpy(), base, now, ["idle"], [])
    assert found == {"idle": 0.0}


def test_scores_that_did_not_change_have_nothing_to_explain() -> None:
    assert explained(score, rows(1), rows(2).assign(idle=5.0), ["idle"], ["plan"]) is None


def test_nulls_and_new_categories_are_carried_over() -> None:
    base, now = rows(1), rows(2)
    now.loc[now.index[:1000], "strong"] = np.nan
    now["plan"] = np.where(np.arange(len(now)) % 4 == 0, None, "weekly")
    seen: list[pd.DataFrame] = []

    def keeping(frame: pd.DataFrame) -> np.ndarray:
        seen.append(frame)
        return np.nan_to_num(frame["strong"].to_numpy(), nan=-3.0)

    found = explained(keeping, base, now, ["strong", "plan"], ["plan"])
    assert found is not None
    assert found["strong"] == pytest.approx(1, abs=0.1)
    both = seen[3]
    assert both["strong"].isna().mean() == pytest.approx(0.5)
    assert both["plan"].isna().mean() == pytest.approx(0.25)
    assert set(both["plan"].dropna()) == {"weekly"}


def test_wide_tables_are_sampled_more_thinly() -> None:
    assert sample_size(10) == 2000
    assert sample_size(500) == 400
    assert sample_size(100_000) == 200
