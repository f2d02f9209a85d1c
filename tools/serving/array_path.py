"""The array path: features to one float matrix to the final estimator, without a DataFrame.

A scikit-learn pipeline given a DataFrame spends milliseconds on the frame and on column bookkeeping, whatever
the number of rows. What that bookkeeping computes for the pipelines trained here is known beforehand: categories
become codes, numbers stay. `compile_array_path` reads both from the fitted pipeline; a pipeline it does not
understand gives None, and `scorer` compares every compiled path with the original before it may serve.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.errors import InputError
from tools.serving.arithmetic import NotConvertible, applied, operations, transformed
from tools.serving.features import FeatureSchema, InvalidInstance, Values
from tools.tasks import BINARY, Task

UNKNOWN = "\x00unknown"
"""A category no model knows."""

Matrix = NDArray[np.float64]
Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """One column of the matrix: a feature as it is, or looked up in `codes` (`unknown` for the rest; None: refuse)."""

    feature: str
    codes: Mapping[Any, float] | None = None
    unknown: float | None = None


_Coded = tuple[bool, int, Mapping[Any, float], float | None, str]
"""Of a coded column: whether its feature is numeric, its place among those, codes, code of the unknown, name."""


@dataclass(frozen=True)
class RowPath(ABC):
    """Instances as rows of numbers; their order inside is private to the path, `places` those of the columns in it."""

    schema: FeatureSchema
    columns: tuple[Column, ...]
    places: NDArray[np.int64] = field(init=False)
    _coded: tuple[_Coded, ...] = field(init=False)

    def __post_init__(self) -> None:
        numeric, categorical = self.schema.numeric, self.schema.categorical
        coded: list[_Coded] = []
        places: list[int] = []
        for column in self.columns:
            if column.codes is None:
                places.append(numeric.index(column.feature))
                continue
            is_number = column.feature in numeric
            source = (numeric if is_number else categorical).index(column.feature)
            places.append(len(numeric) + len(coded))
            coded.append((is_number, source, column.codes, column.unknown, column.feature))
        object.__setattr__(self, "_coded", tuple(coded))
        object.__setattr__(self, "places", np.array(places, dtype=np.int64))

    def encode(self, values: Values) -> tuple[Any, ...]:
        """One row. Raises InvalidInstance for a category that the model refuses."""
        numbers, strings = values
        codes = []
        for is_number, source, known, unknown, name in self._coded:
            value = (numbers if is_number else strings)[source]
            code = known.get(value, unknown)
            if code is None:
                raise InvalidInstance(name, f"is {value!r}; the model knows {', '.join(map(str, known))}")
            codes.append(code)
        return (*numbers, *codes)

    @abstractmethod
    def score(self, rows: list[tuple[Any, ...]]) -> Scores:
        """Scores of encoded rows, as the task's `raw` has them."""


@dataclass(frozen=True)
class ArrayPath(RowPath):
    """A compiled pipeline: all rows as one matrix, its columns in order, and what `final` makes of it."""

    final: Callable[[Matrix], Scores]
    _pick: NDArray[np.int64] | None = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        identity = self.places.tolist() == list(range(len(self.schema.numeric) + len(self._coded)))
        object.__setattr__(self, "_pick", None if identity else self.places)

    def score(self, rows: list[tuple[Any, ...]]) -> Scores:
        """By way of the matrix."""
        matrix = np.array(rows, dtype=np.float64)
        return self.final(matrix if self._pick is None else matrix[:, self._pick])


def compile_array_path(pipeline: Any, schema: FeatureSchema, task: Task = BINARY) -> ArrayPath | None:
    """The array path of a fitted pipeline that takes a DataFrame of `schema`'s columns; None if not understood."""
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    steps = [step for _, step in pipeline.steps] if isinstance(pipeline, Pipeline) else [pipeline]
    steps = [step for step in steps if step is not None and step != "passthrough"]
    if not steps or not _answers(steps[-1], task):
        return None
    columns: list[Column] | None
    if isinstance(steps[0], ColumnTransformer):
        columns = _transformed(steps[0], schema)
        steps = steps[1:]
    else:
        columns = [Column(name) for name in schema.order] if not schema.categorical else None
    if columns is None or not steps:
        return None
    return ArrayPath(schema, tuple(columns), _chain(steps[:-1], steps[-1], task))


def _answers(estimator: Any, task: Task) -> bool:
    try:
        task.asked(estimator)
    except InputError:
        return False
    return True


def between(steps: Sequence[Any]) -> Callable[[Matrix], Matrix]:
    """The fitted steps between the columns and the estimator: as arithmetic, or by their own `transform`."""
    try:
        known = operations(steps)
    except NotConvertible:
        return lambda matrix: transformed(matrix, steps)
    return lambda matrix: applied(matrix, known)


def _chain(middle: Sequence[Any], estimator: Any, task: Task) -> Callable[[Matrix], Scores]:
    before = between(middle)
    return lambda matrix: task.raw(estimator, before(matrix))


def _transformed(transformer: Any, schema: FeatureSchema) -> list[Column] | None:
    """The columns a fitted ColumnTransformer puts out, in its order."""
    columns: list[Column] = []
    for _, part, selected in transformer.transformers_:
        names = column_names(selected, [str(name) for name in getattr(transformer, "feature_names_in_", schema.order)])
        if isinstance(part, str) and part == "drop":
            continue
        added = _plain(part, names, schema)
        if added is None:
            return None
        columns += added
    return columns


def column_names(selected: Any, available: list[str]) -> list[str]:
    """The columns that a ColumnTransformer's part is given, by any of its ways to say so."""
    if isinstance(selected, str):
        return [selected]
    if isinstance(selected, slice):
        return available[selected] if not isinstance(selected.start, str) else []
    items = list(selected)
    if items and all(isinstance(item, (bool, np.bool_)) for item in items):
        return [name for name, kept in zip(available, items, strict=True) if kept]
    return [item if isinstance(item, str) else available[int(item)] for item in items]


def _plain(part: Any, names: list[str], schema: FeatureSchema) -> list[Column] | None:
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder

    if isinstance(part, Pipeline) and len(part.steps) == 1:
        part = part.steps[0][1]
    identity = isinstance(part, FunctionTransformer) and part.func is None
    if identity or (isinstance(part, str) and part == "passthrough"):
        return [Column(name) for name in names] if set(names) <= set(schema.numeric) else None
    return _encoded(part, names) if type(part) is OrdinalEncoder else None


def _encoded(encoder: Any, names: list[str]) -> list[Column]:
    """Asks the encoder for the code of each category it knows (rare ones may share one), of null and of the rest."""
    import pandas as pd

    accepts_unknown = encoder.handle_unknown == "use_encoded_value"
    known = [[c for c in categories.tolist() if isinstance(c, str)] for categories in encoder.categories_]
    columns = []
    for place, (name, asked) in enumerate(zip(names, known, strict=True)):
        values: list[str | None] = [*asked, *([None, UNKNOWN] if accepts_unknown else [])]
        rows = {
            other: values if i == place else [known[i][0] if known[i] else None] * len(values)
            for i, other in enumerate(names)
        }
        codes = encoder.transform(pd.DataFrame(rows, columns=names, dtype=object))
        found = dict(zip(values, np.asarray(codes, dtype=np.float64)[:, place].tolist(), strict=True))
        unknown = found.pop(UNKNOWN) if accepts_unknown else None
        columns.append(Column(name, found, unknown))
    return columns
