"""The compiled walk over trees says bit for bit what scikit-learn's own calls say, and refuses what it cannot walk."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    MaxAbsScaler,
    MinMaxScaler,
    PowerTransformer,
    RobustScaler,
    StandardScaler,
)

from tools import tasks
from tools.serving import boosting
from tools.serving.arithmetic import NotConvertible, applied, operations
from tools.serving.array_path import between, compile_array_path
from tools.serving.features import FeatureSchema
from tools.tasks import Task

NAMES = ("size", "age", "kind")
NUMBERS = FeatureSchema(NAMES, (), NAMES)
BUILT = boosting.compiled
NOT_BUILT = "built by `make`: a C compiler is needed to test it"


def rows(size: int) -> Any:
    random = np.random.default_rng(size)
    found = random.normal(size=(size, 3))
    found[:, 2] = random.integers(0, 90, size)
    found[random.random(found.shape) < 0.1] = np.nan
    return found


def fitted(task: str, **options: Any) -> Any:
    table = rows(3_000)
    random = np.random.default_rng(1)
    value = np.nan_to_num(table[:, 0]) + (np.nan_to_num(table[:, 2]) % 3 == 0) + random.normal(0, 0.3, len(table))
    if task == "regression":
        return HistGradientBoostingRegressor(max_iter=20, **options).fit(table, value)
    cuts = [0.5] if task == "binary" else [0.0, 1.0]
    return HistGradientBoostingClassifier(max_iter=20, **options).fit(table, np.digitize(value, cuts))


def path_of(model: Any, task: Task) -> Any:
    array = compile_array_path(model, NUMBERS, task)
    assert array is not None
    found = boosting.compile_trees(array, model, task)
    assert found is not None
    return found


@pytest.mark.parametrize("options", [{}, {"categorical_features": [2]}, {"max_leaf_nodes": 2}, {"max_depth": 12}])
@pytest.mark.parametrize("name", ["binary", "multiclass", "regression"])
def test_the_compiled_walk_and_the_calls_say_the_same(
    monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any]
) -> None:
    assert BUILT is not None, NOT_BUILT
    task, model, asked = tasks.of(name), fitted(name, **options), rows(400)
    asked[:40, 2] = np.tile([-1.0, 89.0, 90.0, 255.0], 10)  # none of its categories, and one of them
    compiled = path_of(model, task)
    monkeypatch.setattr(boosting, "compiled", None)
    called = path_of(model, task)
    for size in (1, 7, 400):
        given = [compiled.encode((tuple(row), ())) for row in asked[:size].tolist()]
        np.testing.assert_array_equal(compiled.score(given), called.score(given))
    np.testing.assert_allclose(compiled.score(given), task.raw(model, asked), rtol=0, atol=1e-12)


def test_scaled_trees_are_walked_too(monkeypatch: pytest.MonkeyPatch) -> None:
    task, table = tasks.of("binary"), rows(500)
    labels = np.nan_to_num(table[:, 0]) > 0
    model = make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=9)).fit(table, labels)
    path, wanted = path_of(model, task), model.predict_proba(table)[:, 1]
    monkeypatch.setattr(StandardScaler, "transform", None)  # what takes most of the time is not called
    given = [path.encode((tuple(row), ())) for row in table.tolist()]
    np.testing.assert_allclose(path.score(given), wanted, rtol=0, atol=1e-15)


@pytest.mark.parametrize("broken", ["nowhere", "in a circle", "another column", "another category"])
def test_trees_that_lead_nowhere_are_not_walked(broken: str) -> None:
    assert BUILT is not None, NOT_BUILT
    model = fitted("binary", categorical_features=[2])
    tree = model._predictors[0][0]
    inner = np.flatnonzero(tree.nodes["is_leaf"] == 0)
    match broken:
        case "nowhere":
            tree.nodes["left"][inner[0]] = 9_999
        case "in a circle":
            tree.nodes["right"][inner[-1]] = 0
        case "another column":
            tree.nodes["feature_idx"][inner[0]] = 3
        case _:
            tree.nodes["bitset_idx"][tree.nodes["is_categorical"] == 1] = 9_999
    array = compile_array_path(model, NUMBERS)
    assert array is not None
    assert boosting.compile_trees(array, model) is None


def test_what_the_walk_cannot_take_is_refused() -> None:
    assert BUILT is not None, NOT_BUILT
    matrix, nodes, bits = np.zeros((2, 3)), np.zeros(1, dtype=boosting.NODE), np.zeros((1, 8), dtype=np.uint32)
    nodes["feature"] = -1
    roots, sums = np.zeros(1, dtype=np.int64), np.zeros((2, 1))
    good = (matrix, nodes, bits, roots, sums, 3)
    BUILT.walk(*good)
    for place, wrong in (
        (0, matrix.astype(np.int64)), (0, matrix[0]), (1, np.zeros(1)), (2, bits.astype(np.int32)), (2, bits[:, :4]),
        (3, roots.astype(np.int32)), (4, np.zeros((3, 1))), (4, np.zeros((2, 0))), (5, 4), (0, np.zeros((3, 2)).T),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"walk takes|contiguous"):
            BUILT.walk(*good[:place], wrong, *good[place + 1 :])
    sums.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        BUILT.walk(*good)


@pytest.mark.parametrize(
    "step",
    [
        StandardScaler(), StandardScaler(with_mean=False), StandardScaler(with_std=False), RobustScaler(),
        RobustScaler(with_centering=False), MinMaxScaler((-1, 3)), SimpleImputer(strategy="median"),
        FunctionTransformer(), "passthrough", make_pipeline(SimpleImputer(), StandardScaler()),
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("precision", [np.float32, np.float64])
def test_a_steps_arithmetic_is_its_transform_to_the_bit(step: Any, precision: Any) -> None:
    table = rows(300) * 1e3
    wanted = table if step == "passthrough" else step.fit(table.astype(precision)).transform(table)
    np.testing.assert_array_equal(applied(table, operations([step])), wanted)


def test_a_step_that_computes_otherwise_than_is_known_is_asked_itself() -> None:
    """As another version of scikit-learn may: a hair beside a threshold a tree answers another leaf."""
    known = StandardScaler

    class StandardScaler_(known):  # type: ignore[misc, valid-type]
        def transform(self, X: Any) -> Any:
            return super().transform(X) * (1 + 1e-15)

    StandardScaler_.__name__ = "StandardScaler"
    step, table = StandardScaler_().fit(rows(300)), rows(50)
    with pytest.raises(NotConvertible, match="what StandardScaler computes is not understood"):
        operations([step])
    np.testing.assert_array_equal(between([step])(table), step.transform(table))


@pytest.mark.parametrize(
    "step", [MaxAbsScaler(), PowerTransformer(), MinMaxScaler(clip=True), SimpleImputer(add_indicator=True)], ids=str
)
def test_other_steps_are_asked_themselves(step: Any) -> None:
    table = rows(300)
    step.fit(table)
    with pytest.raises(NotConvertible):
        operations([step])
    np.testing.assert_array_equal(between([step])(table), step.transform(table))
