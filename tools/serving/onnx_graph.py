"""A fitted scikit-learn pipeline as an ONNX graph in double precision, which answers as the pipeline does.

Understood are the steps that most pipelines for tables are made of: a ColumnTransformer of imputing, scaling, and
encoding of categories, then boosting, a forest, a tree or a linear model of two classes or of numbers. Others
(converters) compute in single precision, or write operators that no runtime has in double (skl2onnx 1.20: `Imputer`).

The graph takes one matrix: the numbers, then a code for each categorical feature (0: null, 1: unknown, 2…: the
categories known). Whatever the pipeline makes of a category is asked of it once, and becomes a table that is looked up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tools.serving.arithmetic import NotConvertible, steps_of
from tools.serving.array_path import UNKNOWN, Column, Matrix, column_names
from tools.serving.features import FeatureSchema
from tools.serving.onnx_steps import ESTIMATORS, Graph, over_numbers

NULL_CODE, UNKNOWN_CODE, FIRST_CODE = 0, 1, 2
OPSETS = {"": 18, "ai.onnx.ml": 5}
IR_VERSION = 10
MATRIX, NUMBERS, STRINGS, SCORE = "features", "numbers", "strings", "score"


class Converter:
    """One pipeline. Raises NotConvertible, here or later, that says which step is not understood."""

    def __init__(self, pipeline: Any, schema: FeatureSchema) -> None:
        from sklearn.compose import ColumnTransformer

        steps = steps_of(pipeline)
        if len(getattr(steps[-1], "classes_", (0, 1))) != 2:
            raise NotConvertible(f"{type(steps[-1]).__name__} is no classifier of two classes")
        self._schema = schema
        self._transformer = steps[0] if isinstance(steps[0], ColumnTransformer) else None
        if self._transformer is None and schema.categorical:
            raise NotConvertible(f"{type(steps[0]).__name__} takes categories; only a ColumnTransformer is understood")
        self._rest = steps[1:] if self._transformer is not None else steps
        self._known = {name: self._categories(name) for name in schema.categorical}
        self._null_refused: set[str] = set()
        self._unknown_refused: set[str] = set()

    def matrix_graph(self) -> Any:
        """The model over the matrix: input `features`, (rows, features) double; output `score`, (rows,) double."""
        graph = Graph()
        self._score(graph, MATRIX)
        width = len(self._schema.numeric) + len(self._schema.categorical)
        return _model(graph, {MATRIX: ("DOUBLE", width)})

    def raw_graph(self) -> Any:
        """The model over values: `numbers` double, null as NaN, and `strings`, null as the empty one, where there are
        such features, each (rows, features) in the schema's order; output as of `matrix_graph`."""
        graph = Graph()
        numeric, categorical = self._schema.numeric, self._schema.categorical
        parts = [NUMBERS] if numeric else []
        for place, name in enumerate(categorical):
            text = graph.add("Gather", STRINGS, graph.constant(np.array([place])), axis=1)
            keys = ["", *(each for each in self._known[name] if each)]
            codes = [float(code) for code in (NULL_CODE, *range(FIRST_CODE, FIRST_CODE + len(keys) - 1))]
            parts.append(graph.add(
                "LabelEncoder", text, domain="ai.onnx.ml", keys_tensor=np.array(keys, dtype=object),
                values_tensor=np.array(codes), default_tensor=np.array([float(UNKNOWN_CODE)]),
            ))  # fmt: skip
        self._score(graph, graph.add("Concat", *parts, axis=1) if len(parts) > 1 else parts[0])
        inputs = {NUMBERS: ("DOUBLE", len(numeric)), STRINGS: ("STRING", len(categorical))}
        return _model(graph, {name: each for name, each in inputs.items() if each[1]})

    def columns(self) -> tuple[Column, ...]:
        """How the matrix is filled; after a graph was made, for then it is known what is refused."""
        found = [Column(name) for name in self._schema.numeric]
        for name in self._schema.categorical:
            codes: dict[Any, float] = {each: float(FIRST_CODE + i) for i, each in enumerate(self._known[name])}
            if name not in self._null_refused:
                codes[None] = float(NULL_CODE)
            found.append(Column(name, codes, None if name in self._unknown_refused else float(UNKNOWN_CODE)))
        return tuple(found)

    def _score(self, graph: Graph, matrix: str) -> None:
        if self._transformer is not None:
            matrix = self._transformed(graph, matrix)
        matrix = over_numbers(graph, matrix, self._rest[:-1])
        estimator = self._rest[-1]
        final = ESTIMATORS.get(type(estimator).__name__)
        if final is None:
            raise NotConvertible(f"{type(estimator).__name__} is not understood")
        try:
            score = final(graph, matrix, estimator)
        except (AttributeError, KeyError, IndexError, ValueError, TypeError) as error:
            raise NotConvertible(f"{type(estimator).__name__} is not built as expected: {error}") from error
        graph.add("Squeeze", score, graph.constant(np.array([1])), output=SCORE)

    def _parts(self) -> list[tuple[Any, list[str]]]:
        transformer = self._transformer
        if transformer.transformer_weights is not None:  # type: ignore[union-attr]
            raise NotConvertible("a ColumnTransformer with transformer_weights is not understood")
        available = [str(name) for name in getattr(transformer, "feature_names_in_", self._schema.order)]
        parts = [(part, column_names(selected, available)) for _, part, selected in transformer.transformers_]  # type: ignore[union-attr]
        return [(part, names) for part, names in parts if names and not (isinstance(part, str) and part == "drop")]

    def _categories(self, name: str) -> list[str]:
        """The categories of a feature that any encoder knows."""
        found: dict[str, None] = {}
        for part, names in self._parts():
            known = getattr(steps_of(part)[-1], "categories_", None) if name in names else None
            if known is not None:
                found |= dict.fromkeys(each for each in known[names.index(name)].tolist() if isinstance(each, str))
        return list(found)

    def _transformed(self, graph: Graph, matrix: str) -> str:
        numeric, outputs = self._schema.numeric, []
        for part, names in self._parts():
            if set(names) <= set(numeric):
                places = np.array([numeric.index(name) for name in names])
                outputs.append(over_numbers(graph, graph.add("Gather", matrix, graph.constant(places), axis=1), [part]))
            elif set(names) <= set(self._schema.categorical):
                for name, table in zip(names, self._tables(part, names), strict=True):
                    place = len(numeric) + self._schema.categorical.index(name)
                    code = graph.add("Gather", matrix, graph.constant(np.int64(place)), axis=1)
                    index = graph.add("Cast", code, to=7)  # int64
                    outputs.append(graph.add("Gather", graph.constant(table), index, axis=0))
            else:
                raise NotConvertible(f"{type(part).__name__} takes numbers and categories together")
        return graph.add("Concat", *outputs, axis=1) if len(outputs) > 1 else outputs[0]

    def _tables(self, part: Any, names: list[str]) -> list[Matrix]:
        """For each feature what the encoder makes of each code, shape (codes, columns): asked of the encoder itself."""
        steps = steps_of(part)
        allowed = all(type(each).__name__ == "SimpleImputer" and not each.add_indicator for each in steps[:-1])
        if not allowed or type(steps[-1]).__name__ not in ("OneHotEncoder", "OrdinalEncoder"):
            raise NotConvertible(f"{' and '.join(type(each).__name__ for each in steps)} of categories")
        usual = [next(iter(self._known[name]), None) for name in names]
        ends = np.cumsum([0, *_widths(steps[-1], len(names))])
        tables = []
        for place, name in enumerate(names):
            # Known categories at once; null and the unknown by themselves, for either may be refused.
            asked: list[list[str | None]] = [[None], [UNKNOWN], list(self._known[name])]
            made = [
                _asked(
                    part, names, [[value if i == place else other for i, other in enumerate(usual)] for value in values]
                )
                for values in asked
                if values
            ]
            blank = np.full((1, ends[-1]), np.nan)
            for code, refused in ((NULL_CODE, self._null_refused), (UNKNOWN_CODE, self._unknown_refused)):
                if made[code] is None:
                    refused.add(name)
                    made[code] = blank
            if any(rows is None for rows in made):
                raise NotConvertible(f"{name}: one encoder refuses a category that another knows")
            tables.append(np.vstack(made)[:, ends[place] : ends[place + 1]])  # type: ignore[arg-type]
        return tables


def _asked(part: Any, names: list[str], rows: list[list[str | None]]) -> Matrix | None:
    """What an encoder makes of rows; None where it refuses them."""
    import pandas as pd

    try:
        made = part.transform(pd.DataFrame(rows, columns=names, dtype=object))
    except Exception:
        return None
    return np.asarray(made.toarray() if hasattr(made, "toarray") else made, dtype=np.float64)


def _widths(encoder: Any, features: int) -> list[int]:
    """How many columns the encoder makes of each feature."""
    if type(encoder).__name__ == "OrdinalEncoder":
        return [1] * features
    widths: list[int] | None = getattr(encoder, "_n_features_outs", None)
    if widths is None:
        raise NotConvertible("OneHotEncoder is not built as expected")
    return list(widths)


def _model(graph: Graph, inputs: Mapping[str, tuple[str, int]]) -> Any:
    from onnx import TensorProto, checker, helper

    given = [
        helper.make_tensor_value_info(name, getattr(TensorProto, kind), ["rows", width])
        for name, (kind, width) in inputs.items()
    ]
    answer = helper.make_tensor_value_info(SCORE, TensorProto.DOUBLE, ["rows"])
    made = helper.make_model(
        helper.make_graph(graph.nodes, "model", given, [answer], graph.constants),
        opset_imports=[helper.make_opsetid(domain, version) for domain, version in OPSETS.items()],
        ir_version=IR_VERSION,
        producer_name="guardian",
    )
    checker.check_model(made)
    return made
