"""When a rollout should be looked at before the next regular step."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tools.deploy.reconcile import state_of
from tools.deploy.rollout import Status
from tools.systems.store import Kind

if TYPE_CHECKING:
    from tools.systems.systems import Systems


def stage_ended(systems: Systems, since: datetime, until: datetime) -> bool:
    """Whether a running rollout's stage came to the end of its duration after `since`, and no later than `until`."""
    stages = [state_of(row).current for row in systems.store.list(Kind.rollout, status=Status.RUNNING.value)]
    return any(
        since < stage.started_at + stage.duration <= until
        for stage in stages
        if stage.started_at is not None and isinstance(stage.duration, timedelta)
    )
