"""What a triage says: each model's findings and actions, what it cost, and a report for people."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from agent.budget import Spent
from agent.findings import Finding
from policies.declarations import Severity


class Action(BaseModel):
    """A tool that was called, and what came of it."""

    model_config = ConfigDict(frozen=True)

    tool: str
    arguments: dict[str, Any]
    outcome: str


class ModelTriage(BaseModel):
    """One model's part of a run. `status` is how its conversation ended, or `quiet`, `waiting` or `failed`."""

    model_config = ConfigDict(frozen=True)

    model: str
    severity: Severity
    findings: list[Finding]
    actions: list[Action]
    status: str
    outcome: str
    account: str


class TriageResult(BaseModel):
    """What a triage found and did. `report` is text for people."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    planner: str
    status: str
    models: list[ModelTriage]
    budget: Spent
    report: str
