"""`champion_challengers` and `quality_gates`: who is compared how, and what a winner must pass."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from policies.conditions import parse_bound
from policies.declarations.base import Declared, Duration


class Contender(Declared):
    """A role in the registry. `model` is a label for people: the role resolves by alias at run time."""

    model: str
    registry: Literal["mlflow"] = "mlflow"
    stage: Literal["production", "staging"]


class Metric(Declared):
    """A metric of the comparison, its weight and its good direction."""

    name: str
    weight: float = Field(ge=0, le=1)
    direction: Literal["higher", "lower"]


class Comparison(Declared):
    """The weighted comparison on a holdout dataset."""

    dataset: str
    metrics: list[Metric] = Field(min_length=1)
    min_weighted_improvement: float = Field(ge=0)
    require_significance: bool = True

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> Comparison:
        total = sum(metric.weight for metric in self.metrics)
        if abs(total - 1) > 1e-9:
            raise ValueError(f"the weights of the metrics sum to {total:g}, they must sum to 1")
        return self


class Promotion(Declared):
    """What follows a win."""

    auto_promote: bool = False
    require_quality_gate: bool = True
    notify: list[str] = []
    deployment_strategy: str


class ChampionChallenger(Declared):
    """A `champion_challenger` block."""

    champion: Contender
    challenger: Contender
    evaluation: Comparison
    promotion: Promotion

    @model_validator(mode="after")
    def _roles_differ(self) -> ChampionChallenger:
        if self.champion.stage != "production" or self.challenger.stage != "staging":
            raise ValueError("the champion's stage is 'production' and the challenger's 'staging'")
        return self


def _check_bound(text: str) -> str:
    parse_bound(text)
    return text


class Segments(Declared):
    """No value of these columns may be worse than under the champion by more than `max_degradation` (absolute AUC)."""

    columns: list[str] = Field(min_length=1)
    max_degradation: float = Field(default=0.05, gt=0)
    min_rows: int = Field(default=500, gt=0)


class QualityGate(Declared):
    """A `quality_gate` block: every check blocks; what cannot be judged does not pass."""

    model: str
    metrics: dict[str, Annotated[str, AfterValidator(_check_bound)]] = Field(min_length=1)
    min_rows: int = Field(default=1000, gt=0)
    data_quality_pass_rate: float = Field(default=0.95, ge=0, le=1)
    segments: Segments | None = None
    max_calibration_error: float | None = Field(default=None, gt=0)
    max_latency_ms: float | None = Field(default=None, gt=0)
    max_model_size_mb: float | None = Field(default=None, gt=0)
    max_age: Duration = Field(default="7d", validate_default=True)
