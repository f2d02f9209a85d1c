"""scikit-learn's steps over numbers, and its classifiers, as ONNX nodes in double precision.

Each does the operations of the estimator's own `predict_proba` in their order, so that not a bit differs but where sums
are taken in another one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tools.serving.arithmetic import NotConvertible, operations
from tools.serving.onnx_trees import Tree, ensemble, histogram_trees, plain_tree


class Graph:
    """Nodes and constants, added one after the other; every call gives the name of what it adds."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: Any) -> str:
        """A fixed array."""
        from onnx import numpy_helper

        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def add(self, operator: str, *inputs: str, domain: str = "", output: str | None = None, **attributes: Any) -> str:
        """A node; arrays among its attributes become tensors."""
        from onnx import helper, numpy_helper

        name = output or f"n{len(self.nodes)}"
        tensors = {
            key: numpy_helper.from_array(value) if isinstance(value, np.ndarray) else value
            for key, value in attributes.items()
        }
        self.nodes.append(helper.make_node(operator, list(inputs), [name], domain=domain, **tensors))
        return name


def over_numbers(graph: Graph, matrix: str, steps: Sequence[Any]) -> str:
    """The matrix after steps over numbers alone. Raises NotConvertible."""
    for name, values in operations(steps):
        by = graph.constant(values)
        matrix = (
            graph.add("Where", graph.add("IsNaN", matrix), by, matrix)
            if name == "Fill"
            else graph.add(name, matrix, by)
        )
    return matrix


def _ensemble(graph: Graph, matrix: str, trees: Sequence[Tree]) -> str:
    return graph.add("TreeEnsemble", matrix, domain="ai.onnx.ml", aggregate_function=1, **ensemble(trees))  # the sum


def _in_single_precision(graph: Graph, matrix: str) -> str:
    """As these estimators read their input; their thresholds are double."""
    return graph.add("Cast", graph.add("Cast", matrix, to=1), to=11)  # float, double


def _histogram_boosting(graph: Graph, matrix: str, estimator: Any) -> str:
    raw = _ensemble(graph, matrix, histogram_trees(estimator))
    return graph.add("Sigmoid", graph.add("Add", raw, graph.constant(np.asarray(estimator._baseline_prediction))))


def _boosting(graph: Graph, matrix: str, estimator: Any) -> str:
    trees = [plain_tree(each.tree_, estimator.learning_rate) for each in estimator.estimators_[:, 0]]
    if estimator.loss != "log_loss":
        raise NotConvertible(f"the loss {estimator.loss} of GradientBoostingClassifier")
    start = estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), dtype=np.float32))
    if estimator.init not in (None, "zero"):
        raise NotConvertible("a GradientBoostingClassifier that starts from another estimator")
    raw = _ensemble(graph, _in_single_precision(graph, matrix), trees)
    return graph.add("Sigmoid", graph.add("Add", raw, graph.constant(np.asarray(start, dtype=np.float64))))


def _forest(graph: Graph, matrix: str, estimator: Any) -> str:
    trees = [plain_tree(each.tree_) for each in estimator.estimators_]
    raw = _ensemble(graph, _in_single_precision(graph, matrix), trees)
    return graph.add("Div", raw, graph.constant(np.float64(len(trees))))


def _one_tree(graph: Graph, matrix: str, estimator: Any) -> str:
    return _ensemble(graph, _in_single_precision(graph, matrix), [plain_tree(estimator.tree_)])


def _logistic(graph: Graph, matrix: str, estimator: Any) -> str:
    product = graph.add("MatMul", matrix, graph.constant(np.asarray(estimator.coef_.T, dtype=np.float64)))
    start = np.asarray(estimator.intercept_, dtype=np.float64).reshape(1, 1)
    return graph.add("Sigmoid", graph.add("Add", product, graph.constant(start)))


def _histogram_values(graph: Graph, matrix: str, estimator: Any) -> str:
    if estimator.loss in ("gamma", "poisson"):
        raise NotConvertible(f"the loss {estimator.loss} of HistGradientBoostingRegressor")
    raw = _ensemble(graph, matrix, histogram_trees(estimator))
    return graph.add("Add", raw, graph.constant(np.asarray(estimator._baseline_prediction, dtype=np.float64)))


def _linear(graph: Graph, matrix: str, estimator: Any) -> str:
    weights = np.asarray(estimator.coef_, dtype=np.float64).reshape(1, -1)
    start = np.asarray(estimator.intercept_, dtype=np.float64).reshape(1, 1)
    return graph.add("Add", graph.add("MatMul", matrix, graph.constant(weights.T)), graph.constant(start))


ESTIMATORS: Mapping[str, Callable[[Graph, str, Any], str]] = {
    "HistGradientBoostingClassifier": _histogram_boosting,
    "GradientBoostingClassifier": _boosting,
    "RandomForestClassifier": _forest,
    "ExtraTreesClassifier": _forest,
    "DecisionTreeClassifier": _one_tree,
    "LogisticRegression": _logistic,
    "HistGradientBoostingRegressor": _histogram_values,
    "RandomForestRegressor": _forest,
    "ExtraTreesRegressor": _forest,
    "DecisionTreeRegressor": _one_tree,
    "LinearRegression": _linear,
    "Ridge": _linear,
}
"""By class: adds the probability of the second class, or the value, (rows, 1), given a matrix."""
