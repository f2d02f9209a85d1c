"""`serving_infra`: where models answer, in real time and in batches."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from policies.declarations.base import Cron, Declared


class Instances(Declared):
    """How many workers, at least and at most."""

    min: int = Field(ge=1)
    max: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Instances:
        if self.min > self.max:
            raise ValueError(f"instances.min is {self.min}, more than instances.max, {self.max}")
        return self


class Autoscaling(Declared):
    """Target per instance; cooldowns in seconds."""

    metric: Literal["requests_per_second"]
    target: float = Field(gt=0)
    scale_up_cooldown: float = Field(ge=0)
    scale_down_cooldown: float = Field(ge=0)


class SLA(Declared):
    """What is promised to callers."""

    latency_p99_ms: float = Field(gt=0)
    availability: float = Field(gt=0, le=1)
    throughput_rps: float = Field(gt=0)


class RealTime(Declared):
    """An HTTP endpoint."""

    name: str
    endpoint: str = Field(pattern=r"^/")
    framework: Literal["fastapi"] = "fastapi"
    instances: Instances
    autoscaling: Autoscaling | None = None
    sla: SLA | None = None


class Batch(Declared):
    """A scheduled scoring of a table into a table."""

    name: str
    schedule: Cron
    input: str
    output: str
    compute: str = "local"
    timeout_minutes: float = Field(gt=0)


def _kind(value: Any) -> str:
    keys = value if isinstance(value, dict) else vars(value)
    return "batch" if "input" in keys or "schedule" in keys or keys.get("name") == "batch" else "real_time"


Pattern = Annotated[
    Annotated[RealTime, Tag("real_time")] | Annotated[Batch, Tag("batch")],
    Discriminator(_kind),
]


class ServingInfra(Declared):
    """A `serving_infra` block. `model` may be left out where there is only one."""

    model: str | None = None
    patterns: list[Pattern] = Field(min_length=1)

    @property
    def real_time(self) -> RealTime | None:
        """The first real-time pattern."""
        return next((pattern for pattern in self.patterns if isinstance(pattern, RealTime)), None)

    @property
    def batch(self) -> Batch | None:
        """The first batch pattern."""
        return next((pattern for pattern in self.patterns if isinstance(pattern, Batch)), None)
