"""`retraining_pipelines`: when a model is trained again, on what, and what it must then prove."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

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
    """How the challenger is trained.

    `use_experiment` names where the recipe comes from: `module:function` a user's own, a folder with an `MLproject`
    file or the address of one an MLflow Project, any other name the built-in recipe with what the champion's run
    recorded.
    `max_rows` bounds the rows a fit sees (evenly thinned), `max_training_hours` and `memory_limit_gb` the process that
    trains. `compute: ray` runs the trials as tasks on the Ray cluster at `address` (`auto`: the one of this machine).
    """

    use_experiment: str = Field(min_length=1)
    data_window: str = Field(pattern=r"^(rolling_[1-9]\d{0,3}_(months|days)|expanding)$")
    validation: Literal["temporal_split"] = "temporal_split"
    auto_hyperparameter_tune: bool = True
    max_training_hours: float = Field(default=4, gt=0)
    memory_limit_gb: float = Field(default=8, gt=0)
    compute: Literal["local", "ray"] = "local"
    address: str | None = None
    max_rows: int = Field(default=200_000, gt=0)
    trials: int = Field(default=6, gt=0)
    min_new_rows: int = Field(default=5_000, ge=0)

    @model_validator(mode="after")
    def _ray_has_an_address(self) -> Training:
        if (self.compute == "ray") != (self.address is not None):
            raise ValueError("compute: ray needs the cluster's address (auto: this machine's), and only ray takes one")
        return self


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
