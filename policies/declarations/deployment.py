"""`deployment_strategies`: canary, shadow, blue-green, A/B."""

from __future__ import annotations

import itertools
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, WithJsonSchema, model_validator

from policies.conditions import parse_condition
from policies.declarations.base import Declared, Duration, parse_duration, show_duration
from policies.tasks import COMPARED

MEASUREMENTS = ("error_rate", "p99_latency_ms", *COMPARED)

GATES: dict[str, tuple[str, ...]] = {
    "none": (),
    "latency_and_errors": ("error_rate", "p99_latency_ms"),
    "latency_errors_metrics": ("error_rate", "p99_latency_ms", "auc_degradation"),
    "full_metrics": ("error_rate", "p99_latency_ms", "auc_degradation"),
}
"""What each named gate needs a conclusive pass of; `auc_degradation` stands for what the model's task has in its place
(`policies.tasks.DEGRADATION`). `full_metrics` is everything that is measured."""


def named_gate(gate: str, degradation: str) -> tuple[str, ...]:
    """What a named gate asks for of a model whose labels are measured by `degradation`."""
    return tuple(degradation if each == "auc_degradation" else each for each in GATES[gate])


def _check_condition(text: str) -> str:
    for comparison in parse_condition(text).comparisons:
        if comparison.name not in MEASUREMENTS:
            raise ValueError(f"{comparison.name!r} is not measured: one of {', '.join(MEASUREMENTS)}")
    return text


def _check_requirement(text: str) -> str:
    condition = parse_condition(_check_condition(text))
    if len(condition.any_of) > 1:
        raise ValueError(f"{text!r}: all of a gate's conditions must hold; 'or' is for rollback.conditions")
    for comparison in condition.comparisons:
        if comparison.bound.operator not in ("<", "<="):
            name = comparison.name
            raise ValueError(f"{text!r}: a gate's condition says what must hold: write {name} <= LIMIT")
    return text


ConditionText = Annotated[str, AfterValidator(_check_condition)]
RequirementText = Annotated[str, AfterValidator(_check_requirement)]
Requirements = Annotated[list[RequirementText], Field(min_length=1)]


def _parse_stage_duration(value: object) -> timedelta | str:
    return "stable" if value == "stable" else parse_duration(value)


StageDuration = Annotated[
    timedelta | Literal["stable"],
    BeforeValidator(_parse_stage_duration),
    PlainSerializer(lambda value: value if isinstance(value, str) else show_duration(value), return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^(stable|\d+(\.\d+)?[smhdw])$", "examples": ["1h", "stable"]}),
]


class Stage(Declared):
    """A share of the traffic, for how long, and what must hold before the next stage: a named gate, or a set of
    conditions that must all be shown to hold, such as `[error_rate <= 0.5%, auc_degradation <= 0.02]`."""

    traffic_pct: float = Field(gt=0, le=100)
    duration: StageDuration
    gate: Literal["none", "latency_and_errors", "latency_errors_metrics", "full_metrics"] | Requirements
    max_wait: Duration | None = None

    @property
    def requires(self) -> tuple[str, ...]:
        """The declared conditions; empty for a named gate."""
        return () if isinstance(self.gate, str) else tuple(self.gate)

    @property
    def gate_name(self) -> str:
        """The gate's name, or its conditions in words."""
        return self.gate if isinstance(self.gate, str) else " and ".join(self.gate)

    @property
    def measures(self) -> frozenset[str]:
        """What the gate needs a conclusive pass of."""
        declared = {each.name for text in self.requires for each in parse_condition(text).comparisons}
        return frozenset(GATES[self.gate]) if isinstance(self.gate, str) else frozenset(declared)

    @property
    def waits_for_labels(self) -> bool:
        """Whether its gate needs labels."""
        return not self.measures.isdisjoint(COMPARED)


class Rollback(Declared):
    """When the champion takes over again."""

    auto: bool = True
    conditions: list[ConditionText] = []


class Canary(Declared):
    """A rising share of the traffic, gated stage by stage."""

    type: Literal["canary"]
    stages: list[Stage] = Field(min_length=1)
    rollback: Rollback = Rollback()

    @property
    def limited(self) -> list[str]:
        """What its rollback conditions and the declared conditions of its gates are about."""
        texts = [*self.rollback.conditions, *(text for stage in self.stages for text in stage.requires)]
        return list(dict.fromkeys(each.name for text in texts for each in parse_condition(text).comparisons))

    @model_validator(mode="after")
    def _stages_rise_to_all(self) -> Canary:
        shares = [stage.traffic_pct for stage in self.stages]
        if any(later <= earlier for earlier, later in itertools.pairwise(shares)):
            raise ValueError(f"the stages' traffic_pct must rise, they are {', '.join(f'{s:g}' for s in shares)}")
        if shares[-1] != 100:
            raise ValueError(f"the last stage's traffic_pct must be 100, it is {shares[-1]:g}")
        if any(stage.duration == "stable" for stage in self.stages[:-1]):
            raise ValueError("only the last stage may have duration 'stable'")
        return self


class ShadowComparison(Declared):
    """Labels of the two versions and the metrics they are compared on."""

    champion: str
    challenger: str
    metrics: list[str] = Field(min_length=1)


class PromotionCriteria(Declared):
    """What the shadowed challenger must show."""

    challenger_wins_on: list[str] = Field(min_length=1)
    max_latency_increase_pct: float = Field(ge=0)


class Shadow(Declared):
    """The challenger answers a copy of the requests; nobody sees its answers."""

    type: Literal["shadow"]
    duration: Duration
    comparison: ShadowComparison
    promotion_criteria: PromotionCriteria

    @property
    def compared(self) -> list[str]:
        """What must be won on, then what is only told."""
        return list(dict.fromkeys([*self.promotion_criteria.challenger_wins_on, *self.comparison.metrics]))


class Environment(Declared):
    """One of two environments: where it answers, and the label of its version."""

    endpoint: str = Field(pattern=r"^/")
    model: str


class Environments(Declared):
    """The two environments of a blue-green deployment."""

    blue: Environment
    green: Environment


class Switch(Declared):
    """How traffic moves from one environment to the other, and back."""

    method: Literal["dns", "load_balancer"]
    health_check_seconds: int = Field(gt=0)
    rollback_timeout_seconds: int = Field(ge=0)


class BlueGreen(Declared):
    """Two environments, one atomic switch."""

    type: Literal["blue_green"]
    environments: Environments
    switch: Switch


class Variant(Declared):
    """A label of a version and its share of the traffic."""

    model: str
    traffic_pct: float = Field(gt=0, lt=100)


class Variants(Declared):
    """The two arms of an A/B test."""

    control: Variant
    treatment: Variant

    @model_validator(mode="after")
    def _shares_sum(self) -> Variants:
        total = self.control.traffic_pct + self.treatment.traffic_pct
        if total != 100:
            raise ValueError(f"the variants' traffic_pct sum to {total:g}, they must sum to 100")
        return self


class Statistical(Declared):
    """The test that decides."""

    test: Literal["chi_squared", "t_test", "mann_whitney"]
    significance: float = Field(gt=0, lt=0.5)
    min_sample_size: int = Field(gt=0)


class ABTest(Declared):
    """Traffic split for a statistical comparison of a business outcome."""

    type: Literal["ab_test"]
    variants: Variants
    success_metric: str
    duration: Duration
    statistical: Statistical


DeploymentStrategy = Annotated[Canary | Shadow | BlueGreen | ABTest, Field(discriminator="type")]
