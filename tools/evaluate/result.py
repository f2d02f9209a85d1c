"""What an evaluation says: the two contenders, the comparison, the verdict and the gate."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_serializer, model_validator

from tools.evaluate.comparison import Contribution, Outcome
from tools.evaluate.gate import Check

_ERRORS = ("mae",)
"""Measures of segments that are lower where they are better."""


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True)


class EvaluateArguments(BaseModel):
    """Which champion_challenger."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    challenge: str


class Contender(_Result):
    """A version and its metrics on the holdout; a metric that is undefined there is left out."""

    version: str
    metrics: dict[str, float]


class Holdout(_Result):
    """The labelled rows both were judged on; `digest` is the SHA-256 over their values, `positives` of two classes."""

    dataset: str
    rows: int
    positives: int | None
    start: datetime
    end: datetime
    digest: str


class AucDifference(_Result):
    """DeLong's test on the holdout: challenger's AUC less the champion's, p-value and 95% interval."""

    difference: float
    p_value: float
    interval: tuple[float, float]


class GateResult(_Result):
    """The quality gate. `not_run` (without an id) where the challenger did not win or no gate is declared.

    A result holds for one artifact and one holdout, and until `expires_at`.
    """

    gate_id: str | None
    status: Literal["passed", "failed", "inconclusive", "not_run"]
    checks: list[Check]
    version: str | None = None
    artifact_digest: str | None = None
    champion: str | None = None
    holdout_digest: str | None = None
    expires_at: datetime | None = None


class WeakSegment(_Result):
    """One value of a column on which the challenger does badly, by the task's measure of segments (of two classes AUC).

    As JSON the two values are named after the measure: `champion_auc`, `challenger_auc`.
    """

    column: str
    value: str
    rows: int
    measure: str
    champion: float
    challenger: float

    @property
    def goodness(self) -> float:
        """The challenger's value, higher where it is better."""
        return -self.challenger if self.measure in _ERRORS else self.challenger

    @property
    def worse(self) -> bool:
        """Whether the challenger is worse here than the champion."""
        gain = self.challenger - self.champion
        return gain > 0 if self.measure in _ERRORS else gain < 0

    @model_serializer
    def _named(self) -> dict[str, Any]:
        found = {"column": self.column, "value": self.value, "rows": self.rows}
        return {**found, f"champion_{self.measure}": self.champion, f"challenger_{self.measure}": self.challenger}

    @model_validator(mode="before")
    @classmethod
    def _of_named(cls, given: Any) -> Any:
        name = next((each for each in given if each.startswith("champion_")), None) if isinstance(given, dict) else None
        if name is None:
            return given
        measure = name.removeprefix("champion_")
        read = {"measure": measure, "champion": given[name], "challenger": given[f"challenger_{measure}"]}
        return {**{each: given[each] for each in ("column", "value", "rows")}, **read}


class DataChange(_Result):
    """One feature of the holdout that differs from the champion's training rows; `psi` by the drift engine."""

    column: str
    psi: float
    detail: str


class Investigation(_Result):
    """What is known when a gate does not pass, for people and for the planner.

    Attributes:
        findings: the whole in sentences, most important first.
        failed: the gate's checks that failed or could not be judged, as name and what was seen.
        segments: the challenger's weakest segments, worst first.
        since: end of the champion's training rows, None where it does not say.
        changes: what changed in the data since then, worst first.
        reports: drift reports that found drift since then, newest first.
    """

    investigation_id: str = ""
    gate_id: str
    version: str
    champion: str
    findings: list[str]
    failed: list[str]
    segments: list[WeakSegment]
    since: datetime | None
    changes: list[DataChange]
    reports: list[str]


class EvaluateResult(_Result):
    """Champion against challenger. `interval` is the 95% interval of the weighted improvement.

    `investigation` is opened where the challenger won and its gate did not pass. `remark` says where the registry's
    alias `champion` is not on the version that serves.
    """

    evaluation_id: str
    challenge: str
    model: str
    champion: Contender
    challenger: Contender
    weighted_improvement: float
    min_weighted_improvement: float
    interval: tuple[float, float]
    verdict: Outcome
    contributions: list[Contribution]
    auc_test: AucDifference | None
    holdout: Holdout
    gate: GateResult
    investigation: Investigation | None = None
    next: str
    remark: str = ""
    seconds: float
