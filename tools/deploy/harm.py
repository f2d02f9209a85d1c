"""What a challenger must not do to the people it answers, where the strategy declares no conditions of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tools.deploy.gates import DEFAULT_LIMITS

if TYPE_CHECKING:
    from tools.systems.systems import Systems


def harm_conditions(systems: Systems, model: str) -> tuple[str, ...]:
    """Rollback conditions: the default error rate, and the promised latency where one is declared, else the default."""
    infra = systems.operations.serving_of(model)
    promised = infra.real_time.sla if infra is not None and infra.real_time is not None else None
    p99 = promised.latency_p99_ms if promised is not None else DEFAULT_LIMITS["p99_latency_ms"]
    return (f"error_rate > {DEFAULT_LIMITS['error_rate']!r}", f"p99_latency_ms > {p99!r}")
