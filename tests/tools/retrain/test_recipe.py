"""The built-in recipe and its search on tables of any kind."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from policies.declarations.binding import Features
from tools.evaluate.metrics import Scored, auc_roc
from tools.retrain import recipe
from tools.retrain.recipe import Hyperparameters
from tools.retrain.search import Rows, fitted, search

MIXED = Features(numeric=["x", "z"], categorical=["kind"])


def _table(seed: int, rows: int, changed: bool = False) -> tuple[pd.DataFrame, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=rows), rng.integers(0, 5, rows)
    kind = rng.choice(np.array(["a", "b", None], dtype=object), rows)
    drive = (-1 if changed else 1) * 2 * x + (kind == "a")
    outcomes = (rng.random(rows) < 1 / (1 + np.exp(1 - drive))).astype(float)
    return pd.DataFrame({"kind": kind, "x": np.where(rng.random(rows) < 0.1, np.nan, x), "z": z}), outcomes


def _rows(seed: int, rows: int, oldest: float, newest: float, changed: bool = False) -> Rows:
    table, outcomes = _table(seed, rows, changed)
    ages = np.linspace(oldest, newest, rows)
    return Rows(recipe.feature_frame(table, MIXED), outcomes, ages, np.ones(rows))


def _auc(outcomes: np.ndarray, scores: np.ndarray) -> float:
    return auc_roc(Scored(outcomes, scores))


def _both(a: Rows, b: Rows) -> Rows:
    parts = ((a.outcomes, b.outcomes), (a.ages, b.ages), (a.stands_for, b.stands_for))
    return Rows(pd.concat([a.frame, b.frame]), *(np.concatenate(each) for each in parts))


def test_missing_and_unseen_values_are_scored() -> None:
    pipeline = fitted(MIXED, _rows(0, 2000, 9, 0), Hyperparameters(), 2000, 1)
    strange = pd.DataFrame({"x": [np.nan, 1.0, 2.0], "z": [1, np.nan, 3], "kind": [None, "never seen", np.nan]})
    scores = recipe.score(pipeline, recipe.feature_frame(strange, MIXED))
    assert np.all((scores > 0) & (scores < 1))


def test_columns_are_taken_by_name_not_by_place() -> None:
    pipeline = fitted(MIXED, _rows(0, 2000, 9, 0), Hyperparameters(), 2000, 1)
    table, _ = _table(5, 50)
    frame = recipe.feature_frame(table, MIXED)
    assert recipe.score(pipeline, frame) == pytest.approx(recipe.score(pipeline, frame[frame.columns[::-1]]))


def test_numbers_alone_and_categories_alone() -> None:
    table, outcomes = _table(1, 1500)
    for features in (Features(numeric=["x", "z"]), Features(categorical=["kind"])):
        frame = recipe.feature_frame(table, features)
        pipeline = recipe.fit(recipe.build(features, Hyperparameters(min_leaf_rows=20), 1), frame, outcomes)
        assert _auc(outcomes, recipe.score(pipeline, frame)) > 0.57


def test_a_table_of_few_rows_can_be_learned() -> None:
    few = _rows(2, 80, 9, 0)
    scores = recipe.score(fitted(MIXED, few, Hyperparameters(), 200_000, 1), few.frame)
    assert len(np.unique(np.round(scores, 6))) > 3


def test_after_a_change_the_search_learns_to_forget() -> None:
    train = _both(_rows(1, 12_000, 300, 5), _rows(2, 1200, 5, 2, changed=True))
    found = search(
        MIXED, train, _rows(3, 600, 2, 0, changed=True), _auc, base=Hyperparameters(iterations=30), trials=4,
        seed=1, max_seconds=600,
    )  # fmt: skip
    assert found.parameters.half_life_days in (7.0, 14.0)
    assert found.value > 0.7
    assert found.trials == 4


def test_the_same_rows_and_seed_give_the_same_search() -> None:
    train, validation = _rows(1, 3000, 60, 3), _rows(2, 600, 3, 0)

    def result() -> tuple[Hyperparameters, list[float]]:
        base = Hyperparameters(iterations=20)
        found = search(MIXED, train, validation, _auc, base=base, trials=6, seed=3, max_seconds=600)
        return found.parameters, found.validation_scores.tolist()

    assert result() == result()


def test_time_that_runs_out_keeps_the_best_so_far() -> None:
    train, validation = _rows(1, 500, 60, 3), _rows(2, 300, 3, 0)
    found = search(MIXED, train, validation, _auc, base=Hyperparameters(iterations=5), trials=50, seed=3, max_seconds=0)
    assert found.trials == 2


def test_capacity_is_not_searched() -> None:
    base = Hyperparameters(iterations=7, leaves=5)
    found = search(MIXED, _rows(1, 600, 9, 3), _rows(2, 300, 3, 0), _auc, base=base, trials=6, seed=1, max_seconds=600)
    assert (found.parameters.iterations, found.parameters.leaves) == (7, 5)


def test_parameters_survive_the_registry() -> None:
    for parameters in (Hyperparameters(), Hyperparameters(0.05, 40, 8, 33, 2.5, 14.0)):
        assert Hyperparameters.from_params(parameters.as_params()) == parameters
    assert Hyperparameters.from_params({"leaves": "many", "C": "1.0"}) == Hyperparameters()
