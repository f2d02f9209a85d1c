"""Calls people where a model's error budget burns too fast, once an incident, and says when it is over."""

from __future__ import annotations

from datetime import datetime

from agent.alerts import people_of
from policies.declarations.base import show_duration
from policies.sla import Burn
from tools.serving.sla import SlaReading, read_sla
from tools.systems.notify import Incident
from tools.systems.systems import Systems


def watch(systems: Systems, now: datetime) -> None:
    """Reads every model's SLA and reports or resolves its incident. Raises SystemDown, InputError."""
    for model in systems.operations.models:
        reading = read_sla(systems, model, now)
        if reading is None:
            continue
        for key, burn, words in (
            (f"{model}/sla", reading.burn, _failing),
            (f"{model}/sla/latency", reading.slow_burn, _slow),
            (f"{model}/sla/throughput", reading.short_burn, _short),
        ):
            if burn is None:
                systems.notifications.resolve(key, "Over: the error budget burns no faster than it may.")
                continue
            title, text = words(reading, burn)
            incident = Incident(
                key=key,
                model=model,
                severity=burn[0],
                title=f"{model}: {title}",
                text=text,
                people=people_of(systems, model, burn[0]),
                facts={"kind": "sla", "subjects": ["sla"], "seen_by": ["sla"], "reports": []},
            )
            systems.notifications.report(incident, seen_in=f"sla {now.isoformat()}")


def _slow(reading: SlaReading, burn: Burn) -> tuple[str, str]:
    _, rate, window = burn
    promised = f"{reading.latency_p99_ms_promised:g} ms"
    return (
        f"answers are slow {rate:.3g} times as often as the SLA allows",
        f"99% of the answers are promised within {promised}; over {show_duration(window)} {rate:.3g}% took longer. "
        f"The p99 of the last 24 hours is {reading.latency_p99_ms or 0.0:.0f} ms.",
    )


def _short(reading: SlaReading, burn: Burn) -> tuple[str, str]:
    window = burn[2]
    seconds, answered = reading.short[window]
    return (
        "carries fewer requests than the SLA promises",
        f"{reading.throughput_rps_promised:g} requests a second are promised; over {show_duration(window)} "
        f"requests were turned away in {seconds:,} seconds that answered {answered:.0f} on average.",
    )


def _failing(reading: SlaReading, burn: Burn) -> tuple[str, str]:
    _, rate, window = burn
    failed = f"{reading.failed:,} of {reading.requests:,} requests failed in 30 days"
    promised = f"{100.0 * reading.availability_promised:.6g}%"
    return (
        f"requests fail {rate:.3g} times as often as the SLA allows",
        f"Over {show_duration(window)} the error budget burns {rate:.3g} times as fast as it may. {failed}, "
        f"{promised} availability is promised; {max(reading.budget_left, 0.0):.0%} of the budget is left.",
    )
