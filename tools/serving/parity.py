"""Whether another way to score a model answers as the registered pipeline does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from tools.serving.array_path import UNKNOWN, Column, Scores
from tools.serving.features import FeatureSchema, Values
from tools.tasks import BINARY, Task

PARITY = 1e-9
"""Largest allowed difference between a compiled path's score and the pipeline's; of values beyond 1 a share of them."""
PARITY_ROWS = 128

Row = tuple[Any, ...]


class ScoringPath(Protocol):
    """A way to score instances that `FeatureSchema.read` has read."""

    def encode(self, values: Values) -> Row: ...
    def score(self, rows: list[Row]) -> Scores: ...


@dataclass(frozen=True)
class Parity:
    """How a path's answers differ from the original's over `rows`; `failure` where either gave none."""

    rows: int
    max_difference: float
    label_flips: int
    failure: str = ""

    @property
    def holds(self) -> bool:
        """No score differs by more than PARITY, and no label."""
        return not self.failure and self.max_difference <= PARITY and not self.label_flips

    def __str__(self) -> str:
        differs = f"its scores differ by up to {self.max_difference:.2g} and {self.label_flips} of {self.rows} labels"
        return f"the rows of the parity check fail: {self.failure}" if self.failure else differs


def compare(path: ScoringPath, original: ScoringPath, instances: Sequence[Values], task: Task = BINARY) -> Parity:
    """Scores all instances by both, and the first by itself too."""
    try:
        ours = path.score([path.encode(values) for values in instances])
        theirs = original.score([original.encode(values) for values in instances])
        alone = path.score([path.encode(instances[0])])
    except Exception as error:
        return Parity(len(instances), float("nan"), 0, f"{type(error).__name__}: {error}")
    if ours.shape != theirs.shape:
        return Parity(len(instances), float("nan"), 0, f"answers of shape {ours.shape}, the pipeline's {theirs.shape}")
    # Of values larger than 1 relative to them, for a double holds so many digits; of probabilities nothing changes.
    apart = np.abs(ours - theirs) / np.maximum(1.0, np.abs(theirs))
    most = max(float(np.max(apart)), float(np.max(np.abs(alone[0] - ours[0]) / np.maximum(1.0, np.abs(ours[0])))))
    return Parity(len(instances), most, int(np.sum(task.decided(ours) != task.decided(theirs))))


def probes(pipeline: Any, schema: FeatureSchema, columns: Sequence[Column]) -> list[Values]:
    """Instances for the parity check: nulls, unknown categories, and where nothing scales the numbers before the trees
    the trees' own thresholds and a hair above; scaling itself is compared to the bit, in `arithmetic`."""
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
