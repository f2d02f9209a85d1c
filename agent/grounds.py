"""What an approval is about: digests of a call and of the evidence that a person relies on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from agent.authority import Call
from tools.deploy.permission import serving_version
from tools.systems.store import Kind
from tools.systems.systems import Systems


def evidence_of(systems: Systems, call: Call) -> tuple[str | None, dict[str, Any]]:
    """The row that a call rests on, and what an approver relies on: where it differs later, they are asked again.

    `declared` is the digest of what the call's names stand for, such as the stages of its strategy.
    """
    rests_on, evidence = _found(systems, call)
    named = {block: str(getattr(call.arguments, argument)) for argument, block in call.tool.references.items()}
    bodies = {block: systems.operations.named(block, name) for block, name in named.items() if block != "models"}
    plain = {block: body.model_dump(mode="json") for block, body in bodies.items() if isinstance(body, BaseModel)}
    return rests_on, {**evidence, "declared": digest(plain)[:16]}


def _found(systems: Systems, call: Call) -> tuple[str | None, dict[str, Any]]:
    if call.tool.name == "deploy":
        version = str(call.arguments.version)
        gate = systems.store.latest(Kind.gate, call.model, version=version)
        registered = systems.registry.get(systems.operations.model(call.model).registry_name, version)
        return gate.id if gate else None, {
            "champion": serving_version(systems, call.model),
            "gate": gate.id if gate else None,
            "gate_status": gate.status if gate else None,
            "artifact": registered.digest,
        }
    if call.tool.name == "retrain":
        report = systems.store.latest(Kind.drift_report, call.model)
        found = {key: report.body.get(key) for key in ("drift_detected", "severity")} if report else {}
        return report.id if report else None, {"champion": serving_version(systems, call.model), **found}
    return None, {}


def call_digest(call: Call) -> str:
    """The digest of a call: the tool, the model, and every argument."""
    return digest({"tool": call.tool.name, "model": call.model, "arguments": call.arguments.model_dump(mode="json")})


def digest(content: Mapping[str, Any]) -> str:
    """SHA-256 of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
