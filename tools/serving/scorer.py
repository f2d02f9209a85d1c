"""A model ready to answer: its schema, and the fastest path that agrees with the registered pipeline."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from tools.serving.array_path import UNKNOWN, ArrayPath, Scores, compile_array_path
from tools.serving.features import FeatureSchema, Values

PARITY = 1e-9
"""Largest allowed difference between a compiled path's score and the pipeline's."""
PARITY_ROWS = 128

Row = tuple[Any, ...]
PathName = Literal["trees", "array", "pipeline"]


class ScoringFailed(Exception):
    """The model raised, or gave something that is not a probability."""


class _Path(Protocol):
    def encode(self, values: Values) -> Row: ...
    def score(self, rows: Sequence[Row]) -> Scores: ...


class PipelinePath:
    """The original: a DataFrame for every batch. Takes milliseconds, understands every pipeline."""

    def __init__(self, pipeline: Any, schema: FeatureSchema) -> None:
        self._pipeline = pipeline
        self._schema = schema

    def encode(self, values: Values) -> Row:
        """Rows are the values themselves."""
        return values

    def score(self, rows: Sequence[Row]) -> Scores:
        """Scores, shape (len(rows),)."""
        import pandas as pd

        schema = self._schema
        numbers = np.array([row[0] for row in rows], dtype=np.float64).reshape(len(rows), len(schema.numeric))
        columns: dict[str, Any] = {name: numbers[:, i] for i, name in enumerate(schema.numeric)}
        for i, name in enumerate(schema.categorical):
            columns[name] = pd.Series([row[1][i] for row in rows], dtype=object)
        scores: Scores = self._pipeline.predict_proba(pd.DataFrame(columns)[list(schema.order)])[:, 1]
        return scores


class Scorer:
    """Scores instances of one model version: the probability of the positive class."""

    def __init__(self, version: str, schema: FeatureSchema, path: _Path, path_name: PathName) -> None:
        self.version = version
        self.schema = schema
        self.path_name = path_name
        self._path = path

    def encode(self, values: Values) -> Row:
        """One instance, read by the schema, as the path takes it. Raises InvalidInstance."""
        return self._path.encode(values)

    def score(self, rows: Sequence[Row]) -> list[float]:
        """Scores of encoded rows. Raises ScoringFailed."""
        try:
            scores = self._path.score(rows)
        except Exception as error:
            raise ScoringFailed(f"{type(error).__name__}: {error}") from error
        answer: list[float] = np.asarray(scores, dtype=np.float64).tolist()
        if len(answer) != len(rows) or not all(0.0 <= score <= 1.0 for score in answer):
            raise ScoringFailed("the model's score is not a probability")
        return answer


def build_scorer(pipeline: Any, schema: FeatureSchema, version: str) -> Scorer:
    """The fastest path that passes the parity check: bare trees, then the array path, then the pipeline itself."""
    from tools.serving.boosting import compile_trees

    # The estimator may have been fitted with column names, and would warn on every call that an array has none.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    schema = _understood_nulls(pipeline, schema)
    original = PipelinePath(pipeline, schema)
    array = compile_array_path(pipeline, schema)
    if array is not None:
        trees = compile_trees(array, pipeline)
        candidates: list[tuple[PathName, ArrayPath]] = [("trees", trees)] if trees is not None else []
        for name, path in [*candidates, ("array", array)]:
            if _agrees(path, original, probes(pipeline, array)):
                return Scorer(version, schema, path, name)
    return Scorer(version, schema, original, "pipeline")


def load_scorer(folder: Path) -> Scorer:
    """From a registry cache folder, after its digest was checked. Raises what the registry raises if it fails."""
    from tools.systems.registry import load_local

    manifest = json.loads((folder / "manifest.json").read_text())
    return build_scorer(load_local(folder), FeatureSchema.of(manifest["features"]), str(manifest["version"]))


def probes(pipeline: Any, path: ArrayPath) -> list[Values]:
    """Instances for the parity check: at the trees' own thresholds where there are any, nulls, unknown categories."""
    rng = np.random.default_rng(0)
    schema = path.schema
    known: dict[str, list[Any]] = {}
    for column in path.columns:
        if column.codes is not None:
            known[column.feature] = [*column.codes, *([UNKNOWN] if column.unknown is not None else [])]
    numbers = rng.normal(size=(PARITY_ROWS, len(schema.numeric))) * 10.0 ** rng.uniform(-1, 4, (PARITY_ROWS, 1))
    for i, thresholds in _thresholds(pipeline, path).items():
        numbers[: PARITY_ROWS // 2, i] = rng.choice(thresholds, PARITY_ROWS // 2)
    missing = rng.random(numbers.shape) < (0.1 if schema.null_numbers else 0.0)
    rows: list[Values] = []
    for row, gaps in zip(numbers.tolist(), missing.tolist(), strict=True):
        strings = tuple(known.get(name, [""])[rng.integers(len(known.get(name, [""])))] for name in schema.categorical)
        rows.append((tuple(None if gap else x for x, gap in zip(row, gaps, strict=True)), strings))
    return rows


def _thresholds(pipeline: Any, path: ArrayPath) -> dict[int, Any]:
    estimator = pipeline.steps[-1][1] if hasattr(pipeline, "steps") else pipeline
    mapper, mask = getattr(estimator, "_bin_mapper", None), getattr(estimator, "is_categorical_", None)
    if mapper is None or len(mapper.bin_thresholds_) != len(path.columns):
        return {}
    order = list(path.columns)
    if mask is not None:
        order = [order[i] for i in np.argsort(~mask, kind="stable")]  # categorical ones first, as it was fitted
    pairs = zip(order, mapper.bin_thresholds_, strict=True)
    numeric = path.schema.numeric
    return {numeric.index(c.feature): t for c, t in pairs if c.feature in numeric and len(t)}


def _agrees(path: _Path, original: _Path, instances: list[Values]) -> bool:
    try:
        ours = path.score([path.encode(values) for values in instances])
        theirs = original.score([original.encode(values) for values in instances])
        alone = path.score([path.encode(instances[0])])
    except Exception:
        return False
    same_labels = np.array_equal(ours >= 0.5, theirs >= 0.5)
    close = np.max(np.abs(ours - theirs)) <= PARITY and abs(alone[0] - ours[0]) <= PARITY
    return bool(same_labels and close)


def _understood_nulls(pipeline: Any, schema: FeatureSchema) -> FeatureSchema:
    """The schema with what the pipeline itself does of nulls: many models raise on a missing number or category."""
    array = compile_array_path(pipeline, schema)
    coded = {column.feature: column.codes for column in (array.columns if array is not None else ()) if column.codes}
    some = tuple(next(iter(coded.get(name, {""}))) for name in schema.categorical)
    zeros, no_numbers, no_strings = (0.0,) * len(schema.numeric), (None,) * len(schema.numeric), (None,) * len(some)
    original = PipelinePath(pipeline, schema)
    if not _scores(original, (zeros, some)):
        return schema  # it refuses these probes for another reason, which says nothing about nulls
    return replace(
        schema,
        null_numbers=_scores(original, (no_numbers, some)),
        null_strings=_scores(original, (zeros, no_strings)),
    )


def _scores(path: _Path, values: Values) -> bool:
    try:
        path.score([path.encode(values)])
    except Exception:
        return False
    return True
