"""A model ready to answer: its schema, and the fastest path that agrees with the registered pipeline."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tools.serving.array_path import Column, RowPath, Scores, compile_array_path
from tools.serving.features import FeatureSchema, Values
from tools.serving.parity import Row, ScoringPath, compare, probes
from tools.tasks import BINARY, Answer, Task
from tools.tasks.predicted import class_names

log = logging.getLogger("guardian.gateway")
PathName = Literal["onnx", "trees", "array", "pipeline"]


class ScoringFailed(Exception):
    """The model raised, or gave something that is not a probability."""


class PipelinePath:
    """The original: a DataFrame for every batch. Takes milliseconds, understands every pipeline."""

    def __init__(self, pipeline: Any, schema: FeatureSchema, task: Task = BINARY) -> None:
        self._pipeline = pipeline
        self._schema = schema
        self._task = task

    def encode(self, values: Values) -> Row:
        """Rows are the values themselves."""
        return values

    def score(self, rows: Sequence[Row]) -> Scores:
        """Scores, as the task's `raw` has them."""
        import pandas as pd

        schema = self._schema
        numbers = np.array([row[0] for row in rows], dtype=np.float64).reshape(len(rows), len(schema.numeric))
        columns: dict[str, Any] = {name: numbers[:, i] for i, name in enumerate(schema.numeric)}
        for i, name in enumerate(schema.categorical):
            columns[name] = pd.Series([row[1][i] for row in rows], dtype=object)
        return self._task.raw(self._pipeline, pd.DataFrame(columns)[list(schema.order)])


class Scorer:
    """Scores instances of one model version: the probability of the positive class, or what its task answers.

    `why_not_onnx`: where its path is not the ONNX one, what kept it from that.
    """

    def __init__(
        self,
        version: str,
        schema: FeatureSchema,
        path: ScoringPath,
        path_name: PathName,
        why_not_onnx: str | None = None,
        task: Task = BINARY,
        classes: Sequence[str] = (),
    ) -> None:
        self.version = version
        self.schema = schema
        self.path_name = path_name
        self.why_not_onnx = why_not_onnx
        self._path = path
        self._task = task
        self._classes = tuple(classes)

    def encode(self, values: Values) -> Row:
        """One instance, read by the schema, as the path takes it. Raises InvalidInstance."""
        return self._path.encode(values)

    def score(self, rows: list[Row]) -> list[Answer]:
        """Answers to encoded rows. Raises ScoringFailed."""
        try:
            scores = self._path.score(rows)
        except Exception as error:
            raise ScoringFailed(f"{type(error).__name__}: {error}") from error
        try:
            answer = self._task.served(scores, self._classes)
        except ValueError as error:
            raise ScoringFailed(str(error)) from None
        if len(answer) != len(rows):
            raise ScoringFailed(f"the model gives {len(answer)} scores for {len(rows)} rows")
        return answer


def build_scorer(pipeline: Any, schema: FeatureSchema, version: str, task: Task = BINARY) -> Scorer:
    """The fastest path that passes the parity check: ONNX, bare trees, the array path, else the pipeline itself."""
    # The estimator may have been fitted with column names, and would warn on every call that an array has none.
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    paths, why_not_onnx = compile_paths(pipeline, schema, task)
    columns = list(paths.values())[-1].columns if paths else ()
    schema = understood_nulls(pipeline, schema, columns, task)
    original = PipelinePath(pipeline, schema, task)
    classes = class_names(getattr(pipeline, "classes_", ())).tolist()
    instances = probes(pipeline, schema, columns) if paths else []
    scorer = Scorer(version, schema, original, "pipeline", why_not_onnx, task, classes)
    for name, path in paths.items():
        found = compare(path, original, instances, task)
        if found.holds:
            scorer = Scorer(version, schema, path, name, why_not_onnx, task, classes)
            break
        if name == "onnx":
            scorer.why_not_onnx = why_not_onnx = str(found)
    reason = f", not by onnx: {why_not_onnx}" if why_not_onnx else ""
    log.info("version %s is scored by its %s path%s", version, scorer.path_name, reason)
    return scorer


def compile_paths(
    pipeline: Any, schema: FeatureSchema, task: Task = BINARY
) -> tuple[dict[PathName, RowPath], str | None]:
    """The paths that understand the pipeline, the fastest first; and why the ONNX path does not."""
    from tools.serving.arithmetic import NotConvertible
    from tools.serving.boosting import compile_trees
    from tools.serving.onnx_path import compile_onnx

    paths: dict[PathName, RowPath] = {}
    why_not_onnx = None
    try:
        paths["onnx"] = compile_onnx(pipeline, schema)
    except NotConvertible as reason:
        why_not_onnx = str(reason)
    array = compile_array_path(pipeline, schema, task)
    if array is not None:
        trees = compile_trees(array, pipeline, task)
        paths |= {"trees": trees} if trees is not None else {}
        paths["array"] = array
    return paths, why_not_onnx


def load_scorer(folder: Path, task: Task = BINARY) -> Scorer:
    """From a registry cache folder, after its digest was checked. Raises what the registry raises if it fails."""
    from tools.systems.registry import load_local

    manifest = json.loads((folder / "manifest.json").read_text())
    schema = FeatureSchema.of(manifest["features"])
    return build_scorer(load_local(folder), schema, str(manifest["version"]), task)


def understood_nulls(
    pipeline: Any, schema: FeatureSchema, columns: Sequence[Column], task: Task = BINARY
) -> FeatureSchema:
    """The schema with what the pipeline itself does of nulls: many models raise on a missing number or category."""
    coded = {column.feature: column.codes for column in columns if column.codes}
    some = tuple(next(iter(coded.get(name, {""}))) for name in schema.categorical)
    zeros, no_numbers, no_strings = (0.0,) * len(schema.numeric), (None,) * len(schema.numeric), (None,) * len(some)
    original = PipelinePath(pipeline, schema, task)
    if not _scores(original, (zeros, some)):
        return schema  # it refuses these probes for another reason, which says nothing about nulls
    return replace(
        schema,
        null_numbers=_scores(original, (no_numbers, some)),
        null_strings=_scores(original, (zeros, no_strings)),
    )


def _scores(path: ScoringPath, values: Values) -> bool:
    try:
        path.score([path.encode(values)])
    except Exception:
        return False
    return True
