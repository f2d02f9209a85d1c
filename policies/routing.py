"""Which strategies can be carried out by what routes a model's requests."""

from __future__ import annotations

from collections.abc import Iterator

from policies.declarations.deployment import BlueGreen, Canary, DeploymentStrategy, Shadow
from policies.declarations.routing import HAProxyRouting, KServeRouting, NameServerRouting, Routing


def unroutable(name: str, declared: DeploymentStrategy, routing: Routing | None) -> Iterator[str]:
    """Why a strategy cannot be carried out; nothing for the gateway, which can do all, and stands in for a name server
    where none is declared."""
    if routing is None:
        return
    if isinstance(declared, BlueGreen) and (declared.switch.method == "dns") != (routing.type == "dns"):
        right = "dns" if routing.type == "dns" else "load_balancer"
        yield f"{name}: switch.method is {declared.switch.method}, and {routing.type} routes the model: write {right}"
    elif isinstance(routing, HAProxyRouting) and isinstance(declared, Shadow):
        yield f"{name}: HAProxy copies no requests; a shadow needs the gateway: remove the model from systems.traffic"
    elif isinstance(routing, NameServerRouting):
        yield from _by_name(name, declared, routing)
    elif isinstance(routing, KServeRouting):
        yield from _by_kserve(name, declared)


def _by_name(name: str, declared: DeploymentStrategy, routing: NameServerRouting) -> Iterator[str]:
    if not isinstance(declared, BlueGreen):
        yield f"{name}: a name server gives no shares of the traffic: deploy by a blue_green with switch.method: dns"
    elif declared.switch.rollback_timeout_seconds < routing.ttl:
        yield (
            f"{name}: switch.rollback_timeout_seconds is {declared.switch.rollback_timeout_seconds}, and names are "
            f"kept for a ttl of {routing.ttl} s: the old environment must stay at hand at least as long"
        )


def _by_kserve(name: str, declared: DeploymentStrategy) -> Iterator[str]:
    if not isinstance(declared, Canary):
        yield f"{name}: KServe's canaryTrafficPercent keeps no id to its version and copies nothing: deploy by a canary"
        return
    for stage in declared.stages:
        if stage.traffic_pct != int(stage.traffic_pct):
            yield f"{name}: canaryTrafficPercent is a whole number, and a stage has traffic_pct {stage.traffic_pct:g}"
