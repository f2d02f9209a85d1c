"""Batch scoring: the rows of a window, scored by the serving champion into the model's predictions table."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from policies.errors import InputError
from tools.systems import datasets
from tools.systems.systems import Systems

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
    import pyarrow as pa

    binding = systems.operations.model(model)
    split = systems.traffic.split(model)
    if binding.predictions is None:
        raise InputError("no predictions table is declared", where=f"models.{model}.predictions")
    if split is None:
        raise InputError("no version serves it yet", where=model)
    rows = datasets.window(systems, model, start, end)
    if len(rows):
        scores = systems.registry.load(binding.registry_name, split.champion).predict_proba(
            rows[binding.features.names]
        )[:, 1]
        table = pa.table(
            {
                binding.id: pa.array(rows[binding.id]),
                binding.time: pa.array(rows[binding.time], pa.timestamp("us")),
                "model_version": [split.champion] * len(rows),
                "score": scores,
                "label": scores >= LABEL_THRESHOLD,
            }
        )
        systems.warehouse.append(binding.predictions, table, f"{start:%Y-%m-%dT%H%M%S}")
    return BatchResult(
        model=model, version=split.champion, table=binding.predictions, start=start, end=end, rows=len(rows)
    )
