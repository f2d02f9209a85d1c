"""A scenario as its folder declares it: the world, what is broken in it, who answers, and what must hold at the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from evals.simshop import Story
from policies.errors import DeclarationError, InputError, Problem

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
FILE = "scenario.yaml"
DAY_OF_DEPLOYMENT = datetime(2026, 1, 6)


Variant = Literal["champion", "challenger"]


class Part(BaseModel):
    """A part of a scenario file: unknown keys are faults."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ServingFault(Part):
    """What is wrong with the challenger's answers while it has at least `from_pct` of the traffic."""

    from_pct: float = 0.0
    errors: float = Field(default=0.0, ge=0, le=1)
    slower_pct: float = Field(default=0.0, ge=0)


class Column(Part):
    """From `since` on, the feature table writes `column` under the name `named`."""

    column: str
    named: str
    since: date


class Scaled(Part):
    """From `since` on, a numeric column of the feature table is written multiplied by `times`."""

    column: str
    times: float
    since: date


class Broken(Part):
    """What is wrong besides the causes in the world.

    `warehouse_down` lists nights (from 1) on which the warehouse answers nobody; `labels_stop` is the day from which
    no label arrives, `rows_stop` that from which no row of features does; `scores_from` the day from which the scoring
    job writes the square root of every score. `replaced` is a version whose registered artifact is another one by the
    time people answer.
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


class World(Part):
    """SimShop on the night `at` (a midnight), with these causes at work since their usual dates.

    `due_only`: at night only the checks that are due are made. `converts` are the chances, by `champion` and
    `challenger`, of what an A/B test counts.
    """

    at: datetime
    causes: list[str] = []
    nights: int = Field(default=1, ge=1, le=14)
    due_only: bool = False
    converts: dict[Variant, float] = {}

    @field_validator("at", mode="before")
    @classmethod
    def _midnight(cls, given: Any) -> Any:
        return datetime.combine(given, datetime.min.time()) if type(given) is date else given

    @property
    def story(self) -> Story:
        return Story.of(*self.causes)


class Asked(Part):
    """What somebody writes to the Guardian about a model, so many hours after the last night began."""

    by: str
    text: str
    model: str = "ChurnModel"
    after_hours: float = Field(default=1.0, gt=0)


class Answer(Part):
    """What a person says to every request for approval, so many hours after it was made."""

    by: str
    says: Literal["approve", "deny"]
    after_hours: float = Field(default=1.0, gt=0)
    why: str | None = None


class ModelEnd(Part):
    """The golden end of one model; only what is written is compared.

    `trained` counts trainings that were carried out, `verdict` and `gate` are of the newest evaluation, `rollout` is
    the newest one's status; `serves` is the version with all the traffic, `champion` and `challenger` the aliases.
    """

    champion: str | None = None
    challenger: str | None = None
    serves: str | None = None
    trained: int | None = None
    verdict: str | None = None
    gate: str | None = None
    rollout: str | None = None
    severity: str | None = None


class End(Part):
    """The golden end. `told` and `not_told` are people; `says` are words that a message to people contains, `reported`
    those that a run's report does. `incidents` is how many alerts were opened, `messages` how often anybody was called,
    `conversations` how often the planner was woken."""

    models: dict[str, ModelEnd] = {}
    told: list[str] = []
    not_told: list[str] = []
    says: list[str] = []
    reported: list[str] = []
    incidents: int | None = None
    messages: int | None = None
    conversations: int | None = None
    approvals: list[str] | None = None
    runs: list[str] | None = None


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

    calls: int | None = None
    redundant: int | None = 0
    llm_calls: int | None = None
    tokens: int | None = None
    cost_usd: float | None = None


class Scenario(Part):
    """One scenario. `operations` is merged into SimShop's declarations, `knowledge` is the team's agent.md; `catches`
    names bad planners it is meant for, `judgement` says that a fixed rule can go wrong here.

    `planners` lists those it is for where it is not for all.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    about: str
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
    planners: list[str] | None = None
    folder: Path = Path()

    @property
    def recording(self) -> Path:
        """Where the scenario's recording lies, whether or not there is one."""
        return self.folder / "recording.jsonl"


def load(folder: Path) -> Scenario:
    """The scenario in a folder. Raises InputError without its file, DeclarationError with every fault in it."""
    path = folder / FILE
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}; a scenario is a folder with {FILE}", str(path)) from None
    except yaml.YAMLError as error:
        raise InputError(f"is not YAML: {error}", str(path)) from None
    if not isinstance(data, Mapping):
        raise InputError("declares nothing", str(path))
    try:
        scenario = Scenario.model_validate({**data, "name": folder.name, "folder": folder})
        _ = scenario.world.story
    except ValidationError as error:
        faults = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
        raise DeclarationError([Problem(str(path), 0, place, cause) for place, cause in faults]) from None
    except ValueError as error:
        raise DeclarationError([Problem(str(path), 0, "world.causes", str(error))]) from None
    return scenario


def load_all(names: Sequence[str] = (), root: Path = SCENARIOS) -> list[Scenario]:
    """The named scenarios, or all of them by name. Raises InputError for an unknown one."""
    known = sorted(each.parent.name for each in root.glob(f"*/{FILE}"))
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"no scenario {', '.join(unknown)}; there are {', '.join(known)}", where=str(root))
    return [load(root / name) for name in (names or known)]
