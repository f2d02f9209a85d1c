"""`drift_monitors` and `schemas`: what is watched, against what, and how loudly."""

from __future__ import annotations

from datetime import date, timedelta
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from policies.declarations.base import Declared, Duration, Frequency, Positive, named_twice


class DriftType(StrEnum):
    """The six kinds of drift."""

    data_drift = "data_drift"
    concept_drift = "concept_drift"
    prediction_drift = "prediction_drift"
    label_drift = "label_drift"
    feature_drift = "feature_drift"
    schema_drift = "schema_drift"


class Baseline(Declared):
    """The data a monitor compares with, and the day it stands for.

    With a `period` it moves with the window: of the rows of `dataset` (the live table, or one with its history) count
    those of the same days of the week in the four weeks before (`same_weekday`), or the week that ended 52 weeks, so
    on the same weekday, before the window's end (`same_week_last_year`; longer where the window is).
    """

    dataset: str
    timestamp: date | None = None
    period: Literal["same_weekday", "same_week_last_year"] | None = None


def _some(features: object) -> object:
    if features == []:
        raise ValueError("names no feature: write all, or the names of some")
    if isinstance(features, list) and (problem := named_twice(features)) is not None:
        raise ValueError(problem)
    return features


def _not_empty(window: timedelta) -> timedelta:
    if not window:
        raise ValueError("is no window: write a duration of more than nothing, for example '7d'")
    return window


Features = Annotated[Literal["all"] | list[str], BeforeValidator(_some)]
Window = Annotated[Duration, AfterValidator(_not_empty)]


class _Check(Declared):
    frequency: Frequency
    window: Window | None = None
    critical_multiple: float = Field(default=2.0, gt=1)


class DataDrift(_Check):
    """Input distributions: `threshold` on the method's statistic, over all or the listed features.

    `verdict`: `any` feature beyond it is a finding; or at least `min_share` of the features must be (`share`); or the
    `mean` of the statistic over the features.
    """

    type: Literal["data_drift"]
    method: Literal["psi", "ks", "js", "kl_divergence", "hellinger", "wasserstein"]
    threshold: Positive
    features: Features = "all"
    verdict: Literal["any", "share", "mean"] = "any"
    min_share: float | None = Field(default=None, gt=0, le=1)

    @model_validator(mode="after")
    def _share_where_it_counts(self) -> DataDrift:
        if self.verdict == "share" and self.min_share is None:
            raise ValueError("verdict 'share' needs min_share: the share of the features that must drift, say 0.3")
        if self.verdict != "share" and self.min_share is not None:
            raise ValueError(f"min_share says nothing to verdict {self.verdict!r}; write verdict: share")
        return self


class FeatureDrift(_Check):
    """Single features, or with `correlation` their pairwise relations."""

    type: Literal["feature_drift"]
    method: Literal["psi", "ks", "js", "hellinger", "wasserstein", "correlation"]
    threshold: Positive
    features: Features = "all"


class PredictionDrift(_Check):
    """What the model says: scores, values of a regression, or of several classes the class and its probability."""

    type: Literal["prediction_drift"]
    method: Literal["kl_divergence", "psi", "ks", "js", "hellinger", "wasserstein"]
    threshold: Positive


class LabelDrift(_Check):
    """The distribution of the labels: with `class_balance`, `threshold` is an absolute change of a class's share."""

    type: Literal["label_drift"]
    method: Literal["class_balance", "psi", "ks", "js", "hellinger", "wasserstein"]
    threshold: Positive


class ConceptDrift(_Check):
    """How well scores and outcomes agree; `threshold` is an absolute drop of the metric.

    `performance_decay` measures it over the labelled rows of the window, `estimated_performance` estimates it without
    labels from calibrated probabilities. `adwin` and `page_hinkley` look for the moment the error of the labelled rows
    rose, in the order their labels arrived; they take no metric, and their `threshold` is a rise of the mean error
    (distance of probability and outcome; of a regression in the baseline's standard deviations of the error).
    """

    type: Literal["concept_drift"]
    method: Literal["performance_decay", "estimated_performance", "adwin", "page_hinkley"]
    metric: str | None = None
    threshold: Positive

    @model_validator(mode="after")
    def _metric_where_it_counts(self) -> ConceptDrift:
        streaming = self.method in ("adwin", "page_hinkley")
        if streaming and self.metric is not None:
            raise ValueError(f"method {self.method!r} watches the error itself: it takes no metric")
        if not streaming and self.metric is None:
            raise ValueError(f"method {self.method!r} needs a metric, say auc_roc")
        return self


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
    """Channels, and whom each severity is told to (names bound in `systems.people`).

    Within `quiet_period` of the last call an incident that goes on changes its message and calls nobody.
    """

    channels: list[Literal["slack", "pagerduty", "email"]] = []
    escalation: dict[Literal["warning", "critical"], str] = {}
    quiet_period: Duration = timedelta(days=7)


class DriftMonitor(Declared):
    """A `drift_monitor` block."""

    model: str
    baseline: Baseline
    monitors: list[Check] = Field(min_length=1)
    alerts: Alerts = Alerts()


class Column(Declared):
    """One column of a contract. `range` is inclusive and of numbers, `categories` complete and of strings."""

    type: Literal["integer", "number", "string", "boolean", "timestamp"]
    nullable: bool = False
    max_null_share: float = Field(default=1.0, ge=0, le=1)
    range: tuple[float | None, float | None] | None = None
    categories: list[str] | None = None
    unique: bool = False

    @field_validator("range")
    @classmethod
    def _holds_a_value(cls, allowed: tuple[float | None, float | None] | None) -> object:
        if allowed is not None and None not in allowed:
            low, high = allowed
            if low > high:  # type: ignore[operator]
                raise ValueError(f"no value is from {low:g} to {high:g}: write [{high:g}, {low:g}]")
        return allowed

    @model_validator(mode="after")
    def _says_something_of_its_type(self) -> Column:
        if self.range is not None and self.type not in ("integer", "number"):
            raise ValueError(f"range says nothing of type {self.type}; it is for integer and number")
        if self.categories is not None and self.type != "string":
            other = "; a range bounds numbers" if self.type in ("integer", "number") else ""
            raise ValueError(f"categories say nothing of type {self.type}; they are for string{other}")
        return self

    @field_validator("categories")
    @classmethod
    def _holds_a_category(cls, allowed: list[str] | None) -> object:
        if allowed == []:
            raise ValueError("allows no value: write the values there are, or leave it out")
        return allowed


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

    @field_validator("rows_per_day")
    @classmethod
    def _holds_a_count(cls, band: tuple[int, int] | None) -> object:
        if band is not None and not 0 <= band[0] <= band[1]:
            low, high = sorted(max(each, 0) for each in band)
            raise ValueError(f"no day has from {band[0]} to {band[1]} rows: write [{low}, {high}]")
        return band

    @model_validator(mode="after")
    def _freshness_columns_exist(self) -> Schema:
        for each in self.freshness:
            if each.column not in self.columns:
                raise ValueError(f"freshness names column {each.column!r}, which is not among the columns")
        return self
