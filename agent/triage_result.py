"""What a triage says: each model's findings and actions, what it cost, and a report for people."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

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
    """One model's part of a run. `status` is how its conversation ended, or `quiet`, `waiting` or `failed`.

    `approval` is the id of the row that a `waiting_approval` waits for.
    """

    model_config = ConfigDict(frozen=True)

    model: str
    severity: Severity
    findings: list[Finding]
    actions: list[Action]
    status: str
    outcome: str
    account: str
    approval: str | None = None


class TriageResult(BaseModel):
    """What a triage found and did. `report` is text for people."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    planner: str
    status: str
    models: list[ModelTriage]
    budget: Spent
    report: str

    @model_serializer(mode="wrap")
    def _says_what_it_waits_for(self, whole: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """A run that waits for a person says so as every command does that ends with exit code 4."""
        shown: dict[str, Any] = whole(self)
        if waiting := [each for each in self.models if each.approval is not None]:
            message = "; ".join(each.outcome for each in waiting)
            shown["error"] = {"kind": "approval", "message": message, "where": waiting[0].approval}
        return shown
