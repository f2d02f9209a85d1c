"""The evidence that the promotion policies judge by: which gate a version passed, and what runs already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from policies.errors import PolicyRefusal
from policies.promotion import GateEvidence, may_deploy, may_start_rollout
from tools.deploy.rollout import ENDED, Rollout, Status
from tools.systems.store import Evidence, Kind

if TYPE_CHECKING:
    from tools.systems.systems import Systems


def unfinished(systems: Systems, model: str) -> Evidence | None:
    """The model's rollout that has not ended, None where there is none."""
    rows = systems.store.list(Kind.rollout, model, limit=20)
    return next((row for row in reversed(rows) if row.status not in ENDED), None)


def require_promotable(systems: Systems, model: str, version: str) -> Evidence | None:
    """The gate result that lets a rollout of `version` start; None where none is required by declaration.

    Raises PolicyRefusal: no passed gate for that very artifact, another rollout running, or a version that was
    rolled back since its gate was judged.
    """
    running = unfinished(systems, model)
    may_start_rollout(model, running.id if running else None).enforce()
    operations = systems.operations
    registered = systems.registry.get(operations.model(model).registry_name, version)
    declared, challenge = operations.gate_of(model), operations.challenge_of(model)
    required = challenge is None or operations.champion_challengers[challenge].promotion.require_quality_gate
    row = systems.store.latest(Kind.gate, model, version=version)
    if declared is None and required:
        raise PolicyRefusal("promotion_needs_passed_gate", f"no quality gate is declared for {model}")
    if declared is not None:
        may_deploy(
            model,
            version,
            registered.digest,
            None if row is None else gate_evidence(row),
            now=systems.clock.now(),
            max_age=declared.max_age,
            gate_required=required,
        ).enforce()
    _refuse_rolled_back(systems, model, version, row)
    return row


def gate_evidence(row: Evidence) -> GateEvidence:
    """A gate row as the policy reads it; what the row does not say matches nothing."""
    return GateEvidence(
        gate_id=row.id,
        model=row.model,
        version=row.version or "",
        status=row.status or "",
        artifact_digest=str(row.body.get("artifact_digest", "")),
        holdout_digest=str(row.body.get("holdout_digest", "")),
        judged_at=row.created_at,
    )


def _refuse_rolled_back(systems: Systems, model: str, version: str, gate: Evidence | None) -> None:
    """A holdout cannot overrule what live traffic has shown; a gate judged since then can."""
    failed = systems.store.latest(Kind.rollout, model, version=version, status=Status.ROLLED_BACK.value)
    if failed is None:
        return
    ended = Rollout.model_validate(failed.body).events[-1].at
    if gate is None or gate.created_at <= ended:
        raise PolicyRefusal(
            "rolled_back_needs_new_gate",
            f"version {version} was rolled back by {failed.id} ({failed.body.get('reason')}); evaluate it again first",
        )
