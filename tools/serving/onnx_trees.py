"""The trees of scikit-learn's estimators as one ONNX operator, `ai.onnx.ml.TreeEnsemble` (operator set 5).

That version of the operator holds thresholds and leaves in double precision. Its forerunners, which converters still
write, hold single ones or answer in single precision: a row near a threshold or a score near 0.5 then changes sides.
https://onnx.ai/onnx/operators/onnx_aionnxml_TreeEnsemble.html
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.serving.arithmetic import NotConvertible

_LEQ, _MEMBER = 0, 6


@dataclass(frozen=True)
class Tree:
    """One tree by node, shapes (nodes,). `yes` is followed where feature <= threshold, or is one of `members[node]`.

    `missing_yes`: whether NaN follows `yes` too. `value` counts where `leaf`.
    """

    leaf: NDArray[np.bool_]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    yes: NDArray[np.int64]
    no: NDArray[np.int64]
    missing_yes: NDArray[np.bool_]
    value: NDArray[np.float64]
    members: Mapping[int, Sequence[float]] = field(default_factory=dict)


def plain_tree(tree: Any, weight: float = 1.0) -> Tree:
    """A tree of DecisionTree*, of a forest or of GradientBoosting; the last class's value, times `weight`."""
    leaf = tree.children_left == tree.children_right
    return Tree(
        leaf, tree.feature, tree.threshold, tree.children_left, tree.children_right,
        np.asarray(tree.missing_go_to_left, dtype=bool), weight * tree.value[:, 0, -1],
    )  # fmt: skip


def histogram_trees(estimator: Any) -> list[Tree]:
    """The trees of a HistGradientBoostingClassifier of two classes, over the columns that it is given.

    A split on categories sends the unknown where it sends the missing ones: it is turned round where that is left.
    """
    order, categories = _columns(estimator)
    known, place = estimator._bin_mapper.make_known_categories_bitsets()
    trees = []
    for (predictor,) in estimator._predictors:
        nodes = predictor.nodes
        yes, no = nodes["left"].astype(np.int64), nodes["right"].astype(np.int64)
        missing = nodes["missing_go_to_left"].astype(bool)
        members: dict[int, list[float]] = {}
        for node in np.flatnonzero(nodes["is_categorical"] & ~nodes["is_leaf"].astype(bool)):
            column = int(nodes["feature_idx"][node])
            left = _bits(predictor.raw_left_cat_bitsets[nodes["bitset_idx"][node]])
            if missing[node]:
                yes[node], no[node], missing[node] = no[node], yes[node], False
                left = _bits(known[place[column]]) - left
            members[int(node)] = [float(categories[column][code]) for code in sorted(left)]
        trees.append(Tree(
            nodes["is_leaf"].astype(bool), order[nodes["feature_idx"]], nodes["num_threshold"], yes, no, missing,
            nodes["value"], members,
        ))  # fmt: skip
    return trees


def _columns(estimator: Any) -> tuple[NDArray[np.int64], list[Any]]:
    """The given column of each column the trees count, and the categories of those that come first."""
    mask = estimator.is_categorical_
    if mask is None:
        return np.arange(estimator.n_features_in_), []
    order = np.argsort(~mask, kind="stable")
    return order, estimator._preprocessor.named_transformers_["encoder"].categories_


def _bits(words: Any) -> set[int]:
    return {32 * i + bit for i, word in enumerate(words.tolist()) for bit in range(32) if word >> bit & 1}


def ensemble(trees: Sequence[Tree]) -> dict[str, Any]:
    """The operator's attributes: the sum of all trees."""
    ints: dict[str, list[int]] = {
        name: []
        for name in (
            "tree_roots", "nodes_featureids", "nodes_truenodeids", "nodes_falsenodeids", "nodes_trueleafs",
            "nodes_falseleafs", "nodes_missing_value_tracks_true",
        )
    }  # fmt: skip
    splits: list[float] = []
    modes: list[int] = []
    members: list[float] = []
    leaves: list[float] = []
    # Of a tree without a split the operator wants a node whose two sides are the one leaf.
    for tree in [_stump(float(each.value[0])) if each.leaf[0] else each for each in trees]:
        ints["tree_roots"].append(len(splits))
        inner, ends = np.flatnonzero(~tree.leaf), np.flatnonzero(tree.leaf)
        place = np.empty(len(tree.leaf), dtype=np.int64)
        place[inner] = len(splits) + np.arange(len(inner))
        place[ends] = len(leaves) + np.arange(len(ends))
        leaves += tree.value[ends].tolist()
        splits += [0.0 if node in tree.members else float(tree.threshold[node]) for node in inner.tolist()]
        modes += [_MEMBER if node in tree.members else _LEQ for node in inner.tolist()]
        for node in inner.tolist():
            if node in tree.members:
                if not tree.members[node]:
                    raise NotConvertible("a split on categories without a category")
                members += [*tree.members[node], float("nan")]
        ints["nodes_featureids"] += tree.feature[inner].tolist()
        ints["nodes_missing_value_tracks_true"] += tree.missing_yes[inner].astype(int).tolist()
        for side, child in (("true", tree.yes[inner]), ("false", tree.no[inner])):
            ints[f"nodes_{side}nodeids"] += place[child].tolist()
            ints[f"nodes_{side}leafs"] += tree.leaf[child].astype(int).tolist()
    attributes: dict[str, Any] = {**ints, "leaf_targetids": [0] * len(leaves), "n_targets": 1}
    attributes |= {"nodes_splits": np.array(splits), "leaf_weights": np.array(leaves)}
    attributes["nodes_modes"] = np.array(modes, dtype=np.uint8)
    if members:
        attributes["membership_values"] = np.array(members)
    return attributes


def _stump(value: float) -> Tree:
    zeros = np.zeros(2, dtype=np.int64)
    return Tree(
        np.array([False, True]), zeros, zeros.astype(float), zeros + 1, zeros + 1, zeros.astype(bool),
        np.array([0.0, value]),
    )  # fmt: skip
