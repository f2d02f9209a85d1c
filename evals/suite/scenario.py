"""A scenario as its folder declares it: the world, what is broken in it, who answers, and what must hold at the end."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, field_validator
from pydantic.json_schema import SkipJsonSchema

from evals.simshop import Story

DAY_OF_DEPLOYMENT = datetime(2026, 1, 6)
LAST_NIGHT = datetime(2026, 12, 31)
LONGEST_ROLLOUT = timedelta(days=5)
"""After the last night, a rollout that has not ended by then is left as it is, and nobody answers any more."""


def _says_something(text: str) -> str:
    if not text.strip():
        raise ValueError("is empty")
    return text


Words = Annotated[str, AfterValidator(_says_something)]
Hours = Annotated[float, Field(gt=0, le=LONGEST_ROLLOUT / timedelta(hours=1))]

Channel = Literal["slack", "pagerduty", "email"]
Variant = Literal["champion", "challenger"]
ApprovalEnd = Literal["pending", "approved", "used", "denied", "expired", "superseded"]
RunEnd = Literal["finished", "budget_exhausted", "stopped", "failed", "waiting_approval", "abandoned", "running"]


class Part(BaseModel):
    """A part of a scenario file: unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServingFault(Part):
    """What is wrong with the challenger's answers while it has at least `from_pct` of the traffic."""

    from_pct: float = Field(default=0.0, ge=0, le=100)
    errors: float = Field(default=0.0, ge=0, le=1)
    slower_pct: float = Field(default=0.0, ge=0, allow_inf_nan=False)


class Column(Part):
    """From `since` on, the feature table writes `column` under the name `named`."""

    column: str
    named: Words
    since: date


class Scaled(Part):
    """From `since` on, a numeric column of the feature table is written multiplied by `times`."""

    column: str
    times: FiniteFloat
    since: date


class Broken(Part):
    """What is wrong besides the causes in the world.

    `warehouse_down` lists nights (from 1) on which the warehouse answers nobody; `labels_stop` is the day from which
    no label arrives, `rows_stop` that from which no row of features does; `scores_from` the day from which the scoring
    job writes the square root of every score. `replaced` is a version whose registered artifact is another one by the
    time people answer. `answers_fail` is the share of the champion's answers that are errors.
    """

    columns: list[Column] = []
    scaled: list[Scaled] = []
    labels_stop: date | None = None
    rows_stop: date | None = None
    scores_from: date | None = None
    warehouse_down: list[int] = []
    replaced: str | None = None
    provider: Literal["down"] | None = None
    challenger: ServingFault | None = None
    answers_fail: float = Field(default=0.0, ge=0, le=1)


class World(Part):
    """SimShop on the night `at` (a midnight), with these causes at work since their usual dates.

    `due_only`: at night only the checks that are due are made. `converts` are the chances, by `champion` and
    `challenger`, of what an A/B test counts.
    """

    at: datetime
    causes: list[str] = []
    nights: int = Field(default=1, ge=1, le=14)
    due_only: bool = False
    converts: dict[Variant, Annotated[float, Field(ge=0, le=1)]] = {}

    @field_validator("at", mode="before")
    @classmethod
    def _midnight(cls, given: Any) -> Any:
        at = datetime.combine(given, datetime.min.time()) if type(given) is date else given
        if not isinstance(at, datetime) or at.tzinfo is not None or at.time() != time.min:
            raise ValueError("must be a date, as in 2026-02-06: the night begins at its midnight")
        if not DAY_OF_DEPLOYMENT < at <= LAST_NIGHT:
            raise ValueError(f"must lie after {DAY_OF_DEPLOYMENT:%Y-%m-%d} and not after {LAST_NIGHT:%Y-%m-%d}")
        return at

    @property
    def story(self) -> Story:
        return Story.of(*self.causes)


class Asked(Part):
    """What somebody writes to the Guardian about a model, so many hours after the last night began."""

    by: Words
    text: Words
    model: str = "ChurnModel"
    after_hours: Hours = 1.0


class Answer(Part):
    """What a person says to every request for approval, so many hours after it was made."""

    by: Words
    says: Literal["approve", "deny"]
    after_hours: Hours = 1.0
    why: str | None = None


class ModelEnd(Part):
    """The golden end of one model; only what is written is compared.

    `trained` counts trainings that were carried out, `verdict` and `gate` are of the newest evaluation, `rollout` is
    the newest one's status; `serves` is the version with all the traffic, `champion` and `challenger` the aliases.
    """

    champion: str | None = None
    challenger: str | None = None
    serves: str | None = None
    trained: NonNegativeInt | None = None
    verdict: str | None = None
    gate: str | None = None
    rollout: str | None = None
    severity: str | None = None


class End(Part):
    """The golden end. `told` and `not_told` are people, `reached` the channels a person was told by; `says` are words
    that a message to people contains, `reported` those that a run's report does, `problems` those that
    `guardian validate` says of the declarations. `incidents` is how many alerts were opened, `messages` how often
    anybody was called, `conversations` how often the planner was woken."""

    models: dict[str, ModelEnd] = {}
    told: list[str] = []
    not_told: list[str] = []
    reached: dict[str, list[Channel]] = {}
    problems: list[Words] = []
    says: list[Words] = []
    reported: list[Words] = []
    incidents: NonNegativeInt | None = None
    messages: NonNegativeInt | None = None
    conversations: NonNegativeInt | None = None
    approvals: list[ApprovalEnd] | None = None
    runs: list[RunEnd] | None = None


class CallPattern(Part):
    """A call of a tool: only the arguments that are written must match.

    `attempted` also matches calls that were refused; without it only those carried out count.
    """

    tool: str
    arguments: dict[str, Any] = {}
    attempted: bool = False


class Trajectory(Part):
    """Which calls the planner should make, in all nights together.

    `exact`: these and no others, in this order; `ordered`: these in this order, others between; `unordered`: these and
    no others, in any order; `superset`: all of these and perhaps others, in any order.
    """

    match: Literal["exact", "ordered", "unordered", "superset"]
    calls: list[CallPattern]


class Limits(Part):
    """At most so many tool calls, `redundant` ones (repeated or refused), language-model calls, tokens, dollars."""

    calls: NonNegativeInt | None = None
    redundant: NonNegativeInt | None = 0
    llm_calls: NonNegativeInt | None = None
    tokens: NonNegativeInt | None = None
    cost_usd: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class Scenario(Part):
    """One scenario. `operations` is merged into SimShop's declarations, `knowledge` is the team's agent.md; `catches`
    names bad planners it is meant for, `judgement` says that a fixed rule can go wrong here.

    `planners` lists those it is for where it is not for all.
    """

    name: SkipJsonSchema[str]
    about: Words
    world: World
    operations: dict[str, Any] = {}
    knowledge: str | None = None
    broken: Broken = Broken()
    answers: list[Answer] = []
    asked: list[Asked] = []
    end: End = End()
    forbidden: list[CallPattern] = []
    trajectory: Trajectory | None = None
    limits: Limits = Limits()
    judgement: bool = False
    catches: list[str] = []
    planners: Annotated[list[str], Field(min_length=1)] | None = None
    folder: SkipJsonSchema[Path] = Path()

    @property
    def recording(self) -> Path:
        """Where the scenario's recording lies, whether or not there is one."""
        return self.folder / "recording.jsonl"
