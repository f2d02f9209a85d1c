"""Which strategies what routes a model's requests can carry out, and the reason where it cannot."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter

from policies.declarations.deployment import DeploymentStrategy
from policies.declarations.routing import Routing
from policies.routing import unroutable

ROUTING: dict[str, dict[str, Any] | None] = {
    "gateway": None,
    "haproxy": {"type": "haproxy", "socket": "/run/h.sock", "map": "/m", "blue": ["a:1"], "green": ["b:1"]},
    "dns": {
        "type": "dns", "server": "10.0.0.53:53", "zone": "x.org", "record": "m.x.org", "ttl": 300, "blue": "10.0.0.1",
        "green": "10.0.0.2",
    },
    "kserve": {"type": "kserve", "namespace": "ml", "service": "m", "storage_uri": "s3://b/{version}"},
}  # fmt: skip
ENDPOINTS = {"blue": {"endpoint": "/a", "model": "v3"}, "green": {"endpoint": "/b", "model": "v4"}}


def switch(method: str, seconds: int = 300) -> dict[str, Any]:
    timing = {"method": method, "health_check_seconds": 30, "rollback_timeout_seconds": seconds}
    return {"type": "blue_green", "environments": ENDPOINTS, "switch": timing}


def canary(percent: float) -> dict[str, Any]:
    stages = [
        {"traffic_pct": percent, "duration": "1h", "gate": "none"},
        {"traffic_pct": 100, "duration": "stable", "gate": "none"},
    ]
    return {"type": "canary", "stages": stages, "rollback": {"conditions": ["error_rate > 0.01"]}}


SHADOW = {
    "type": "shadow",
    "duration": "7d",
    "comparison": {"champion": "v3", "challenger": "v4", "metrics": ["auc_roc"]},
    "promotion_criteria": {"challenger_wins_on": ["auc_roc"], "max_latency_increase_pct": 10},
}


@pytest.mark.parametrize(
    ("routed", "declared", "why"),
    [
        ("gateway", switch("dns"), None),
        ("gateway", SHADOW, None),
        ("haproxy", switch("load_balancer"), None),
        ("haproxy", switch("dns"), "S: switch.method is dns, and haproxy routes the model: write load_balancer"),
        ("haproxy", canary(12.5), None),
        ("haproxy", SHADOW, "S: HAProxy copies no requests"),
        ("dns", switch("dns"), None),
        ("dns", switch("load_balancer"), "S: switch.method is load_balancer, and dns routes the model: write dns"),
        ("dns", switch("dns", 299), "S: switch.rollback_timeout_seconds is 299, and names are kept for a ttl of 300 s"),
        ("dns", canary(10), "S: a name server gives no shares"),
        ("dns", SHADOW, "S: a name server gives no shares"),
        ("kserve", canary(10), None),
        ("kserve", canary(12.5), "S: canaryTrafficPercent is a whole number, and a stage has traffic_pct 12.5"),
        ("kserve", SHADOW, "S: KServe's canaryTrafficPercent keeps no id"),
        ("kserve", switch("load_balancer"), "S: KServe's canaryTrafficPercent keeps no id"),
    ],
)
def test_what_can_be_routed(routed: str, declared: dict[str, Any], why: str | None) -> None:
    block = ROUTING[routed]
    routing = None if block is None else TypeAdapter(Routing).validate_python(block)
    found = list(unroutable("S", TypeAdapter(DeploymentStrategy).validate_python(declared), routing))
    assert len(found) == (why is not None)
    if why is not None:
        assert found[0].startswith(why)
