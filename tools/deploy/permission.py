"""The evidence that the promotion policies judge by: which gate a version passed, and what runs already."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from policies.declarations.binding import Labels
from policies.declarations.deployment import DeploymentStrategy
from policies.errors import PolicyRefusal
from policies.promotion import Decision, GateEvidence, may_deploy, may_start_rollout, not_serving_already
from policies.strategies import StrategyFacts, may_use_strategy, suitable
from tools.deploy.rollout import ENDED, Rollout, Status
from tools.systems.registry import CHAMPION
from tools.systems.store import Evidence, Kind, append
from tools.systems.tables import EvidenceRow
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    from tools.systems.systems import Systems


def unfinished(systems: Systems, model: str) -> Evidence | None:
    """The model's rollout that has not ended, None where there is none."""
    rows = systems.store.list(Kind.rollout, model, limit=20)
    return next((row for row in reversed(rows) if row.status not in ENDED), None)


def add_rollout(systems: Systems, state: Rollout, grounds: Evidence | None, now: datetime) -> Evidence:
    """The row of a new rollout, added in the transaction that finds no unfinished one of its model: of two at once the
    second is refused. Raises PolicyRefusal.
    """
    of_model = select(EvidenceRow.id).where(EvidenceRow.kind == Kind.rollout.value, EvidenceRow.model == state.model)
    running = of_model.where(EvidenceRow.status.not_in([each.value for each in ENDED])).limit(1)
    with systems.store.writing() as session:
        may_start_rollout(state.model, session.scalar(running)).enforce()
        return append(
            session,
            Kind.rollout,
            state.model,
            state,
            at=now,
            version=state.version,
            status=state.status.value,
            rests_on=grounds.id if grounds else None,
        )


def require_promotable(systems: Systems, model: str, version: str) -> Evidence | None:
    """The gate result that lets a rollout of `version` start; where the gate is switched off and was not run, the
    evaluation or the training that the version comes from, None where there is neither.

    Raises PolicyRefusal: it serves already, no passed gate for that very artifact against what serves now, another
    rollout running, or a version that was rolled back since its gate was judged.
    """
    running = unfinished(systems, model)
    may_start_rollout(model, running.id if running else None).enforce()
    row = _newest(systems, Kind.gate, model, version)
    gate_holds(systems, model, version).enforce()
    not_serving_already(model, version, serving_version(systems, model)).enforce()
    _refuse_rolled_back(systems, model, version, row)
    earlier = (_newest(systems, kind, model, version) for kind in (Kind.evaluation, Kind.training_run))
    return row or next((each for each in earlier if each is not None), None)


def require_suitable(systems: Systems, model: str, strategy: str, declared: DeploymentStrategy) -> None:
    """Raises PolicyRefusal, naming what is missing and which declared strategies suit, where this one does not."""
    binding = systems.operations.model(model)
    facts = StrategyFacts(labelled=_labelled(systems, binding.labels))
    found = may_use_strategy(strategy, declared, binding, facts)
    if not found.allowed:
        others = suitable(systems.operations.deployment_strategies, binding, facts)
        fit = f"suitable for {model}: {', '.join(others) or 'none of those declared'}"
        raise PolicyRefusal(found.policy, "; ".join([*found.reasons, fit]), where=model)


def _labelled(systems: Systems, labels: Labels) -> bool:
    if not systems.warehouse.exists(labels.table):
        return False
    sql = f"SELECT 1 AS known FROM {labels.table} WHERE {quote(labels.arrived)} <= $now LIMIT 1"
    return len(systems.warehouse.query(sql, {"now": systems.clock.now()})) > 0


def serving_version(systems: Systems, model: str) -> str | None:
    """The version that answers as champion: the traffic split's, else the registry's alias."""
    split = systems.traffic.split(model)
    return split.champion if split else systems.registry.alias(systems.operations.model(model).registry_name, CHAMPION)


def gate_holds(systems: Systems, model: str, version: str) -> Decision:
    """Whether the gate lets `version` have traffic now: asked before a rollout starts and before each larger share.

    Raises SystemDown, InputError where the registry does not know the version.
    """
    waiver = waived_by(systems, model, version)
    declared = systems.operations.gate_of(model)
    if declared is None and not waiver:
        reason = f"no quality gate is declared for {model}"
        return Decision(policy="promotion_needs_passed_gate", allowed=False, reasons=(reason,))
    registered = systems.registry.get(systems.operations.model(model).registry_name, version)
    row, evaluation = (_newest(systems, kind, model, version) for kind in (Kind.gate, Kind.evaluation))
    own = systems.store.get(row.rests_on) if row is not None and row.rests_on else None
    return may_deploy(
        model,
        version,
        registered.digest,
        None if row is None else gate_evidence(row, own, evaluation),
        champion=serving_version(systems, model),
        now=systems.clock.now(),
        max_age=timedelta() if declared is None else declared.max_age,
        waived_by=waiver,
        not_won=_not_won(evaluation),
    )


def _not_won(evaluation: Evidence | None) -> str:
    lost = evaluation is not None and evaluation.status in ("tie", "champion_wins")
    return f"{evaluation.id} ended as {evaluation.status}" if lost and evaluation else ""


def waived_by(systems: Systems, model: str, version: str) -> str:
    """The declaration that switches the gate off for a version, empty where none does.

    `require_quality_gate: false` covers every version of the challenge's model, `require_gate: false` those that the
    pipeline trained.
    """
    operations = systems.operations
    challenge = operations.challenge_of(model)
    if challenge is not None and not operations.champion_challengers[challenge].promotion.require_quality_gate:
        return f"champion_challengers.{challenge}.promotion.require_quality_gate"
    trained = systems.store.latest(Kind.training_run, model, version=version)
    pipeline = operations.retraining_pipelines.get(str(trained.body.get("pipeline"))) if trained else None
    if trained is not None and pipeline is not None and not pipeline.promotion.require_gate:
        return f"retraining_pipelines.{trained.body['pipeline']}.promotion.require_gate"
    return ""


def gate_evidence(row: Evidence, own: Evidence | None = None, newest: Evidence | None = None) -> GateEvidence:
    """A gate row as the policy reads it, beside the evaluation that it rests on and the version's newest one; what a
    row lacks matches nothing.
    """
    return GateEvidence(
        gate_id=row.id,
        model=row.model,
        version=row.version or "",
        status=row.status or "",
        artifact_digest=str(row.body.get("artifact_digest") or ""),
        champion=str(row.body.get("champion") or ""),
        holdout_digest=str(row.body.get("holdout_digest") or ""),
        judged_at=row.created_at,
        expires_at=row.body.get("expires_at"),
        overruled_by=_unfinished(own) or _not_won(newest),
    )


def _unfinished(evaluation: Evidence | None) -> str:
    open_ = evaluation is not None and evaluation.status in ("running", "failed")
    return f"{evaluation.id}, which it rests on, is {evaluation.status}" if open_ and evaluation else ""


def _newest(systems: Systems, kind: Kind, model: str, version: str) -> Evidence | None:
    """The row stored last, whatever a clock that jumped says: a later failure is not outdone by a date."""
    rows = systems.store.list(kind, model, version=version)
    return max(rows, key=lambda row: row.number, default=None)


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
