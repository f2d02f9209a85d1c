"""A model ready to answer: its schema, and the fastest path that agrees with the registered pipeline."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from tools.serving.array_path import UNKNOWN, ArrayPath, Column, Scores, compile_array_path
from tools.serving.features import FeatureSchema, Values

PARITY = 1e-9
"""Largest allowed difference between a compiled path's score and the pipeline's."""
PARITY_ROWS = 128

log = logging.getLogger("guardian.gateway")
Row = tuple[Any, ...]
PathName = Literal["onnx", "trees", "array", "pipeline"]


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
    """Scores instances of one model version: the probability of the positive class.

    `why_not_onnx`: where its path is not the ONNX one, what kept it from that.
    """

    def __init__(
        self, version: str, schema: FeatureSchema, path: _Path, path_name: PathName, why_not_onnx: str | None = None
    ) -> None:
        self.version = version
        self.schema = schema
        self.path_name = path_name
        self.why_not_onnx = why_not_onnx
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
    """The fastest path that passes the parity check: ONNX, bare trees, the array path, else the pipeline itself."""
    # The estimator may have been fitted with column names, and would warn on every call that an array has none.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    paths, why_not_onnx = compile_paths(pipeline, schema)
    columns = list(paths.values())[-1].columns if paths else ()
    schema = _understood_nulls(pipeline, schema, columns)
    original = PipelinePath(pipeline, schema)
    instances = probes(pipeline, schema, columns) if paths else []
    scorer = Scorer(version, schema, original, "pipeline", why_not_onnx)
    for name, path in paths.items():
        differs = difference(path, original, instances)
        if differs is None:
            scorer = Scorer(version, schema, path, name, why_not_onnx)
            break
        if name == "onnx":
            scorer.why_not_onnx = why_not_onnx = differs
    reason = f", not by onnx: {why_not_onnx}" if why_not_onnx else ""
    log.info("version %s is scored by its %s path%s", version, scorer.path_name, reason)
    return scorer


def compile_paths(pipeline: Any, schema: FeatureSchema) -> tuple[dict[PathName, ArrayPath], str | None]:
    """The paths that understand the pipeline, the fastest first; and why the ONNX path does not."""
    from tools.serving.boosting import compile_trees
    from tools.serving.onnx_path import compile_onnx
    from tools.serving.onnx_trees import NotConvertible

    paths: dict[PathName, ArrayPath] = {}
    why_not_onnx = None
    try:
        paths["onnx"] = compile_onnx(pipeline, schema)
    except NotConvertible as reason:
        why_not_onnx = str(reason)
    array = compile_array_path(pipeline, schema)
    if array is not None:
        trees = compile_trees(array, pipeline)
        paths |= {"trees": trees} if trees is not None else {}
        paths["array"] = array
    return paths, why_not_onnx


def load_scorer(folder: Path) -> Scorer:
    """From a registry cache folder, after its digest was checked. Raises what the registry raises if it fails."""
    from tools.systems.registry import load_local

    manifest = json.loads((folder / "manifest.json").read_text())
    return build_scorer(load_local(folder), FeatureSchema.of(manifest["features"]), str(manifest["version"]))


def probes(pipeline: Any, schema: FeatureSchema, columns: Sequence[Column]) -> list[Values]:
    """Instances for the parity check: at the trees' own thresholds and a hair above, nulls, unknown categories."""
    rng = np.random.default_rng(0)
    known: dict[str, list[Any]] = {}
    for column in columns:
        if column.codes is not None:
            taken = [value for value in column.codes if value is not None or schema.null_strings]
            known[column.feature] = [*taken, *([UNKNOWN] if column.unknown is not None else [])]
    numbers = rng.normal(size=(PARITY_ROWS, len(schema.numeric))) * 10.0 ** rng.uniform(-1, 4, (PARITY_ROWS, 1))
    for i, thresholds in _thresholds(pipeline, schema, columns).items():
        at = rng.choice(thresholds, PARITY_ROWS // 2)
        at[::2] = np.nextafter(at[::2], np.inf)
        numbers[: PARITY_ROWS // 2, i] = at
    missing = rng.random(numbers.shape) < (0.1 if schema.null_numbers else 0.0)
    rows: list[Values] = []
    for row, gaps in zip(numbers.tolist(), missing.tolist(), strict=True):
        strings = tuple(known.get(name, [""])[rng.integers(len(known.get(name, [""])))] for name in schema.categorical)
        rows.append((tuple(None if gap else x for x, gap in zip(row, gaps, strict=True)), strings))
    return rows


def _thresholds(pipeline: Any, schema: FeatureSchema, columns: Sequence[Column]) -> dict[int, Any]:
    estimator = pipeline.steps[-1][1] if hasattr(pipeline, "steps") else pipeline
    mapper, mask = getattr(estimator, "_bin_mapper", None), getattr(estimator, "is_categorical_", None)
    if mapper is None or len(mapper.bin_thresholds_) != len(columns):
        return {}
    order = list(columns)
    if mask is not None:
        order = [order[i] for i in np.argsort(~mask, kind="stable")]  # categorical ones first, as it was fitted
    pairs = zip(order, mapper.bin_thresholds_, strict=True)
    numeric = schema.numeric
    return {numeric.index(c.feature): t for c, t in pairs if c.feature in numeric and len(t)}


def difference(path: _Path, original: _Path, instances: list[Values]) -> str | None:
    """How a path's answers differ from the original's by more than PARITY or in a label; None where they do not."""
    try:
        ours = path.score([path.encode(values) for values in instances])
        theirs = original.score([original.encode(values) for values in instances])
        alone = path.score([path.encode(instances[0])])
    except Exception as error:
        return f"the rows of the parity check fail: {type(error).__name__}: {error}"
    most = max(float(np.max(np.abs(ours - theirs))), abs(float(alone[0] - ours[0])))
    flips = int(np.sum((ours >= 0.5) != (theirs >= 0.5)))
    if most <= PARITY and not flips:
        return None
    return f"its scores differ by up to {most:.2g} and {flips} of {len(instances)} labels"


def _understood_nulls(pipeline: Any, schema: FeatureSchema, columns: Sequence[Column]) -> FeatureSchema:
    """The schema with what the pipeline itself does of nulls: many models raise on a missing number or category."""
    coded = {column.feature: column.codes for column in columns if column.codes}
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
