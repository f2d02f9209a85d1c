"""What becomes of a run whose process was killed: finished where a version is registered, gone on with, or failed."""

from __future__ import annotations

import shutil
import socket
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from tools.retrain import claim
from tools.retrain.claim import COMPLETED, FAILED, RUNNING, Claim
from tools.retrain.result import RetrainResult
from tools.systems.store import Evidence, Kind

if TYPE_CHECKING:
    from tools.systems.registry import ModelVersion
    from tools.systems.systems import Systems

ATTEMPTS = 3
"""A run that ends its process this often is not tried again."""


_HOURS = 24
"""What a run may take whose pipeline is no longer declared."""


@dataclass(frozen=True)
class Settled:
    """`finished`: the newest run that only had to be written down. `resumable`: one to go on with, claimed."""

    finished: RetrainResult | None = None
    resumable: Claim | None = None


def settle(systems: Systems, model: str, pipeline: str | None, limit: timedelta) -> Settled:
    """Settles the runs of a pipeline (None: first champions) that are called running and have no process.

    Afterwards such a run is completed, failed with its reason, or the one to go on with, and the registry holds nothing
    half done of any. `limit` is what a run may take; one on another machine is given up when that is over.
    """
    finished: RetrainResult | None = None
    resumable: Claim | None = None
    for row in systems.store.list(Kind.training_run, model, status=RUNNING):
        if row.body.get("pipeline") != pipeline:
            continue
        left = claim.seconds_left(row, limit)
        if row.body.get("host") != socket.gethostname() and left > 0:
            continue
        held = claim.take(systems, row)
        if held is None:
            continue
        held = replace(held, row=systems.store.get(row.id))
        if held.row.status == RUNNING:
            if (result := _finish(systems, held.row)) is not None:
                finished = finished or result
            elif (reason := _given_up(held.row, left)) is None and resumable is None:
                resumable = held
                continue
            else:
                fail(systems, held.row, reason or "its process was killed, and a later run was, too")
        held.release()
    return Settled(finished, resumable)


def close(systems: Systems, model: str) -> list[str]:
    """Settles all killed runs of a model, and fails those that could be gone on with but that nothing asked for again.

    For the end of a night: what was to be gone on with has been by then. The ids of the runs given up are returned.
    """
    pipelines = systems.operations.retraining_pipelines
    given_up = []
    for row in systems.store.list(Kind.training_run, model, status=RUNNING):
        name = row.body.get("pipeline")
        hours = pipelines[name].training.max_training_hours if name in pipelines else _HOURS
        resumable = settle(systems, model, name, timedelta(hours=hours)).resumable
        if resumable is not None:
            fail(systems, resumable.row, "its process was killed, and the next night found no reason to go on with it")
            resumable.release()
            given_up.append(resumable.row.id)
    return given_up


def complete(systems: Systems, row: Evidence, version: ModelVersion) -> RetrainResult:
    """Gives a registered version its alias and the run its result."""
    systems.registry.set_alias(version.name, str(row.body["alias"]), version.version)
    registered = {"version": version.version, "mlflow_run_id": version.run_id}
    result = RetrainResult.model_validate({**row.body["trained"], **registered})
    systems.store.update(row.id, status=COMPLETED, version=version.version, body=result)
    return result


def fail(systems: Systems, row: Evidence, reason: str) -> None:
    """Marks a run as failed, in the registry too where it has begun to log there.

    Raises what the registry does, once the rest is done.
    """
    name = systems.operations.model(row.model).registry_name
    try:
        systems.registry.give_up(name, row.id, reason)
    finally:
        systems.store.update(row.id, status=FAILED, body={**row.body, "failure": reason})
        shutil.rmtree(systems.state / "training" / row.id, ignore_errors=True)


def _finish(systems: Systems, row: Evidence) -> RetrainResult | None:
    """Completes a run that had registered its version; None where it had not."""
    name = systems.operations.model(row.model).registry_name
    version = systems.registry.made_by(name, row.id) if "trained" in row.body else None
    if version is not None:
        return complete(systems, row, version)
    systems.registry.give_up(name, row.id, "its process was killed")
    return None


def _given_up(row: Evidence, left: float) -> str | None:
    """Why a killed run is not gone on with; None where it is."""
    if left <= 0:
        return "its process was killed, and max_training_hours have passed since it began"
    if row.body.get("attempt", ATTEMPTS) >= ATTEMPTS:
        return f"its process was killed, {row.body.get('attempt', 1)} times"
    return None
