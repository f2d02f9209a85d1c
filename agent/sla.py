"""Calls people where a model's error budget burns too fast, once an incident, and says when it is over."""

from __future__ import annotations

from datetime import datetime

from agent.alerts import people_of
from policies.declarations.base import show_duration
from tools.serving.sla import SlaReading, read_sla
from tools.systems.notify import Incident
from tools.systems.systems import Systems


def watch(systems: Systems, now: datetime) -> None:
    """Reads every model's SLA and reports or resolves its incident. Raises SystemDown, InputError."""
    for model in systems.operations.models:
        reading = read_sla(systems, model, now)
        if reading is None:
            continue
        key = f"{model}/sla"
        if reading.burn is None:
            systems.notifications.resolve(key, "Over: the error budget burns no faster than it may.")
        else:
            systems.notifications.report(_incident(systems, model, key, reading), seen_in=f"sla {now.isoformat()}")


def _incident(systems: Systems, model: str, key: str, reading: SlaReading) -> Incident:
    assert reading.burn is not None
    severity, rate, window = reading.burn
    failed = f"{reading.failed:,} of {reading.requests:,} requests failed in 30 days"
    promised = f"{100.0 * reading.availability_promised:.6g}%"
    return Incident(
        key=key,
        model=model,
        severity=severity,
        title=f"{model}: requests fail {rate:.3g} times as often as the SLA allows",
        text=(
            f"Over {show_duration(window)} the error budget burns {rate:.3g} times as fast as it may. {failed}, "
            f"{promised} availability is promised; {max(reading.budget_left, 0.0):.0%} of the budget is left."
        ),
        people=people_of(systems, model, severity),
        facts={"kind": "sla", "subjects": ["sla"], "seen_by": ["sla"], "reports": []},
    )
