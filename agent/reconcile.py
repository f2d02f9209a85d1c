"""One reconcile step over all rollouts, as the command line shows it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, model_serializer

from agent.sla import watch
from tools.deploy.tool import RolloutResult, advance
from tools.systems.systems import Systems


class Reconciled(BaseModel):
    """Every rollout that was looked at; as JSON, the newest one's fields stand at the top level too."""

    rollouts: list[RolloutResult]

    @model_serializer(mode="plain")
    def _newest_first(self) -> dict[str, Any]:
        all_of_them = [each.model_dump(mode="json") for each in self.rollouts]
        newest = all_of_them[-1] if all_of_them else dict.fromkeys(RolloutResult.model_fields)
        return {**newest, "rollouts": all_of_them}


def reconcile(systems: Systems) -> Reconciled:
    """Advances every rollout that has not ended, then looks at the error budgets."""
    now = systems.clock.now()
    advanced = Reconciled(rollouts=advance(systems, now))
    watch(systems, now)
    return advanced
