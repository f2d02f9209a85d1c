"""`retraining_pipelines`: when a model is trained again, on what, and what it must then prove."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from policies.declarations.base import Cron, Declared, Duration


class DriftTrigger(Declared):
    """Fires on a drift report of `source` at `min_severity` or worse; at most once in `cooldown_hours`."""

    type: Literal["drift_detected"]
    source: str
    min_severity: Literal["warning", "critical"] = "warning"
    cooldown_hours: float = Field(default=24, ge=0)


class DecayTrigger(Declared):
    """Fires when `metric` over the labelled rows of `window` is below the absolute `threshold`."""

    type: Literal["performance_decay"]
    metric: str
    threshold: float
    window: Duration


class ScheduledTrigger(Declared):
    """Fires on a cron schedule; with `always_run: false` only where drift was found since the last run."""

    type: Literal["scheduled"]
    cron: Cron
    always_run: bool = False


class VolumeTrigger(Declared):
    """Fires when `min_new_labels` have arrived since the data the champion was trained on."""

    type: Literal["data_volume"]
    min_new_labels: int = Field(gt=0)
    label_table: str


Trigger = Annotated[DriftTrigger | DecayTrigger | ScheduledTrigger | VolumeTrigger, Field(discriminator="type")]


class Training(Declared):
    """How the challenger is trained. `max_rows` bounds the rows a fit sees (evenly thinned)."""

    use_experiment: str
    data_window: str = Field(pattern=r"^(rolling_\d+_(months|days)|expanding)$")
    validation: Literal["temporal_split"] = "temporal_split"
    auto_hyperparameter_tune: bool = True
    max_training_hours: float = Field(default=4, gt=0)
    max_rows: int = Field(default=200_000, gt=0)
    trials: int = Field(default=6, gt=0)
    min_new_rows: int = Field(default=5_000, ge=0)


class RetrainPromotion(Declared):
    """What a retrained model must beat: an absolute gain in `metric`, and the gate."""

    strategy: Literal["champion_challenger"] = "champion_challenger"
    min_improvement: float = Field(default=0.0, ge=0)
    metric: str
    require_gate: bool = True


class RetrainingPipeline(Declared):
    """A `retraining_pipeline` block."""

    model: str
    triggers: list[Trigger] = Field(min_length=1)
    training: Training
    promotion: RetrainPromotion
