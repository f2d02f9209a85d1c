"""`drift_monitors` and `schemas`: what is watched, against what, and how loudly."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field, model_validator

from policies.declarations.base import Declared, Duration, Frequency


class DriftType(StrEnum):
    """The six kinds of drift."""

    data_drift = "data_drift"
    concept_drift = "concept_drift"
    prediction_drift = "prediction_drift"
    label_drift = "label_drift"
    feature_drift = "feature_drift"
    schema_drift = "schema_drift"


class Baseline(Declared):
    """The data a monitor compares with, and the day it stands for."""

    dataset: str
    timestamp: date | None = None


class _Check(Declared):
    frequency: Frequency
    window: Duration | None = None
    critical_multiple: float = Field(default=2.0, gt=1)


class DataDrift(_Check):
    """Input distributions: `threshold` on the method's statistic, over all or the listed features."""

    type: Literal["data_drift"]
    method: Literal["psi", "ks", "js", "kl_divergence", "hellinger", "wasserstein"]
    threshold: float = Field(gt=0)
    features: Literal["all"] | list[str] = "all"


class FeatureDrift(_Check):
    """Single features, or with `correlation` their pairwise relations."""

    type: Literal["feature_drift"]
    method: Literal["psi", "ks", "js", "hellinger", "wasserstein", "correlation"]
    threshold: float = Field(gt=0)
    features: Literal["all"] | list[str] = "all"


class PredictionDrift(_Check):
    """The distribution of the model's scores."""

    type: Literal["prediction_drift"]
    method: Literal["kl_divergence", "psi", "ks", "js", "hellinger", "wasserstein"]
    threshold: float = Field(gt=0)


class LabelDrift(_Check):
    """The share of each class among the labels: `threshold` is an absolute change of share."""

    type: Literal["label_drift"]
    method: Literal["class_balance"]
    threshold: float = Field(gt=0)


class ConceptDrift(_Check):
    """Performance over the labelled rows of the window; `threshold` is an absolute drop of the metric."""

    type: Literal["concept_drift"]
    method: Literal["performance_decay"]
    metric: str
    threshold: float = Field(gt=0)


class SchemaDrift(_Check):
    """The contract a table must keep."""

    type: Literal["schema_drift"]
    method: Literal["contract_validation"]
    expected_schema: str


Check = Annotated[
    DataDrift | FeatureDrift | PredictionDrift | LabelDrift | ConceptDrift | SchemaDrift,
    Field(discriminator="type"),
]


class Alerts(Declared):
    """Channels, and whom each severity is told to (names bound in `systems.people`)."""

    channels: list[Literal["slack", "pagerduty", "email"]] = []
    escalation: dict[Literal["warning", "critical"], str] = {}


class DriftMonitor(Declared):
    """A `drift_monitor` block."""

    model: str
    baseline: Baseline
    monitors: list[Check] = Field(min_length=1)
    alerts: Alerts = Alerts()


class Column(Declared):
    """One column of a contract. `range` is inclusive, `categories` complete."""

    type: Literal["integer", "number", "string", "boolean", "timestamp"]
    nullable: bool = False
    max_null_share: float = Field(default=1.0, ge=0, le=1)
    range: tuple[float | None, float | None] | None = None
    categories: list[str] | None = None
    unique: bool = False


class Freshness(Declared):
    """A load-time column that may be at most `max_age` behind the rows it is in."""

    column: str
    max_age: Duration


class Schema(Declared):
    """A data contract: columns, rows a day, and how fresh each source must be."""

    columns: dict[str, Column] = Field(min_length=1)
    rows_per_day: tuple[int, int] | None = None
    freshness: list[Freshness] = []
    allow_added_columns: bool = True

    @model_validator(mode="after")
    def _freshness_columns_exist(self) -> Schema:
        for each in self.freshness:
            if each.column not in self.columns:
                raise ValueError(f"freshness names column {each.column!r}, which is not among the columns")
        return self
