"""The metrics a declaration may name, each with its good direction; `tools.evaluate.metrics` computes them."""

from __future__ import annotations

import re
from enum import StrEnum


class Direction(StrEnum):
    """Which way a metric improves."""

    HIGHER = "higher"
    LOWER = "lower"


DIRECTIONS: dict[str, Direction] = {
    "auc_roc": Direction.HIGHER,
    "average_precision": Direction.HIGHER,
    "f1": Direction.HIGHER,
    "accuracy": Direction.HIGHER,
    "log_loss": Direction.LOWER,
    "brier": Direction.LOWER,
    "calibration_error": Direction.LOWER,
    "precision_at_k": Direction.HIGHER,
    "recall_at_k": Direction.HIGHER,
    "mae": Direction.LOWER,
    "rmse": Direction.LOWER,
    "r2": Direction.HIGHER,
    "inference_ms": Direction.LOWER,
    "inference_ms_p99": Direction.LOWER,
    "latency_p99": Direction.LOWER,
    "model_size_mb": Direction.LOWER,
}
MEASURED = ("inference_ms", "inference_ms_p99", "latency_p99", "model_size_mb")
"""Those of the running model; the others are computed from outcomes and scores."""
AT_PERCENT = re.compile(r"(precision|recall)_at_([1-9]\d?|100)")
"""`precision_at_10`: of the tenth of the rows with the highest scores."""
ALLOWED = (*DIRECTIONS, "precision_at_N", "recall_at_N (N in percent, 1 to 100)")
"""For messages: what may be named."""


def direction_of(name: str) -> Direction | None:
    """The good direction of a metric, None where there is none of that name."""
    return Direction.HIGHER if AT_PERCENT.fullmatch(name) else DIRECTIONS.get(name)
