"""An evaluation under way: claimed while its process lives, failed with the reason where it did not come to its end.

A gate that rests on an evaluation that failed lets nothing be deployed (`policies.promotion`).
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from tools.retrain import claim
from tools.retrain.claim import FAILED, RUNNING
from tools.systems.store import Evidence, Kind, append

if TYPE_CHECKING:
    from tools.systems.systems import Systems

GIVEN_UP = timedelta(hours=24)
"""One that a process on another machine began this long ago has no process any more."""


@contextmanager
def begin(systems: Systems, model: str, challenge: str, version: str, at: datetime) -> Iterator[Evidence]:
    """The row of an evaluation of `version`, which whoever asked closes with the verdict; an error is its failure."""
    trained = systems.store.latest(Kind.training_run, model, version=version)
    body = {"challenge": challenge, **claim.here(), "began": time.time()}
    with systems.store.writing() as session:
        rests_on = trained.id if trained else None
        row = append(session, Kind.evaluation, model, body, at=at, version=version, status=RUNNING, rests_on=rests_on)
        held = claim.take(systems, row)
        assert held is not None
    try:
        yield row
    except BaseException as error:
        _fail(systems, row, str(error) or type(error).__name__)
        raise
    finally:
        held.release()


def settle(systems: Systems, model: str) -> list[str]:
    """Fails the evaluations of a model that are called running and have no process; their ids."""
    failed = []
    for row in systems.store.list(Kind.evaluation, model, status=RUNNING):
        if row.body.get("host") != socket.gethostname() and claim.seconds_left(row, GIVEN_UP) > 0:
            continue
        held = claim.take(systems, row)
        if held is None:
            continue
        if _fail(systems, row, "its process was killed"):
            failed.append(row.id)
        held.release()
    return failed


def _fail(systems: Systems, row: Evidence, reason: str) -> bool:
    """Whether it was still running; a verdict that is written down stands."""
    running = systems.store.get(row.id).status == RUNNING
    if running:
        systems.store.update(row.id, status=FAILED, body={**row.body, "failure": reason})
    return running
