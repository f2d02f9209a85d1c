"""`budgets`, `agents`, `models` and `systems`: who decides, at what cost, and on which world."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from policies.declarations.approvals import AUTO, Action, ApprovalRule
from policies.declarations.base import Declared, Duration, show_duration
from policies.declarations.routing import Routing


class Budget(Declared):
    """What an agent may spend per rolling day, over all its runs: US dollars and tokens."""

    cost: float = Field(gt=0)
    tokens: int = Field(gt=0)


class Agent(Declared):
    """An `mlops agent` block: whose language model decides, under which budget a day, and under which cap a run."""

    provider: Literal["openai"]
    model: str
    budget: str
    run_budget: str | None = None


class Features(Declared):
    """The model's input columns, in order: numeric first, then categorical."""

    numeric: list[str] = []
    categorical: list[str] = []

    @property
    def names(self) -> list[str]:
        """All input columns in the model's order."""
        return [*self.numeric, *self.categorical]


class Source(Declared):
    """Where some features come from, who owns them, and the column that says when they were loaded."""

    owner: str
    features: list[str] = []
    loaded_at: str | None = None


class Labels(Declared):
    """The table of ground truth: which row (`id`, `time`), what (`value`) and since when it is known (`arrived`)."""

    table: str
    id: str
    time: str
    value: str
    arrived: str


class LatestLabelled(Declared):
    """A holdout that moves: the newest labelled rows of the model's own table, as of each look.

    It is the last day with a label and the days before it, `latest` in all, and as many more as it takes for `min_rows`
    labelled rows. Rows younger than `label_delay` are left to wait: where some outcomes are told sooner than others,
    the first ones alone would be no fair sample.
    """

    latest: Duration
    min_rows: int = Field(1, ge=1)
    label_delay: Duration = timedelta(0)

    @field_validator("latest")
    @classmethod
    def _whole_days(cls, latest: timedelta) -> timedelta:
        if latest < timedelta(days=1):
            raise ValueError(
                f"{show_duration(latest)} is less than a day, and days are held out whole: write 1d or more"
            )
        return latest


def _form_of_holdout(declared: object) -> str:
    return "table" if isinstance(declared, str) else "moving"


Holdout = Annotated[
    Annotated[str, Tag("table")] | Annotated[LatestLabelled, Tag("moving")], Discriminator(_form_of_holdout)
]


class ModelBinding(Declared):
    """A `models` entry: binds a model's name to its tables and its place in the registry.

    `task` says what the model foretells: whether (`binary`), which (`multiclass`) or how much (`regression`). Of a
    model served `elsewhere` there is no artifact, only the predictions that its owner writes into `predictions`, each
    with its `model_version`: it is watched, and neither scored nor retrained.
    Of one whose `risk` is high, a bad answer costs money at once: nobody gets a new version's answers before a shadow.
    `outcomes` are what the business gets from it, by name: what A/B tests are decided by.
    `holdout` is what challengers are judged on and training ends before: a table that somebody keeps, or the newest
    labelled rows of the model's own.
    """

    registry_name: str
    task: Literal["binary", "multiclass", "regression"] = "binary"
    target: str
    id: str
    time: str
    features: Features
    table: str
    holdout: Holdout
    labels: Labels
    sources: dict[str, Source] = {}
    predictions: str | None = None
    prediction_log: str | None = None
    outcomes: dict[str, Labels] = {}
    served: Literal["here", "elsewhere"] = "here"
    risk: Literal["normal", "high"] = "normal"

    @model_validator(mode="after")
    def _elsewhere_records(self) -> ModelBinding:
        if self.served == "elsewhere" and self.predictions is None:
            raise ValueError("a model served elsewhere needs predictions: the table into which they are written")
        return self


class Person(Declared):
    """Where a person or team is reached."""

    slack: str | None = None
    pagerduty: str | None = None
    email: str | None = None


class SystemsBlock(Declared):
    """The `systems` block. Paths are relative to the declarations file; the environment overrides URLs.

    `approvals` says which actions wait for a person; an action without an entry waits for nobody. `traffic` says of a
    model what routes its requests; without an entry the gateway does. `compute` says where a batch pattern's `compute`
    of that name is: `ray:ADDRESS` (`ray:auto`: this machine's cluster), or Spark's address as of a warehouse.
    """

    warehouse: str = "warehouse"
    state: str = "sqlite:///.guardian/state.db"
    mlflow: str = Field("sqlite:///.guardian/mlflow.db", min_length=1)
    clock: Literal["wall", "virtual"] = "wall"
    people: dict[str, Person] = {}
    approvers: list[str] = []
    approvals: dict[Action, ApprovalRule] = {}
    traffic: dict[str, Routing] = {}
    compute: dict[str, Annotated[str, Field(pattern=r"^(ray:|spark:|sc://)")]] = {}

    @field_validator("compute")
    @classmethod
    def _local_is_here(cls, compute: dict[str, str]) -> dict[str, str]:
        if "local" in compute:
            raise ValueError("local is this machine and stands for no other; write another name")
        return compute

    def approval_of(self, action: str) -> ApprovalRule:
        """The rule of an action, with the names of those who may decide."""
        rule = {str(name): each for name, each in self.approvals.items()}.get(action, AUTO)
        return rule if rule.approvers else rule.model_copy(update={"approvers": self.approvers})
