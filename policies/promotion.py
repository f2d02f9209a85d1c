"""May this version take over? Pure functions from evidence to a decision; the store gathers the evidence."""

from __future__ import annotations

from datetime import datetime, timedelta

from pydantic import BaseModel, ConfigDict

from policies.declarations.base import show_duration
from policies.errors import PolicyRefusal


class Decision(BaseModel):
    """What a policy says. `reasons` explain a refusal, and note what was waived in an allowance."""

    model_config = ConfigDict(frozen=True)

    policy: str
    allowed: bool
    reasons: tuple[str, ...] = ()

    def enforce(self) -> None:
        """Raises PolicyRefusal unless allowed."""
        if not self.allowed:
            raise PolicyRefusal(self.policy, "; ".join(self.reasons))


class GateEvidence(BaseModel):
    """A stored gate result: for which artifact and holdout, how it ended, and when."""

    model_config = ConfigDict(frozen=True)

    gate_id: str
    model: str
    version: str
    status: str
    artifact_digest: str
    holdout_digest: str
    judged_at: datetime


def may_deploy(
    model: str,
    version: str,
    artifact_digest: str,
    gate: GateEvidence | None,
    *,
    now: datetime,
    max_age: timedelta,
    gate_required: bool = True,
) -> Decision:
    """Whether a rollout of `version` may start: only on a passed gate for that very artifact, not older than `max_age`.

    `gate` is the newest gate result of this model and version, None where there is none.
    """
    policy = "promotion_needs_passed_gate"
    if not gate_required:
        return Decision(policy=policy, allowed=True, reasons=("the quality gate is switched off by declaration",))
    return Decision(
        policy=policy,
        allowed=not (reasons := _gate_faults(model, version, artifact_digest, gate, now, max_age)),
        reasons=tuple(reasons),
    )


def _gate_faults(
    model: str, version: str, digest: str, gate: GateEvidence | None, now: datetime, max_age: timedelta
) -> list[str]:
    if gate is None:
        return [f"{model} version {version} has no quality gate result; run evaluate first"]
    if (gate.model, gate.version) != (model, version):
        return [f"gate {gate.gate_id} is for {gate.model} version {gate.version}, not {model} version {version}"]
    reasons = []
    if gate.status != "passed":
        reasons.append(f"gate {gate.gate_id} of version {version} is {gate.status}, not passed")
    if gate.artifact_digest != digest:
        reasons.append(f"gate {gate.gate_id} judged another artifact than the registry now holds for version {version}")
    if now - gate.judged_at > max_age:
        reasons.append(f"gate {gate.gate_id} is older than {show_duration(max_age)}; evaluate again")
    if gate.judged_at > now:
        reasons.append(f"gate {gate.gate_id} is dated in the future, {gate.judged_at}")
    return reasons


def may_start_rollout(model: str, running: str | None) -> Decision:
    """One rollout a model at a time: `running` is the id of the one that has not ended."""
    reasons = () if running is None else (f"rollout {running} of {model} has not ended",)
    return Decision(policy="one_rollout_per_model", allowed=running is None, reasons=reasons)
