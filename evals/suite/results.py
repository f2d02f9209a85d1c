"""What `guardian eval` says: each scenario with its grade, what it cost, and the sums."""

from __future__ import annotations

from collections.abc import Sequence
from math import comb
from typing import Literal

from pydantic import BaseModel, computed_field

Source = Literal["recorded", "scripted", "live"]


class ScenarioResult(BaseModel):
    """One scenario played by one planner, `attempt` counting its repeats from 1.

    `source` says where the planner's decisions come from: `recorded` from a model (which one is in `about`),
    `scripted` written by hand, `live` decided now, by code or by a model.
    """

    name: str
    source: Source
    planner: str
    attempt: int = 1
    passed: bool
    failures: list[str]
    by_grader: dict[str, int] = {}
    judgement: bool = False
    calls: int = 0
    llm_calls: int
    tokens: int
    cost_usd: float
    seconds: float
    about: dict[str, str] = {}


class NotFor(BaseModel):
    """A scenario that a planner does not play, and why."""

    name: str
    why: str


class PassPower(BaseModel):
    """pass^k: the chance that k tries of a scenario all pass, averaged over scenarios (tau-bench, Yao et al. 2024)."""

    planner: str
    source: Source
    k: int
    value: float


class EvalResult(BaseModel):
    """A whole run of the suite."""

    scenarios: list[ScenarioResult]
    not_for: list[NotFor] = []
    seconds: float = 0.0

    @computed_field  # type: ignore[prop-decorator]
    @property
    def passed(self) -> int:
        """Scenarios played and passed, each try counted."""
        return sum(each.passed for each in self.scenarios)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def failed(self) -> int:
        """Scenarios played and not passed."""
        return len(self.scenarios) - self.passed

    @computed_field  # type: ignore[prop-decorator]
    @property
    def pass_power(self) -> list[PassPower]:
        """pass^k for every planner and source, and every k up to the number of repeats."""
        groups: dict[tuple[str, Source], list[ScenarioResult]] = {}
        for each in self.scenarios:
            groups.setdefault((each.planner, each.source), []).append(each)
        return [
            PassPower(planner=planner, source=source, k=k + 1, value=value)
            for (planner, source), played in groups.items()
            for k, value in enumerate(pass_powers(played))
        ]


def pass_power(tries: int, passes: int, k: int) -> float:
    """The unbiased estimate C(passes, k) / C(tries, k) of the chance that k tries all pass; 1 <= k <= tries."""
    return comb(passes, k) / comb(tries, k)


def pass_powers(results: Sequence[ScenarioResult]) -> list[float]:
    """pass^1, pass^2, … of results played in one way, up to the number of repeats."""
    tries: dict[str, list[bool]] = {}
    for each in results:
        tries.setdefault(each.name, []).append(each.passed)
    least = min((len(each) for each in tries.values()), default=0)
    return [
        sum(pass_power(len(each), sum(each), k) for each in tries.values()) / len(tries) for k in range(1, least + 1)
    ]
