"""Whether a planner's call is allowed, now, for this model and version: evidence for the rules in `policies`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from policies.declarations import Operations
from policies.errors import GuardianError
from policies.promotion import Decision, GateEvidence, may_deploy, may_start_rollout
from policies.retraining import no_rollout_running
from tools.systems.store import Evidence, Kind
from tools.systems.systems import Systems
from tools.systems.tool import Tool

ENDED = ("promoted", "rolled_back", "aborted")
"""States a rollout never leaves."""


@dataclass(frozen=True)
class Call:
    """A call as the rules see it: valid arguments, and the model the run is about."""

    model: str
    tool: Tool
    arguments: Any


class Permission(BaseModel):
    """What all rules say together. `approval` is why a person must agree first, None where nobody must."""

    model_config = ConfigDict(frozen=True)

    allowed: bool
    policy: str = ""
    reason: str = ""
    approval: str | None = None


Rule = Callable[[Systems, Call], Decision]


def permit(systems: Systems, call: Call, rules: Sequence[Rule] | None = None) -> Permission:
    """Asks every rule, in order; the first refusal decides. Evidence that cannot be read refuses."""
    for rule in RULES if rules is None else rules:
        try:
            decision = rule(systems, call)
        except GuardianError as error:
            return Permission(allowed=False, policy=rule.__name__, reason=str(error))
        if not decision.allowed:
            return Permission(allowed=False, policy=decision.policy, reason="; ".join(decision.reasons))
    return Permission(allowed=True)


def within_scope(systems: Systems, call: Call) -> Decision:
    """A run is about one model: what a call names must belong to it."""
    reasons = []
    for argument, block in call.tool.references.items():
        name = str(getattr(call.arguments, argument))
        owner = _model_of(systems.operations, block, name)
        if owner is not None and owner != call.model:
            reasons.append(f"{argument} {name} belongs to {owner}, this run is about {call.model}")
    return Decision(policy="one_model_per_run", allowed=not reasons, reasons=tuple(reasons))


def promotion_needs_passed_gate(systems: Systems, call: Call) -> Decision:
    """`deploy` only on a passed gate for that very artifact, and one rollout at a time."""
    if call.tool.name != "deploy":
        return Decision(policy="promotion_needs_passed_gate", allowed=True)
    running = running_rollout(systems, call.model)
    single = may_start_rollout(call.model, running.id if running else None)
    if not single.allowed:
        return single
    operations, version = systems.operations, str(call.arguments.version)
    registered = systems.registry.get(operations.model(call.model).registry_name, version)
    row = systems.store.latest(Kind.gate, call.model, version=version)
    gate = operations.gate_of(call.model)
    challenge = operations.challenge_of(call.model)
    required = challenge is None or operations.champion_challengers[challenge].promotion.require_quality_gate
    if gate is None:
        reason = f"no quality gate is declared for {call.model}"
        return Decision(policy="promotion_needs_passed_gate", allowed=not required, reasons=(reason,))
    return may_deploy(
        call.model,
        version,
        registered.digest,
        None if row is None else gate_evidence(row),
        now=systems.clock.now(),
        max_age=gate.max_age,
        gate_required=required,
    )


def retraining_waits_for_rollout(systems: Systems, call: Call) -> Decision:
    """`retrain` only while no rollout of the model runs."""
    running = running_rollout(systems, call.model) if call.tool.name == "retrain" else None
    return no_rollout_running(running.id if running else None)


RULES: tuple[Rule, ...] = (within_scope, promotion_needs_passed_gate, retraining_waits_for_rollout)


def running_rollout(systems: Systems, model: str) -> Evidence | None:
    """The model's rollout that has not ended, None where there is none."""
    rows = systems.store.list(Kind.rollout, model, limit=20)
    return next((row for row in rows if row.status not in ENDED), None)


def gate_evidence(row: Evidence) -> GateEvidence:
    """A gate row as the policy reads it; what the row does not say matches nothing."""
    body: Mapping[str, Any] = row.body
    return GateEvidence(
        gate_id=row.id,
        model=row.model,
        version=row.version or "",
        status=row.status or "",
        artifact_digest=str(body.get("artifact_digest", "")),
        holdout_digest=str(body.get("holdout_digest", "")),
        judged_at=row.created_at,
    )


def _model_of(operations: Operations, block: str, name: str) -> str | None:
    if block == "models":
        return name
    if block == "champion_challengers":
        return operations.model_of_challenge(name)
    return getattr(getattr(operations, block)[name], "model", None)
