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


STEPS = [
    StandardScaler(), StandardScaler(with_mean=False), StandardScaler(with_std=False), RobustScaler(),
    RobustScaler(with_centering=False), MinMaxScaler((-1, 3)), SimpleImputer(strategy="median"),
    FunctionTransformer(), "passthrough", make_pipeline(SimpleImputer(), StandardScaler()),
]  # fmt: skip


@pytest.mark.parametrize("step", [*STEPS, PowerTransformer(), SimpleImputer(add_indicator=True)], ids=str)
def test_trees_behind_scaling_are_walked_too(monkeypatch: pytest.MonkeyPatch, step: Any) -> None:
    assert BUILT is not None, NOT_BUILT
    task, table = tasks.of("binary"), rows(500) * 1e3
    model = make_pipeline(step, HistGradientBoostingClassifier(max_iter=9)).fit(table, np.nan_to_num(table[:, 0]) > 0)
    compiled, wanted = path_of(model, task), model.predict_proba(table)[:, 1]  # an indicator's columns are walked too
    monkeypatch.setattr(boosting, "compiled", None)
    called = path_of(model, task)
    given = [compiled.encode((tuple(row), ())) for row in table.tolist()]
    np.testing.assert_array_equal(compiled.score(given), called.score(given))
    np.testing.assert_allclose(compiled.score(given), wanted, rtol=0, atol=1e-15)


def test_a_known_scaler_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    table = rows(500)
    model = make_pipeline(StandardScaler(), HistGradientBoostingClassifier(max_iter=9))
    path = path_of(model.fit(table, np.nan_to_num(table[:, 0]) > 0), tasks.of("binary"))
    monkeypatch.setattr(StandardScaler, "transform", None)  # it takes longer than the trees
    assert len(path.score([path.encode((tuple(row), ())) for row in table.tolist()])) == 500


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


def a_leaf(**other: Any) -> dict[str, Any]:
    """What `forest` takes: one tree of one leaf, worth 2, after 1 is taken from each of three columns."""
    nodes = np.zeros(1, dtype=boosting.NODE)
    nodes["value"] = 2.0
    found = {
        "nodes": nodes, "bits": np.zeros((1, 8), np.uint32), "roots": np.zeros(1, np.int64), "start": np.ones(1),
        "places": np.arange(3), "kinds": np.zeros(1, np.int64), "values": np.ones((1, 3)),
    }  # fmt: skip
    return found | other


@pytest.mark.parametrize(
    "wrong",
    [
        {"nodes": np.zeros(1)}, {"bits": np.zeros((1, 8), np.int32)}, {"bits": np.zeros((1, 4), np.uint32)},
        {"roots": np.zeros(1, np.int32)}, {"start": np.zeros(0)}, {"start": np.zeros((1, 1))},
        {"places": np.arange(3.0)}, {"kinds": np.zeros(2, np.int64)}, {"values": np.ones((1, 2))},
        {"values": np.ones((1, 6))[:, ::2]},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_forest_is_refused(wrong: dict[str, Any]) -> None:
    assert BUILT is not None, NOT_BUILT
    with pytest.raises(ValueError, match=r"forest takes|contiguous"):
        BUILT.forest(*a_leaf(**wrong).values())


def test_what_the_walk_cannot_take_is_refused() -> None:
    assert BUILT is not None, NOT_BUILT
    forest, rows, sums = BUILT.forest(*a_leaf().values()), [(1.0, 2, None), [0.0] * 3], np.zeros((2, 1))
    BUILT.walk(forest, rows, sums)
    assert sums.tolist() == [[3.0], [3.0]]
    BUILT.walk(forest, [], np.zeros((0, 1)))
    for wrong, message in (
        (([(1.0, 2.0)] * 2, sums), "as many numbers"), ([[(1.0, "2", 3.0)] * 2, sums], "numbers and None, not str"),
        ([[(1.0, True, 3.0)] * 2, sums], "not bool"), ([["123"] * 2, sums], "tuples or lists"),
        ([tuple(rows), sums], "must be list"), ([[(1.0, 10**400, 3.0)] * 2, sums], "too large"),
        ([rows[:1], sums], "walk takes a forest"), ([rows, np.zeros((2, 2))], "walk takes a forest"),
        ([rows, sums.astype(np.float32)], "walk takes a forest"), ([rows, np.zeros((4, 1))[::2]], "contiguous"),
    ):  # fmt: skip
        with pytest.raises((ValueError, TypeError, OverflowError), match=message):
            BUILT.walk(forest, *wrong)
    with pytest.raises((ValueError, TypeError)):
        BUILT.walk(None, rows, sums)
    sums.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        BUILT.walk(forest, rows, sums)


@pytest.mark.parametrize("step", STEPS, ids=str)
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
