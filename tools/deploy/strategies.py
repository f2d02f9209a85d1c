"""The rollout strategies by their declared type. A strategy is a module with these two functions, and its line here."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol

from tools.deploy import ab_test, blue_green, canary, shadow
from tools.deploy.rollout import Rollout
from tools.deploy.verdicts import GateVerdict

if TYPE_CHECKING:
    from tools.systems.systems import Systems


class Strategy(Protocol):
    """What the reconcile step asks of a strategy; everything else is the state machine's."""

    def plan(
        self,
        systems: Systems,
        declared: Any,
        /,
        *,
        strategy: str,
        model: str,
        version: str,
        champion: str,
        now: datetime,
    ) -> Rollout:
        """A pending rollout with its stages, as declared now. Raises InputError where it lacks what it compares by."""
        ...

    def assess(self, systems: Systems, state: Rollout, now: datetime, /) -> GateVerdict:
        """What the gate of the current stage says now. Raises SystemDown, InputError."""
        ...


STRATEGIES: dict[str, Strategy] = {
    "canary": canary,
    "shadow": shadow,
    "blue_green": blue_green,
    "ab_test": ab_test,
}


def strategy_of(state: Rollout) -> Strategy:
    """The strategy that a rollout began with."""
    return STRATEGIES[state.declared.type if state.declared is not None else "canary"]
