"""The trees of a histogram gradient boosting, called without the estimator's checks on every request.

`predict_proba` validates its input and, with `categorical_features`, runs a ColumnTransformer of its own: more than
the trees themselves take for a few rows. They are walked all at once by `_compiled.c` where the installation had a C
compiler, what scales the numbers before them included, else by scikit-learn's own call a tree. The attributes read here
are private to scikit-learn; where they are missing or disagree, `compile_trees` gives None or fails the parity check of
`scorer`, and `predict_proba` serves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.serving.arithmetic import OPERATIONS, NotConvertible, Operation, operations, transformed
from tools.serving.array_path import ArrayPath, Column, Matrix, RowPath, Scores, between
from tools.tasks import BINARY, Task

try:
    from tools.serving import _compiled
except ImportError:
    _compiled = None  # type: ignore[assignment]

compiled: ModuleType | None = _compiled
"""The compiled walk, None where there is none."""

NODE = np.dtype([("value", "f8"), ("right", "i4"), ("feature", "u2"), ("categorical", "u1"), ("missing_left", "u1")])
"""A node in the array of all trees. To its left is the next one; `right` is 0 in a leaf, and `value` is its value, else
the threshold. Where a split is by category it is the number of a row of bits, those that go left; those the column has
are in the row after it.
"""

Rows = list[tuple[Any, ...]]
Walk = Callable[[Rows], Matrix]
"""From rows to the sums of their leaves, shape (rows, trees an iteration)."""


@dataclass(frozen=True)
class WalkedPath(RowPath):
    """Rows straight to the sums of the leaves, and `link` from those to scores."""

    walk: Walk
    link: Callable[[Matrix], Scores]

    def score(self, rows: Rows) -> Scores:
        """Without a matrix in Python."""
        return self.link(self.walk(rows))


def compile_trees(path: ArrayPath, pipeline: Any, task: Task = BINARY) -> RowPath | None:
    """`path` with its final estimator replaced by its bare trees; None if it is no such estimator."""
    from sklearn.compose import ColumnTransformer

    steps = [step for _, step in getattr(pipeline, "steps", [("", pipeline)])]
    estimator = steps[-1]
    middle = steps[1:-1] if isinstance(steps[0], ColumnTransformer) else steps[:-1]
    middle = [step for step in middle if step is not None and step != "passthrough"]
    link = task.link(estimator)
    try:
        if link is None or (middle and estimator._preprocessor is not None):
            return None  # its categories would be those of the scaled codes
        return _trees(replace(path, columns=_reordered(path.columns, estimator)), estimator, middle, link)
    except (AttributeError, KeyError, IndexError, ValueError, TypeError):
        return None


def _reordered(columns: tuple[Column, ...], estimator: Any) -> tuple[Column, ...]:
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


def _trees(path: ArrayPath, estimator: Any, middle: Sequence[Any], link: Callable[[Matrix], Scores]) -> RowPath:
    if compiled is None:
        called, before = _called(estimator), between(middle)
        return replace(path, final=lambda matrix: link(called(before(matrix))))
    try:
        return WalkedPath(path.schema, path.columns, _walked(estimator, path.places, operations(middle)), link)
    except NotConvertible:
        walk = _walked(estimator, None, [])
        return replace(path, final=lambda matrix: link(walk(transformed(matrix, middle).tolist())))


def _called(estimator: Any) -> Callable[[Matrix], Matrix]:
    """By scikit-learn's own call a tree."""
    bitsets, index = estimator._bin_mapper.make_known_categories_bitsets()
    trees = [(k, tree.predict) for trees in estimator._predictors for k, tree in enumerate(trees)]
    start = _start(estimator)

    def called(matrix: Matrix) -> Matrix:
        matrix = np.ascontiguousarray(matrix)
        sums = np.tile(start, (len(matrix), 1))
        for k, tree in trees:
            sums[:, k] += tree(matrix, bitsets, index, 1)
        return sums

    return called


def _start(estimator: Any) -> Matrix:
    return np.asarray(estimator._baseline_prediction, dtype=np.float64).ravel()


def _walked(estimator: Any, places: NDArray[np.int64] | None, before: Sequence[Operation]) -> Walk:
    """All at once, after what is done `before` to the numbers at these places of a row, one for each column that the
    trees count; None: a row has these alone, in order.

    Raises ValueError for trees that lead nowhere."""
    known, place = estimator._bin_mapper.make_known_categories_bitsets()
    nodes: list[Any] = []
    bits: list[Any] = []
    roots = []
    at, row = 0, 0
    width = len(estimator._bin_mapper.bin_thresholds_)
    if width > np.iinfo(NODE["feature"]).max:
        raise ValueError("more columns than a node has numbers for")
    for tree in [tree for trees in estimator._predictors for tree in trees]:
        theirs, leaf = tree.nodes, tree.nodes["is_leaf"].astype(bool)
        inner, by_category = np.flatnonzero(~leaf), np.flatnonzero(theirs["is_categorical"].astype(bool) & ~leaf)
        right, feature, split = theirs["right"][inner], theirs["feature_idx"][inner], theirs["bitset_idx"][by_category]
        if (
            (theirs["left"][inner] != inner + 1).any()
            or (right <= inner).any()
            or (right >= len(theirs)).any()
            or (feature < 0).any()
            or (feature >= width).any()
        ):
            raise ValueError("a tree whose nodes do not lead on to its leaves")
        ours = np.zeros(len(theirs), dtype=NODE)
        ours["value"] = np.where(leaf, theirs["value"], theirs["num_threshold"])
        ours["value"][by_category] = row + 2.0 * split
        ours["right"][inner], ours["feature"][inner] = at + right, feature
        ours["categorical"][by_category] = True
        ours["missing_left"] = theirs["missing_go_to_left"]
        lefts = np.asarray(tree.raw_left_cat_bitsets, dtype=np.uint32).reshape(-1, 8)
        pairs = np.zeros((len(lefts), 2, 8), dtype=np.uint32)
        pairs[:, 0] = lefts
        pairs[split, 1] = known[place[theirs["feature_idx"][by_category]]]
        nodes.append(ours)
        bits.append(pairs.reshape(-1, 8))
        roots.append(at)
        at, row = at + len(ours), row + len(bits[-1])
    packed, rows_of_bits = np.concatenate(nodes), np.concatenate(bits)
    places = np.arange(width) if places is None else places
    if len(places) != width:
        raise ValueError("trees of another number of columns")
    assert compiled is not None
    start, walk = _start(estimator), compiled.walk
    kinds = np.array([OPERATIONS.index(name) for name, _ in before], dtype=np.int64)
    values = np.array([each for _, each in before], dtype=np.float64).reshape(len(before), width)
    forest = compiled.forest(packed, rows_of_bits, np.array(roots, dtype=np.int64), start, places, kinds, values)

    def walked(rows: Rows) -> Matrix:
        sums = np.empty((len(rows), len(start)))
        walk(forest, rows, sums)
        return sums

    return walked
