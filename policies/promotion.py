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
    """A stored gate result: for which artifact, against which champion and holdout, how it ended, when, and until when
    it holds at most.

    `overruled_by` says which evaluation takes its force away, empty where none does: a later one of the same version
    that it did not win, or the one it rests on where that never came to its end.
    """

    model_config = ConfigDict(frozen=True)

    gate_id: str
    model: str
    version: str
    status: str
    artifact_digest: str
    champion: str
    holdout_digest: str
    judged_at: datetime
    expires_at: datetime | None = None
    overruled_by: str = ""


def may_deploy(
    model: str,
    version: str,
    artifact_digest: str,
    gate: GateEvidence | None,
    *,
    champion: str | None,
    now: datetime,
    max_age: timedelta,
    waived_by: str = "",
    not_won: str = "",
) -> Decision:
    """Whether `version` may be given traffic: only on a passed gate for that very artifact, judged against the version
    that it would replace, that has not expired.

    A result expires when it is older than `max_age` as declared now, or at the moment it named itself, whichever comes
    first. Where the gate is switched off, the comparison is not: what did not win it keeps out.

    Args:
        gate: the result stored last for this model and version, None where there is none.
        champion: the version that serves now, None where none does: then there is none to be worse than.
        waived_by: the declaration that switches the gate off, empty where none does.
        not_won: the version's newest evaluation where it did not win that, in words; empty else.
    """
    policy = "promotion_needs_passed_gate"
    if waived_by and not_won:
        reason = f"{waived_by} switches the quality gate off, not the comparison: {not_won}"
        return Decision(policy=policy, allowed=False, reasons=(reason,))
    if waived_by:
        return Decision(policy=policy, allowed=True, reasons=(f"the quality gate is switched off by {waived_by}",))
    return Decision(
        policy=policy,
        allowed=not (reasons := _gate_faults(model, version, artifact_digest, gate, champion, now, max_age)),
        reasons=tuple(reasons),
    )


def _gate_faults(
    model: str,
    version: str,
    digest: str,
    gate: GateEvidence | None,
    champion: str | None,
    now: datetime,
    max_age: timedelta,
) -> list[str]:
    if gate is None:
        return [f"{model} version {version} has no quality gate result; run evaluate first"]
    if (gate.model, gate.version) != (model, version):
        return [f"gate {gate.gate_id} is for {gate.model} version {gate.version}, not {model} version {version}"]
    reasons = []
    if gate.status != "passed":
        reasons.append(f"gate {gate.gate_id} of version {version} is {gate.status}, not passed")
    if not digest or gate.artifact_digest != digest:
        reasons.append(f"gate {gate.gate_id} judged another artifact than the registry now holds for version {version}")
    if champion not in (None, version, gate.champion):
        than = f"judged against version {gate.champion}" if gate.champion else "does not say which champion it faced"
        reasons.append(f"gate {gate.gate_id} {than}, and version {champion} serves now; evaluate again")
    if gate.overruled_by:
        reasons.append(f"gate {gate.gate_id} does not count: {gate.overruled_by}")
    if not gate.holdout_digest:
        reasons.append(f"gate {gate.gate_id} does not say on which holdout it judged")
    if now - gate.judged_at > max_age:
        reasons.append(f"gate {gate.gate_id} is older than {show_duration(max_age)}; evaluate again")
    elif gate.expires_at is not None and now > gate.expires_at:
        reasons.append(f"gate {gate.gate_id} expired {gate.expires_at}; evaluate again")
    if gate.judged_at > now:
        reasons.append(f"gate {gate.gate_id} is dated in the future, {gate.judged_at}")
    return reasons


def may_promote_unasked(challenge: str, auto_promote: bool) -> Decision:
    """Whether the Guardian may start a rollout by itself; where it may not, a person still may."""
    reason = (
        f"champion_challengers.{challenge}.promotion.auto_promote is false: a person deploys, with `guardian deploy`"
    )
    return Decision(policy="auto_promote", allowed=auto_promote, reasons=() if auto_promote else (reason,))


def not_serving_already(model: str, version: str, champion: str | None) -> Decision:
    """A rollout brings another version than the champion: that one serves already."""
    reasons = (f"{model} version {version} serves already",) if version == champion else ()
    return Decision(policy="serves_already", allowed=not reasons, reasons=reasons)


def may_start_rollout(model: str, running: str | None) -> Decision:
    """One rollout a model at a time: `running` is the id of the one that has not ended."""
    reasons = () if running is None else (f"rollout {running} of {model} has not ended",)
    return Decision(policy="one_rollout_per_model", allowed=running is None, reasons=reasons)
