"""What a monitor asks of its warehouse: the queries of one run, as its engine or another would be asked them."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from policies.errors import InputError
from tools.check_drift.tool import CheckDriftArguments, measured
from tools.systems.dialects import DIALECTS, explained
from tools.systems.recording import RecordingWarehouse

if TYPE_CHECKING:
    from tools.systems.systems import Systems


class Explained(BaseModel):
    """The queries of one run in order, each once, parameters as the driver names them."""

    model_config = ConfigDict(frozen=True)

    monitor: str
    dialect: str
    queries: list[str]


def explain(systems: Systems, monitor: str, at: datetime | None, dialect: str | None) -> Explained:
    """Runs the monitor's checks without storing a report, and gives the queries as `dialect` would be asked them.

    What is known of the baseline already is not asked again. Raises InputError for an unknown dialect.
    """
    if find_spec("sqlglot") is None:
        raise InputError("sqlglot is not installed: pip install 'mlops-guardian[postgres]'", where="--explain")
    recording = RecordingWarehouse(systems.warehouse)
    wanted = dialect or systems.warehouse.dialect
    if wanted not in DIALECTS:
        raise InputError(f"{wanted!r} is no dialect: {', '.join(DIALECTS)}", where="--dialect")
    measured(replace(systems, warehouse=recording), CheckDriftArguments(monitor=monitor, at=at))
    return Explained(
        monitor=monitor,
        dialect=wanted,
        queries=[explained(sql, wanted, written_for=each) for sql, each in recording.asked.items()],
    )
