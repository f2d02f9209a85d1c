"""A fitted pipeline's metrics and scores, by the task it was fitted for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tools.check_drift.classes import CLASS_METRICS, class_metric, classified
from tools.check_drift.predicted import class_names, predict
from tools.evaluate.metrics import METRICS, Scored
from tools.retrain.recipe import Floats, one_thread

if TYPE_CHECKING:
    import pandas as pd


def measured(task: str, pipeline: Any, frame: pd.DataFrame, outcomes: Any, threshold: float) -> dict[str, float]:
    """The task's metrics of a fitted pipeline over a frame of its features, each by name."""
    with one_thread():
        said = predict(pipeline, task, frame)
    if task == "multiclass":
        seen = classified(class_names(outcomes), said)
        return {name: class_metric(name)(seen, np.ones(len(frame))) for name in CLASS_METRICS}
    scored = Scored(np.asarray(outcomes, dtype=np.float64), said.scores, threshold)
    return {name: entry(scored) for name, entry in METRICS.items() if entry.task == task}


def scores_of(task: str, pipeline: Any, frame: pd.DataFrame) -> Floats:
    """What a pipeline answers, a number a row: P(1), the value, or of several classes the highest probability."""
    with one_thread():
        return predict(pipeline, task, frame).scores
