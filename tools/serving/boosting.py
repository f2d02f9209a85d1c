"""The trees of a histogram gradient boosting, called without the estimator's checks on every request.

`predict_proba` validates its input and, with `categorical_features`, runs a ColumnTransformer of its own: more than
the trees themselves take for a few rows. The attributes read here are private to scikit-learn; where they are
missing or disagree, `compile_trees` gives None or fails the parity check of `scorer`, and `predict_proba` serves.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tools.serving.array_path import ArrayPath, Column, Matrix, Scores
from tools.tasks import BINARY, Task


def compile_trees(path: ArrayPath, pipeline: Any, task: Task = BINARY) -> ArrayPath | None:
    """`path` with its final estimator replaced by its bare trees; None if it is no such estimator."""
    from sklearn.compose import ColumnTransformer

    steps = [step for _, step in getattr(pipeline, "steps", [("", pipeline)])]
    estimator = steps[-1]
    between = steps[1:-1] if isinstance(steps[0], ColumnTransformer) else steps[:-1]
    link = None if between else task.link(estimator)
    if link is None:
        return None
    try:
        columns = _reordered(path.columns, estimator)
        return ArrayPath(path.schema, columns, _trees(estimator, link)) if columns is not None else None
    except (AttributeError, KeyError, IndexError, ValueError, TypeError):
        return None


def _reordered(columns: tuple[Column, ...], estimator: Any) -> tuple[Column, ...] | None:
    """The columns as the trees count them: categorical ones first, recoded by the estimator's own encoder."""
    if estimator._preprocessor is None:
        return columns
    encoder = estimator._preprocessor.named_transformers_["encoder"]
    mask = estimator.is_categorical_
    first = [column for column, categorical in zip(columns, mask, strict=True) if categorical]
    rest = [column for column, categorical in zip(columns, mask, strict=True) if not categorical]
    recoded = []
    for column, categories in zip(first, encoder.categories_, strict=True):
        known = enumerate(categories.tolist())
        inner = {float(category): float(code) for code, category in known if not math.isnan(category)}
        if column.codes is None:
            recoded.append(Column(column.feature, inner, float("nan")))
            continue
        outer = {value: inner.get(code, float("nan")) for value, code in column.codes.items()}
        unknown = None if column.unknown is None else inner.get(column.unknown, float("nan"))
        recoded.append(Column(column.feature, outer, unknown))
    return (*recoded, *rest)


def _trees(estimator: Any, link: Callable[[Matrix], Scores]) -> Callable[[Matrix], Scores]:
    bitsets, index = estimator._bin_mapper.make_known_categories_bitsets()
    trees = [(k, tree.predict) for trees in estimator._predictors for k, tree in enumerate(trees)]
    start = np.asarray(estimator._baseline_prediction, dtype=np.float64).ravel()

    def final(matrix: Matrix) -> Scores:
        sums = np.tile(start, (len(matrix), 1))
        for k, tree in trees:
            sums[:, k] += tree(matrix, bitsets, index, 1)
        return link(sums)

    return final
