"""The adapter that routes a model's requests, as declared under `systems.traffic`."""

from __future__ import annotations

from collections.abc import Mapping

from policies.declarations.routing import HAProxyRouting, NameServerRouting, Routing
from tools.systems.routing.haproxy import HAProxyTraffic
from tools.systems.routing.kserve import KServeTraffic
from tools.systems.routing.name_server import NameServerTraffic
from tools.systems.routing.protocol import Traffic


def adapters(declared: Mapping[str, Routing]) -> dict[str, Traffic]:
    """An adapter for each model that the gateway alone does not route."""
    return {model: _adapter(model, body) for model, body in declared.items()}


def _adapter(model: str, declared: Routing) -> Traffic:
    if isinstance(declared, HAProxyRouting):
        return HAProxyTraffic(model, declared)
    if isinstance(declared, NameServerRouting):
        return NameServerTraffic(declared)
    return KServeTraffic(declared)
