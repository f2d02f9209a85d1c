"""Compiled paths score as the registered pipeline does, or are not taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import CATEGORICAL, NUMERIC, boosted, frame
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

from tools.serving.features import FeatureSchema, InvalidInstance
from tools.serving.scorer import Scorer, build_scorer

SCHEMA = FeatureSchema(tuple(NUMERIC), tuple(CATEGORICAL), (*NUMERIC, *CATEGORICAL))


def outcomes(table: pd.DataFrame) -> Any:
    return (table["recency"] + 10 * (table["market"] == "EU") > 45).astype(int)


def fitted(encoder: Any, estimator: Any) -> Pipeline:
    table = frame(1_000).fillna(0.0)
    columns = ColumnTransformer([("codes", encoder, CATEGORICAL)], remainder="passthrough")
    return Pipeline([("columns", columns), ("model", estimator)]).fit(table, outcomes(table))


def scores(scorer: Scorer, table: pd.DataFrame) -> Any:
    instances = table.astype(object).where(table.notna(), None).to_dict("records")
    return np.array(scorer.score([scorer.encode(scorer.schema.read(each)) for each in instances]))


def ordinal(**options: Any) -> OrdinalEncoder:
    return OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan, **options
    )


def boosting(**options: Any) -> HistGradientBoostingClassifier:
    return HistGradientBoostingClassifier(max_iter=5, **options)


@pytest.mark.parametrize(
    ("pipeline", "path"),
    [
        (lambda: boosted(1), "trees"),
        (lambda: boosted(1, recode=False), "trees"),
        (lambda: fitted(ordinal(max_categories=2), boosting(categorical_features=[0])), "trees"),
        (lambda: fitted(OrdinalEncoder(), LogisticRegression(max_iter=500)), "array"),
        (lambda: fitted(OneHotEncoder(handle_unknown="ignore"), LogisticRegression(max_iter=500)), "pipeline"),
    ],
    ids=["recipe", "codes-as-numbers", "rare-categories", "linear", "one-hot"],
)
def test_scores_equal_the_pipelines_own(pipeline: Any, path: str) -> None:
    model = pipeline()
    scorer = build_scorer(model, SCHEMA, "1")
    assert scorer.path_name == path
    table = frame(300, seed=9)
    if not scorer.schema.null_numbers:
        table = table.fillna(0.0)
    if path != "array":
        table.loc[:20, "market"] = "MARS"
    assert np.abs(scores(scorer, table) - model.predict_proba(table)[:, 1]).max() <= 1e-9


def test_null_is_refused_where_the_model_takes_none() -> None:
    scorer = build_scorer(fitted(OrdinalEncoder(), LogisticRegression(max_iter=500)), SCHEMA, "1")
    with pytest.raises(InvalidInstance, match="spend: must be a number, not null"):
        scorer.schema.read({"recency": 1, "orders": 2, "spend": None, "market": "EU"})


def test_unseen_category_is_refused_where_the_encoder_refuses_it() -> None:
    scorer = build_scorer(fitted(OrdinalEncoder(), LogisticRegression(max_iter=500)), SCHEMA, "1")
    values = scorer.schema.read({"recency": 1, "orders": 2, "spend": 3, "market": "MARS"})
    with pytest.raises(InvalidInstance, match="market: is 'MARS'; the model knows APAC, EU, US"):
        scorer.encode(values)


def test_a_path_that_disagrees_is_not_taken() -> None:
    model = fitted(ordinal(), boosting())
    model.predict_proba = lambda X: np.full((len(X), 2), 0.125)  # not what its steps say
    scorer = build_scorer(model, SCHEMA, "1")
    assert scorer.path_name == "pipeline"
    assert set(scores(scorer, frame(5).fillna(0.0))) == {0.125}
