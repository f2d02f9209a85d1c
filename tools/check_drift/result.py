"""What a run of a monitor says: the report and its parts."""

from __future__ import annotations

import math
from datetime import date, datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from policies.declarations import Severity
from policies.declarations.drift import DriftType


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class Check(_Result):
    """One measured thing: a feature, the scores, the labels, a metric, a clause of the contract.

    `severity` is `warning` for a finding beyond `threshold`, `critical` beyond the declared multiple of it or for a
    broken contract, and `unknown` where it could not be judged, with the reason in `detail`. `p_value` is corrected
    over the features of its check; it is None where nothing random is involved.
    """

    type: DriftType
    method: str
    subject: str
    value: float | None
    threshold: float | None
    p_value: float | None
    severity: Severity
    detail: str

    @property
    def found(self) -> bool:
        """Whether this is a finding."""
        return self.severity in (Severity.warning, Severity.critical)


class Window(_Result):
    """Feature rows looked at, with time in [start, end)."""

    start: datetime
    end: datetime
    rows: int


class BaselineUsed(_Result):
    """What was compared with."""

    dataset: str
    rows: int


class SourceFinding(_Result):
    """A declared source with findings: the features that drifted, and what smells of a broken pipeline."""

    source: str
    owner: str
    features: list[str]
    signs: list[str]


class DriftedFeature(_Result):
    """A drifted feature and what it means to the model.

    `importance` is its share (0 to 1, over all features) in what moves the champion's scores, `weight` that times its
    drift, as a share over the drifted ones; `explains` the share of the change of the scores that its drift explains
    (negative: works against it). None where it could not be computed, or the scores did not change.
    """

    feature: str
    importance: float | None
    weight: float | None
    explains: float | None


class Diagnosis(_Result):
    """Where the findings come from. Computed, never guessed.

    `kind`: `pipeline` (stale, missing, constant, null, rescaled or recoded data), `world` (the data are sound and
    differ), `both`, or `none`. `first_seen` is the first day that shows the change of what changed most; `sudden`
    tells whether the change was complete on that day or the next. `one_source` tells whether all features with
    findings come from one declared source. `renamed` names, for columns that are missing, the new column that holds
    their values. `features` are those that drifted, the weightiest first, and `explained` is how much of the change of
    the scores they explain together.
    """

    kind: Literal["none", "pipeline", "world", "both"]
    sources: list[SourceFinding]
    first_seen: date | None
    sudden: bool | None
    detail: str
    one_source: bool | None = None
    renamed: dict[str, str] = {}
    features: list[DriftedFeature] = []
    explained: float | None = None


class DriftReport(_Result):
    """One run of a drift monitor, with every check it made.

    `status`: `checked`, `insufficient_data` (too few rows for a check that needs no labels, or nothing could be
    judged), or `failed` (a check could not be made, and its `detail` says why). `severity` is the worst finding; unless
    the status is `checked` it is never `ok`, but `unknown` or worse. `failure`: whether what failed was the data
    (`input`) or a system that did not answer or the Guardian itself (`failed`).
    """

    report_id: str
    monitor: str
    model: str
    checked_at: datetime
    window: Window
    baseline: BaselineUsed
    status: Literal["checked", "insufficient_data", "failed"]
    drift_detected: bool
    severity: Severity
    checks: list[Check]
    diagnosis: Diagnosis
    failure: Literal["input", "failed"] | None = None


class Unjudged(DriftReport):
    """A failed report in which nothing could be judged, with the error as every command shows it."""

    error: dict[str, str]

    @property
    def exit_code(self) -> int:
        """2 for data that cannot be used, 1 for all else."""
        return 2 if self.failure == "input" else 1


def told(report: BaseModel) -> DriftReport:
    """A run's report as the command line tells it."""
    found = DriftReport.model_validate(report)
    if found.failure is None or any(check.severity is not Severity.unknown for check in found.checks):
        return found
    why = next((each.detail for each in found.checks if each.detail.startswith("failed")), found.checks[0].detail)
    error = {"kind": found.failure, "message": f"nothing could be judged: {why}", "where": found.monitor}
    return Unjudged(**dict(found), error=error)


class MonitorStarted(_Result):
    """A registered monitor: what it checks and how often."""

    monitor_id: str
    monitor: str
    model: str
    status: Literal["active"]
    started_at: datetime
    checks: list[str]


def graded(value: float, threshold: float, multiple: float, p_value: float | None, alpha: float) -> Severity:
    """The severity of a measured effect: beyond its threshold, and beyond what noise explains at level `alpha`."""
    if math.isnan(value):
        return Severity.unknown
    if value <= threshold or (p_value is not None and p_value >= alpha):
        return Severity.ok
    return Severity.critical if value > multiple * threshold else Severity.warning
