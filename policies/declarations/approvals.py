"""`systems.approvals`: which actions need a person's word, whose, and for how long it is waited for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Literal

from pydantic import model_validator

from policies.declarations.base import Declared, Duration

Action = Literal["retrain", "evaluate", "deploy"]
"""What changes something. Measuring is not here, nor a rollback: neither ever waits."""


class ApprovalRule(Declared):
    """`auto`: nobody is asked. `approve`: one of `approvers` must agree first. `deny`: never.

    `approvers` are names of `systems.people`; empty means those of `systems.approvers`, and where that is empty too,
    nobody may. A bare word is a rule with that mode.
    """

    mode: Literal["auto", "approve", "deny"]
    approvers: list[str] = []
    expires_after: Duration = timedelta(hours=24)

    @model_validator(mode="before")
    @classmethod
    def _bare_word(cls, given: Any) -> Any:
        return {"mode": given} if isinstance(given, str) else given


AUTO = ApprovalRule(mode="auto")
