"""A rollout: its whole state, the stages it goes through, and the traffic that a state asks for."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from policies.declarations.base import Duration, Severity
from policies.declarations.deployment import DeploymentStrategy, Stage, StageDuration
from tools.deploy.verdicts import GateVerdict

SHORTEST_WAIT = timedelta(hours=24)
LABEL_WAIT = timedelta(days=7)
ROLLBACK = "rollback"
"""In the place of a strategy: a person went back to the champion before, with no rollout running."""


class Status(StrEnum):
    """Where a rollout stands."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSED = "paused"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"


ENDED = frozenset({Status.PROMOTED, Status.ROLLED_BACK, Status.ABORTED})
"""States a rollout never leaves."""


class StageState(BaseModel):
    """One stage as declared when the rollout began, when it was entered, and what its gate said last.

    `mirrored`: its challenger gets copies of the requests, and nobody its answers. `early`: it ends as soon as its gate
    passes. `requires` are the conditions its gate was declared by, in the place of a named one. `undecided` says what
    becomes of a rollout whose gate is still inconclusive after `max_wait`.
    """

    model_config = ConfigDict(frozen=True)

    traffic_pct: float = Field(description="0 where the challenger is mirrored")
    duration: StageDuration
    gate: str
    requires: tuple[str, ...] = ()
    max_wait: Duration
    mirrored: bool = False
    early: bool = False
    undecided: Literal["pause", "keep_champion"] = "pause"
    started_at: datetime | None = None
    last_gate: GateVerdict | None = None

    @classmethod
    def declared(cls, stage: Stage) -> StageState:
        """A stage not yet entered. It waits for its gate up to `max_wait` from its start, else three durations and
        no less than a day, or than a week where it waits for labels."""
        duration = stage.duration if isinstance(stage.duration, timedelta) else timedelta()
        shortest = LABEL_WAIT if stage.waits_for_labels else SHORTEST_WAIT
        max_wait = stage.max_wait or max(3 * duration, shortest)
        return cls(
            traffic_pct=stage.traffic_pct,
            duration=stage.duration,
            gate=stage.gate_name,
            requires=stage.requires,
            max_wait=max_wait,
        )

    @property
    def needs_no_time(self) -> bool:
        """A last stage that only stands for "promoted"."""
        return self.duration == "stable" and self.gate == "none"


class Event(BaseModel):
    """One transition; `stage` counts from 0."""

    model_config = ConfigDict(frozen=True)

    at: datetime
    event: str
    stage: int
    traffic_pct: float
    detail: str
    gate: GateVerdict | None = None


class Rollout(BaseModel):
    """A rollout's whole state: the body of its evidence row and the result of `deploy` and `advance`.

    `stage` counts from 0; `champion` is the version that served when it began. `declared` is the strategy as it was
    then. `salt` shares ids out for this rollout alone; `environments` are the endpoints of champion and challenger.
    `settled`: the traffic and the registry's aliases are known to be as the state asks.
    """

    model_config = ConfigDict(frozen=True)

    rollout_id: str = ""
    strategy: str
    declared: DeploymentStrategy | None = None
    model: str
    version: str
    champion: str
    status: Status = Status.PENDING
    stage: int = 0
    traffic_pct: float = 0.0
    started_at: datetime
    reason: str = ""
    last_gate: GateVerdict | None = None
    stages: tuple[StageState, ...]
    auto_rollback: bool = True
    conditions: tuple[str, ...] = ()
    salt: str = ""
    environments: tuple[str, str] | None = None
    events: tuple[Event, ...] = ()
    settled: bool = False

    @property
    def ended(self) -> bool:
        """Whether it will never change again."""
        return self.status in ENDED

    @property
    def held(self) -> str:
        """Why it is kept from its next share though its stage is over, empty where nothing keeps it."""
        last = self.events[-1] if self.events else None
        return last.detail if last and last.event == "held" and self.status is Status.RUNNING else ""

    @property
    def current(self) -> StageState:
        """The stage it is in, or would start with."""
        return self.stages[self.stage]


class Wanted(BaseModel):
    """The traffic split that a state asks for."""

    model_config = ConfigDict(frozen=True)

    champion: str
    challenger: str | None = None
    challenger_pct: float = 0.0
    mirrored: bool = False
    salt: str = ""
    endpoints: dict[str, str] = {}


class Notice(BaseModel):
    """What people should be told."""

    model_config = ConfigDict(frozen=True)

    severity: Severity
    text: str


class Step(BaseModel):
    """A state and what people should be told about having come to it."""

    model_config = ConfigDict(frozen=True)

    state: Rollout
    notices: tuple[Notice, ...] = Field(default=())


def wanted(state: Rollout) -> Wanted:
    """The traffic that a state asks for. A paused rollout keeps the share it has reached."""
    theirs, ours = state.environments or ("", "")
    if state.status is Status.PROMOTED:
        return Wanted(champion=state.version, endpoints={ours: state.version} if ours else {})
    if state.status in (Status.RUNNING, Status.PAUSED):
        return Wanted(
            champion=state.champion,
            challenger=state.version,
            challenger_pct=state.traffic_pct,
            mirrored=state.current.mirrored,
            salt=state.salt,
            endpoints={theirs: state.champion, ours: state.version} if ours else {},
        )
    return Wanted(champion=state.champion, endpoints={theirs: state.champion} if theirs else {})


def share_of(version: str, champion: str, challenger: str | None, challenger_pct: float) -> float:
    """Percent of the traffic that a split gives a version."""
    if champion == version:
        return 100.0
    return challenger_pct if challenger == version else 0.0
