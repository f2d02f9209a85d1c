"""When the nightly run is due: read off the store, so that what was missed is caught up once, whoever missed it."""

from __future__ import annotations

from datetime import datetime

from agent.runs import RUNNING, triages
from policies.errors import InputError
from policies.monitoring import last_tick
from tools.systems.store import Evidence
from tools.systems.systems import Systems

NIGHTLY = "0 2 * * *"
_RUNS_READ = 100


def cron(text: str) -> str:
    """A checked cron expression. Raises InputError."""
    from pydantic import TypeAdapter, ValidationError

    from policies.declarations.base import Cron

    try:
        return str(TypeAdapter(Cron).validate_python(text))
    except ValidationError as error:
        raise InputError(error.errors()[0]["msg"].removeprefix("Value error, "), where="--triage") from None


def last_triage(systems: Systems) -> Evidence | None:
    """The newest triage over every model, None where there was none."""
    everything = list(systems.operations.models)
    rows = triages(systems, limit=_RUNS_READ)
    return next((row for row in rows if row.body.get("models") == everything), None)


def is_due(systems: Systems, expression: str, since: datetime) -> bool:
    """Whether a tick of `expression` came after the last triage, however many did; `since` counts for a first one.

    A triage that was interrupted is due too: it goes on where it was.
    """
    last = last_triage(systems)
    if last is not None and last.status == RUNNING:
        return True
    return last_tick(expression, systems.clock.now()) > (last.created_at if last else since)


def next_tick(expression: str, now: datetime) -> datetime:
    """The first tick after `now`."""
    from croniter import croniter

    tick: datetime = croniter(expression, now).get_next(datetime)
    return tick
