"""Whether a planner's call is allowed, now, for this model and version: evidence for the rules in `policies`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from policies.declarations import Operations
from policies.errors import GuardianError, PolicyRefusal
from policies.promotion import Decision, may_promote_unasked
from policies.retraining import no_rollout_running
from tools.deploy.permission import require_promotable, unfinished
from tools.systems.systems import Systems
from tools.systems.tool import Tool


@dataclass(frozen=True)
class Call:
    """A call as the rules see it: valid arguments, and the model the run is about."""

    model: str
    tool: Tool
    arguments: Any


class Permission(BaseModel):
    """What all rules say together. Whether a person must agree too is asked after it (`agent.approvals`)."""

    model_config = ConfigDict(frozen=True)

    allowed: bool
    policy: str = ""
    reason: str = ""


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


def enforce(systems: Systems, call: Call) -> None:
    """Asks the rules that hold for people too. Raises the first refusal, or why the evidence cannot be read."""
    for rule in RULES:
        if rule is not promotion_is_automatic:
            rule(systems, call).enforce()


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
    """`deploy` only on a passed gate for that very artifact, and one rollout at a time; the tool itself asks again."""
    policy = "promotion_needs_passed_gate"
    if call.tool.name == "deploy":
        try:
            require_promotable(systems, call.arguments.model, str(call.arguments.version))
        except PolicyRefusal as refusal:
            return Decision(policy=refusal.policy, allowed=False, reasons=(refusal.reason,))
    return Decision(policy=policy, allowed=True)


def promotion_is_automatic(systems: Systems, call: Call) -> Decision:
    """`deploy` by a planner only where `auto_promote` says so; a person may deploy all the same."""
    challenge = systems.operations.challenge_of(call.model)
    if call.tool.name != "deploy" or challenge is None:
        return may_promote_unasked(call.model, True)
    return may_promote_unasked(challenge, systems.operations.champion_challengers[challenge].promotion.auto_promote)


def retraining_waits_for_rollout(systems: Systems, call: Call) -> Decision:
    """`retrain` only while no rollout of the model runs."""
    running = unfinished(systems, call.model) if call.tool.name == "retrain" else None
    return no_rollout_running(running.id if running else None)


def not_denied(systems: Systems, call: Call) -> Decision:
    """Never an action that the declarations deny."""
    denied = systems.operations.systems.approval_of(call.tool.name).mode == "deny"
    reasons = (f"systems.approvals.{call.tool.name} is deny",) if denied else ()
    return Decision(policy="denied_action", allowed=not denied, reasons=reasons)


RULES: tuple[Rule, ...] = (
    not_denied,
    within_scope,
    promotion_needs_passed_gate,
    promotion_is_automatic,
    retraining_waits_for_rollout,
)


def _model_of(operations: Operations, block: str, name: str) -> str | None:
    if block == "models":
        return name
    if block == "champion_challengers":
        return operations.model_of_challenge(name)
    return getattr(getattr(operations, block)[name], "model", None)
