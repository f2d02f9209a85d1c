"""What a demo ends with."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import BaseModel


class WeekAuc(BaseModel):
    """Live AUC of one week's rows, `without` that of the first champion on the same rows."""

    week: date
    auc: float
    without: float
    rows: int


class Flagged(BaseModel):
    """Of the customers flagged three weeks after the deployment: gone before they were scored, and never leaving."""

    customers: int
    already_churned: int
    never_leaving: int


class Outcome(BaseModel):
    """How the story ended."""

    drift_detected: bool
    retrained: bool
    verdict: str | None
    gate: str | None
    rollout_status: str | None
    stages: list[float]
    serving_version: str | None
    deploy_strategy: str
    deploy_health: str
    drift_detection: Literal["active"] | None
    model_auc: float
    live_auc: list[WeekAuc]
    flagged: Flagged
    kpis: list[dict[str, Any]]


class Spend(BaseModel):
    """What the planner cost."""

    cost_usd: float
    tokens: int
    llm_calls: int


class DemoResult(BaseModel):
    """One run of the demo."""

    seed: int
    planner: str
    with_agent: bool
    outcome: Outcome
    budget: Spend
    seconds: float
    report: str
