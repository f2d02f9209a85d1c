"""The built-in recipe on tables of any kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from policies.declarations.binding import Features
from tests.tools.retrain.samples import MIXED, some_rows, table
from tools.evaluate.metrics import Scored, auc_roc
from tools.retrain import recipe
from tools.retrain.recipe import Hyperparameters
from tools.retrain.recipes import BuiltIn
from tools.retrain.sampling import Rows


def _fitted(rows: Rows, cap: int) -> Any:
    return BuiltIn(MIXED, Hyperparameters()).fit({}, rows, cap, 1)


def test_missing_and_unseen_values_are_scored() -> None:
    pipeline = _fitted(some_rows(0, 2000, 9, 0), 2000)
    strange = pd.DataFrame({"x": [np.nan, 1.0, 2.0], "z": [1, np.nan, 3], "kind": [None, "never seen", np.nan]})
    scores = recipe.predict(pipeline, recipe.feature_frame(strange, MIXED)).scores
    assert np.all((scores > 0) & (scores < 1))


def test_columns_are_taken_by_name_not_by_place() -> None:
    pipeline = _fitted(some_rows(0, 2000, 9, 0), 2000)
    found, _ = table(5, 50)
    frame = recipe.feature_frame(found, MIXED)
    assert recipe.predict(pipeline, frame).scores == pytest.approx(
        recipe.predict(pipeline, frame[frame.columns[::-1]]).scores
    )


def test_numbers_alone_and_categories_alone() -> None:
    found, outcomes = table(1, 1500)
    for features in (Features(numeric=["x", "z"]), Features(categorical=["kind"])):
        frame = recipe.feature_frame(found, features)
        pipeline = recipe.fit(recipe.build(features, Hyperparameters(min_leaf_rows=20), 1), frame, outcomes)
        assert auc_roc(Scored(outcomes, recipe.predict(pipeline, frame).scores)) > 0.57


def test_a_table_of_few_rows_can_be_learned() -> None:
    few = some_rows(2, 80, 9, 0)
    scores = recipe.predict(_fitted(few, 200_000), few.frame).scores
    assert len(np.unique(np.round(scores, 6))) > 3


def test_parameters_survive_the_registry() -> None:
    for parameters in (Hyperparameters(), Hyperparameters(0.05, 40, 8, 33, 2.5, 14.0)):
        assert Hyperparameters.from_params(parameters.as_params()) == parameters
    assert Hyperparameters.from_params({"leaves": "many", "C": "1.0"}) == Hyperparameters()
