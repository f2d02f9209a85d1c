"""What a retraining says: the arguments it takes, its result, and each trigger's answer."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict


class RetrainArguments(BaseModel):
    """Which pipeline; and the trigger type whose condition is skipped, null for none."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pipeline: str
    force_trigger: Literal["drift_detected", "performance_decay", "scheduled", "data_volume"] | None


class TriggerAnswer(BaseModel):
    """Whether a trigger fired; if not, the rule that refused it, and until when (null: until the evidence changes)."""

    model_config = ConfigDict(frozen=True)

    trigger: str
    fired: bool
    reason: str
    rule: str | None = None
    until: datetime | None = None


class DataWindow(BaseModel):
    """The rows learned from: train [start, cut), validation [cut, end), the holdout begins at `holdout_start`.

    `labelled_rows` lie in the window, `rows` of them were read; `new_rows` are those since `changed_at`.
    """

    model_config = ConfigDict(frozen=True)

    declared: str
    start: datetime | None
    cut: datetime
    end: datetime
    holdout_start: datetime
    rows: int
    labelled_rows: int
    changed_at: datetime | None
    new_rows: int
    digest: str


class RetrainResult(BaseModel):
    """One retraining, or why there was none.

    `policy` names the policy that refused it; it is null where no trigger fired or there is nothing to learn yet.
    `triggers` holds every trigger asked, in order, up to the one that fired. `stopped` says which limit ended the work
    early: the version is then the best trial until there, fitted on the training slice alone.
    """

    model_config = ConfigDict(frozen=True)

    run_id: str | None
    pipeline: str | None
    triggered_by: str | None
    started: bool
    skipped_because: str | None
    policy: str | None = None
    until: datetime | None = None
    model: str
    version: str | None
    mlflow_run_id: str | None
    metrics: dict[str, float]
    data_window: DataWindow | None
    best_params: dict[str, str]
    seconds: float
    triggers: list[TriggerAnswer] = []
    stopped: str | None = None
