"""Compiled paths score as the registered pipeline does, or are not taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import CATEGORICAL, NUMERIC, boosted, frame
from sklearn.compose import ColumnTransformer, make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from policies.declarations.binding import Features
from tools.retrain.recipe import Hyperparameters, build
from tools.serving.features import FeatureSchema, InvalidInstance
from tools.serving.scorer import Scorer, build_scorer, compile_paths

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


def canonical(estimator: Any) -> Pipeline:
    """As scikit-learn's documentation builds pipelines for tables."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    columns = make_column_transformer(
        (numbers, NUMERIC), (OneHotEncoder(handle_unknown="ignore", min_frequency=0.4), CATEGORICAL)
    )
    table = frame(1_000)
    return make_pipeline(columns, estimator).fit(table, outcomes(table))


@pytest.mark.parametrize(
    ("pipeline", "paths"),
    [
        (lambda: boosted(1), ["onnx", "trees", "array"]),
        (lambda: boosted(1, recode=False), ["onnx", "trees", "array"]),
        (lambda: fitted(ordinal(max_categories=2), boosting(categorical_features=[0])), ["onnx", "trees", "array"]),
        (lambda: fitted(OrdinalEncoder(), LogisticRegression(max_iter=500)), ["onnx", "array"]),
        (lambda: canonical(boosting()), ["onnx"]),
        (lambda: canonical(LogisticRegression()), ["onnx"]),
        (lambda: canonical(RandomForestClassifier(10, min_samples_leaf=20, random_state=0)), ["onnx"]),
        (lambda: canonical(GradientBoostingClassifier(n_estimators=10)), ["onnx"]),
        (lambda: canonical(DecisionTreeClassifier(max_depth=4)), ["onnx"]),
        (lambda: canonical(boosting(min_samples_leaf=600)), ["onnx"]),
        (lambda: fitted(OrdinalEncoder(), GaussianNB()), ["array"]),
        (lambda: canonical(GaussianNB()), []),
    ],
    ids=["recipe", "codes-as-numbers", "rare-categories", "linear", "scaled-boosting", "scaled-linear", "forest",
         "gradient-boosting", "tree", "no-split", "bayes", "scaled-bayes"],
)  # fmt: skip
def test_every_path_scores_as_the_pipeline_does(pipeline: Any, paths: list[str]) -> None:
    model = pipeline()
    compiled, why_not_onnx = compile_paths(model, SCHEMA)
    scorer = build_scorer(model, SCHEMA, "1")
    assert list(compiled) == paths
    assert scorer.path_name == [*paths, "pipeline"][0]
    assert scorer.why_not_onnx == why_not_onnx == (None if "onnx" in paths else "GaussianNB is not understood")
    table = frame(300, seed=9)
    if not scorer.schema.null_numbers:
        table = table.fillna(0.0)
    unknown = [column.unknown for path in compiled.values() for column in path.columns if column.codes]
    if unknown and None not in unknown:
        table.loc[:20, "market"] = "MARS"
    wanted = model.predict_proba(table)[:, 1]
    for each in [Scorer("1", scorer.schema, path, name) for name, path in compiled.items()]:
        found = scores(each, table)
        assert np.abs(found - wanted).max() <= 1e-9
        assert np.array_equal(found >= 0.5, wanted >= 0.5)


def test_splits_on_many_categories_send_the_unknown_where_the_missing_go() -> None:
    rng = np.random.default_rng(3)
    categorical, numeric = ["country", "device"], ["spend"]
    table = pd.DataFrame({name: rng.choice([f"{name}{i}" for i in range(80)], 4_000) for name in categorical})
    table["spend"] = rng.normal(size=len(table))
    for name in categorical:
        table[name] = table[name].astype(object).where(rng.random(len(table)) > 0.1, None)
    lift = table["country"].fillna("country7").str[7:].astype(int) % 3 == 0
    pipeline = build(Features(numeric=numeric, categorical=categorical), Hyperparameters(min_leaf_rows=20), seed=1)
    pipeline.fit(table, (lift + table["spend"] + rng.normal(size=len(table)) > 0.5).astype(int))
    scorer = build_scorer(pipeline, FeatureSchema(tuple(numeric), tuple(categorical), (*numeric, *categorical)), "1")
    assert scorer.path_name == "onnx"
    table.loc[:500, "country"] = "MARS"
    assert np.abs(scores(scorer, table) - pipeline.predict_proba(table)[:, 1]).max() <= 1e-9


def test_null_is_refused_where_the_encoder_refuses_it() -> None:
    encoder, table = OneHotEncoder(drop="first"), frame(1_000).fillna(0.0)
    columns = make_column_transformer((encoder, CATEGORICAL), ("passthrough", NUMERIC))
    scorer = build_scorer(
        make_pipeline(columns, LogisticRegression(max_iter=500)).fit(table, outcomes(table)), SCHEMA, "1"
    )
    assert scorer.path_name == "onnx"
    with pytest.raises(InvalidInstance, match="market: must be a string, not null"):
        scorer.schema.read({"recency": 1, "orders": 2, "spend": 3, "market": None})
    with pytest.raises(InvalidInstance, match="market: is 'MARS'"):
        scorer.encode(scorer.schema.read({"recency": 1, "orders": 2, "spend": 3, "market": "MARS"}))


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
    assert "its scores differ by up to" in str(scorer.why_not_onnx)
    assert set(scores(scorer, frame(5).fillna(0.0))) == {0.125}
