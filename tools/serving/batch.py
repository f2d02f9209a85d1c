"""Batch scoring: the rows of a window, scored by the serving champion into a predictions table."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from policies.declarations.binding import ModelBinding
from policies.errors import InputError
from tools.systems import datasets
from tools.systems.registry import CHAMPION
from tools.systems.systems import Systems

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

LABEL_THRESHOLD = 0.5


class BatchResult(BaseModel):
    """One scored window."""

    model_config = ConfigDict(frozen=True)

    model: str
    version: str
    table: str
    start: datetime
    end: datetime
    rows: int


def score_window(systems: Systems, model: str, start: datetime, end: datetime) -> BatchResult:
    """Scores the rows with time in [start, end) by the champion in force; one file a window, replaced when run again.

    Raises InputError where the model has no predictions table or no champion.
    """
    binding = systems.operations.model(model)
    if binding.predictions is None:
        raise InputError("no predictions table is declared", where=f"models.{model}.predictions")
    version = serving_champion(systems, model)
    rows = datasets.window(systems, model, start, end)
    if len(rows):
        pipeline = systems.registry.load(binding.registry_name, version)
        systems.warehouse.append(
            binding.predictions, predictions(binding, pipeline, version, rows), f"{start:%Y-%m-%dT%H%M%S}"
        )
    return BatchResult(model=model, version=version, table=binding.predictions, start=start, end=end, rows=len(rows))


def serving_champion(systems: Systems, model: str) -> str:
    """The version that answers now. Raises InputError where there is none."""
    split = systems.traffic.split(model)
    name = systems.operations.model(model).registry_name
    version = split.champion if split is not None else systems.registry.alias(name, CHAMPION)
    if version is None:
        raise InputError("no version serves it yet", where=model)
    return version


def predictions(binding: ModelBinding, pipeline: Any, version: str, rows: pd.DataFrame) -> pa.Table:
    """What a version says of rows with id, time and features: `model_version`, `score` and, but of a number, `label`.

    Raises InputError for a model of another task than the binding's.
    """
    import pyarrow as pa

    from tools import tasks

    said = tasks.of(binding.task).predict(pipeline, rows[binding.features.names])
    columns: dict[str, Any] = {
        binding.id: pa.array(rows[binding.id]),
        binding.time: pa.array(rows[binding.time], pa.timestamp("us")),
        "model_version": pa.array([version] * len(rows), pa.string()),
        "score": said.scores,
    }
    if binding.task != "regression":
        columns["label"] = said.scores >= LABEL_THRESHOLD if said.labels is None else pa.array(said.labels)
    return pa.table(columns)
