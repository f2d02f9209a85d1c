"""Tells that a gateway cannot write its prediction log: what it answers meanwhile is in no evaluation."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from agent.alerts import people_of
from agent.untrusted import clean
from policies.declarations import Severity
from tools.systems.notify import Incident
from tools.systems.systems import Systems

OVER_SECONDS = 30.0
"""Written for so long, an outage is over: of several workers, each with rows of its own, any one may answer a look."""


class LogWatch:
    """Says an outage when it begins and when it ends, and tells the model's people of it once."""

    def __init__(
        self, systems: Systems, say: Callable[[str], None], timer: Callable[[], float] = time.monotonic
    ) -> None:
        self._systems = systems
        self._say = say
        self._timer = timer
        self._failed_at: dict[str, float] = {}
        self._told: dict[str, bool] = {}

    def look(self, faults: Mapping[str, str]) -> None:
        """`faults` are of each gateway that answers what keeps its log from being written, empty where nothing does."""
        now = self._timer()
        for model, fault in faults.items():
            if fault:
                if model not in self._failed_at:
                    self._say(f"gateway of {model}: the prediction log cannot be written: {clean(fault, 300)}")
                self._failed_at[model] = now
            elif now - self._failed_at.get(model, now) >= OVER_SECONDS:
                del self._failed_at[model]
                self._say(f"gateway of {model}: the prediction log is written again")
        # Telling writes to the state store, whose disk may be the one that is full: all is said before.
        for model, fault in faults.items():
            if fault and not self._told.get(model, False):
                self._report(model, fault)
                self._told[model] = True
            elif model not in self._failed_at and self._told.get(model, True):  # perhaps by an earlier daemon
                self._systems.notifications.resolve(_key(model), "Over: the prediction log is written again.")
                self._told[model] = False

    def _report(self, model: str, fault: str) -> None:
        incident = Incident(
            key=_key(model),
            model=model,
            severity=Severity.warning,
            title=f"{model}: the prediction log cannot be written",
            text=f"Callers are answered; what they were answered waits in memory. {clean(fault, 300)}",
            people=people_of(self._systems, model, Severity.warning),
            facts={"kind": "gateway", "subjects": ["prediction log"], "seen_by": ["gateway"], "reports": []},
        )
        self._systems.notifications.report(incident, seen_in=f"gateway {self._systems.clock.now().isoformat()}")


def _key(model: str) -> str:
    return f"{model}/prediction log"
