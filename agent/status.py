"""What serves, how it got there, and on what evidence: read from the store, never remembered."""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from policies.errors import GuardianError, InputError
from tools.deploy.permission import serving_version
from tools.serving.sla import SlaReading, read_sla
from tools.systems.store import Evidence, Kind
from tools.systems.systems import Systems

RUNNING = ("pending", "running", "paused", "waiting_approval")


class ModelStatus(BaseModel):
    """One model: `deploy_strategy` is what last decided that the serving version serves, `manual` where a person did.

    A canary decides for the challenger by promoting it, and for the champion by rolling back to it; `serves_by` says
    which, for people.
    """

    model: str
    serving_version: str | None
    deploy_strategy: str
    serves_by: str
    deploy_health: Literal["healthy", "degraded", "unmonitored"]
    drift_detection: Literal["active"] | None
    last_report: dict[str, Any] | None
    rollout: dict[str, Any] | None
    kpis: list[dict[str, Any]]
    sla: SlaReading | None = None
    warnings: list[str]


class Status(BaseModel):
    """All declared models."""

    models: list[ModelStatus]


class Link(BaseModel):
    """One row of a chain of evidence."""

    id: str
    kind: str
    created_at: datetime
    version: str | None
    status: str | None
    says: str


class Why(BaseModel):
    """The chain from what serves now back to what it rests on, newest first."""

    model: str
    serving_version: str | None
    chain: list[Link]


class RunLine(BaseModel):
    """One run in a list of runs."""

    run_id: str
    at: datetime
    model: str
    planner: str | None
    status: str | None
    outcome: str | None


class Runs(BaseModel):
    """Runs, newest first."""

    runs: list[RunLine]


def status(systems: Systems) -> Status:
    """The state of every declared model."""
    return Status(models=[model_status(systems, name) for name in systems.operations.models])


def model_status(systems: Systems, model: str) -> ModelStatus:
    """The state of one model. Raises InputError where it is not declared."""
    serving = serving_version(systems, model)
    strategy, serves_by = _decided(systems, model, serving)
    report = systems.store.latest(Kind.drift_report, model)
    monitored = systems.store.latest(Kind.monitor, model) is not None
    rollout = systems.store.latest(Kind.rollout, model)
    if not monitored:
        health: Literal["healthy", "degraded", "unmonitored"] = "unmonitored"
    else:
        sound = report is None or (report.body.get("status") == "checked" and report.body.get("severity") != "critical")
        health = "healthy" if sound else "degraded"
    return ModelStatus(
        model=model,
        serving_version=serving,
        deploy_strategy=strategy,
        serves_by=serves_by,
        deploy_health=health,
        drift_detection="active" if monitored else None,
        last_report=_brief_report(report) if report else None,
        rollout=_brief_rollout(rollout) if rollout else None,
        kpis=_kpis(systems, model),
        sla=_sla(systems, model),
        warnings=_warnings(systems, model),
    )


def _decided(systems: Systems, model: str, version: str | None) -> tuple[str, str]:
    """By what strategy it was decided that a version serves, and how."""
    for row in systems.store.list(Kind.rollout, model):
        kept = {"promoted": row.version, "rolled_back": row.body.get("champion")}.get(str(row.status))
        if kept is None or kept != version:
            continue
        if not row.body.get("stages"):
            return "manual", f"manual: version {row.version} was rolled back"  # a person took a promotion back
        name = str(row.body.get("strategy"))
        declared = systems.operations.deployment_strategies.get(name)
        kind = declared.type if declared else name
        return kind, kind if row.status == "promoted" else f"kept: {kind} rolled version {row.version} back"
    return "manual", "manual"


def _brief_report(report: Evidence) -> dict[str, Any]:
    kept = ("report_id", "monitor", "checked_at", "status", "drift_detected", "severity")
    return {key: report.body.get(key) for key in kept}


def _brief_rollout(rollout: Evidence) -> dict[str, Any]:
    kept = ("rollout_id", "strategy", "version", "status", "stage", "traffic_pct")
    return {**{key: rollout.body.get(key) for key in kept}, "rollout_id": rollout.id, "status": rollout.status}


def _kpis(systems: Systems, model: str) -> list[dict[str, Any]]:
    newest: dict[str, dict[str, Any]] = {}
    for row in systems.store.list(Kind.kpi_reading, model, limit=200):
        readings = row.body.get("readings", [row.body])
        for reading in readings:
            newest.setdefault(str(reading.get("kpi")), reading)
    return list(newest.values())


def _sla(systems: Systems, model: str) -> SlaReading | None:
    with suppress(GuardianError):  # a warehouse that does not answer hides nothing else of the status
        return read_sla(systems, model, systems.clock.now())
    return None


def _warnings(systems: Systems, model: str) -> list[str]:
    return [f"THE QUALITY GATE IS SWITCHED OFF by {switch}" for switch in systems.operations.gate_off_by(model)]


def why(systems: Systems, model: str) -> Why:
    """The evidence chain of the version that serves `model`. Raises InputError where it is not declared."""
    systems.operations.model(model)
    change = systems.store.latest(Kind.traffic_change, model)
    if change is None:
        raise InputError("was never given any traffic; deploy a version or adopt a first champion", where=model)
    chain = []
    for row in systems.store.chain(change.id):
        chain.append(link(row))
        if row.kind is Kind.rollout and row.status == "rolled_back":
            break  # what the other version had been promoted on is no reason for this one
    return Why(model=model, serving_version=serving_version(systems, model), chain=chain)


def link(row: Evidence) -> Link:
    """A row of evidence in a line."""
    return Link(
        id=row.id,
        kind=row.kind.name,
        created_at=row.created_at,
        version=row.version,
        status=row.status,
        says=_says(row),
    )


def _says(row: Evidence) -> str:
    body = row.body
    says = {
        Kind.traffic_change: lambda: f"{body.get('why')}: {_share(body)}",
        Kind.rollout: lambda: _rollout_says(row),
        Kind.gate: lambda: _gate_says(row),
        Kind.evaluation: lambda: _evaluation_says(body),
        Kind.training_run: lambda: f"trained version {row.version} because of {body.get('triggered_by')}",
        Kind.approval: lambda: f"{body.get('what')}: {row.status}, decided by {body.get('decided_by')}",
        Kind.drift_report: lambda: f"{body.get('monitor')}: {body.get('severity')}, {_found(body)} finding(s)",
    }
    return says[row.kind]() if row.kind in says else str(row.status or "")


def _evaluation_says(body: dict[str, Any]) -> str:
    if body.get("failure"):
        return str(body["failure"])
    return f"{body.get('verdict')}, weighted improvement {_number(body, 'weighted_improvement')}"


def _gate_says(row: Evidence) -> str:
    faced = f", against version {row.body['champion']}" if row.body.get("champion") else ""
    return f"{_count(row.body, 'passed')} of {len(row.body.get('checks', []))} checks passed{faced}"


def _rollout_says(row: Evidence) -> str:
    if row.status == "rolled_back":
        return f"version {row.version} was rolled back: {row.body.get('reason')}"
    return f"{row.body.get('strategy')} of version {row.version}"


def _share(body: dict[str, Any]) -> str:
    if body.get("mirrored"):
        return f"a copy of each request to version {body['challenger']}, all answered by {body['champion']}"
    if body.get("challenger"):
        return f"{body['challenger_pct']:g}% to version {body['challenger']}, the rest to {body['champion']}"
    return f"all traffic to version {body.get('champion')}"


def _count(body: dict[str, Any], verdict: str) -> int:
    return sum(check.get("verdict") in (verdict, "pass") for check in body.get("checks", []))


def _found(body: dict[str, Any]) -> int:
    return sum(check.get("severity") in ("warning", "critical") for check in body.get("checks", []))


def _number(body: dict[str, Any], key: str) -> str:
    value = body.get(key)
    return f"{value:+.3f}" if isinstance(value, int | float) else "unknown"


def runs(systems: Systems, limit: int) -> Runs:
    """The newest runs."""
    return Runs(
        runs=[
            RunLine(
                run_id=row.id,
                at=row.created_at,
                model=row.model,
                planner=row.body.get("planner"),
                status=row.status,
                outcome=row.body.get("outcome"),
            )
            for row in systems.store.list(Kind.run, limit=limit)
        ]
    )
