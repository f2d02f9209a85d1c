"""May a retraining start? Pure functions from evidence to a decision."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from policies.promotion import Decision

BROKEN_DATA = "no_retraining_on_broken_data"


def pipeline_is_sound(broken: Sequence[str]) -> Decision:
    """A broken data pipeline is no reason to retrain: `broken` lists the critical schema findings."""
    reasons = tuple(f"the data is broken, not the world: {each}; mend the source first" for each in broken)
    return Decision(policy=BROKEN_DATA, allowed=not broken, reasons=reasons)


def cooldown_over(last_started: datetime | None, cooldown: timedelta, now: datetime) -> Decision:
    """At most one started run in `cooldown`, whatever triggered it and whatever became of it.

    A clock that was set back does not end a cooldown early: until the last start plus `cooldown` nothing starts.
    """
    policy = "retraining_cooldown"
    if last_started is None or now - last_started >= cooldown:
        return Decision(policy=policy, allowed=True)
    until = last_started + cooldown
    return Decision(policy=policy, allowed=False, reasons=(f"the last run started {last_started}, next after {until}",))


def no_rollout_running(rollout: str | None) -> Decision:
    """No retraining while a rollout of the model runs: its verdict comes first."""
    reasons = () if rollout is None else (f"rollout {rollout} is still running",)
    return Decision(policy="no_retraining_during_rollout", allowed=rollout is None, reasons=reasons)


def one_run_at_a_time(running: str | None) -> Decision:
    """No second run of a pipeline while one is at work, however long that takes."""
    reasons = () if running is None else (f"{running} is still running",)
    return Decision(policy="one_retraining_at_a_time", allowed=running is None, reasons=reasons)
