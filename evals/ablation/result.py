"""What the ablation says: each run of the shop, and whether the runs agree."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, computed_field

from evals.demo.result import DemoResult


class Money(BaseModel):
    """All campaigns of a run: customers contacted, of them gone before they were scored, and what it brought (USD)."""

    model_config = ConfigDict(frozen=True)

    contacted: int
    already_churned: int
    retained_arr: float
    cost: float


class AblationRun(BaseModel):
    """One run of the shop. `root_cause` is the diagnosis of the drift report the retraining rests on, None without."""

    demo: DemoResult
    money: Money
    root_cause: str | None


class AblationResult(BaseModel):
    """Pairs of runs, one pair a seed."""

    with_agent: list[AblationRun]
    without_agent: list[AblationRun]
    seconds: float

    @computed_field  # type: ignore[prop-decorator]
    @property
    def agreeing(self) -> int:
        """Seeds whose pair shows what the first seed's pair shows: strategy, health, detection, gate, promotion."""
        pairs = [(_shown(ours), _shown(alone)) for ours, alone in zip(self.with_agent, self.without_agent, strict=True)]
        return sum(pair == pairs[0] for pair in pairs)


def _shown(run: AblationRun) -> tuple[str | None, ...]:
    end = run.demo.outcome
    return (end.deploy_strategy, end.deploy_health, end.drift_detection, end.gate, end.verdict, end.rollout_status)
