"""The search's trials in the state store, so that an interrupted search is gone on with."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from tools.retrain.search import TrialRecord
from tools.systems.tables import TrialRow

if TYPE_CHECKING:
    from tools.systems.store import Store


def digest(*parts: object) -> str:
    """SHA-256 of what makes a search what it is; trials of another one are of no use to it."""
    return hashlib.sha256("\n".join(map(repr, parts)).encode()).hexdigest()


def earlier(store: Store, run_id: str, task: str) -> tuple[TrialRecord, ...]:
    """The trials of a run's search that ended, in their order; those of another task are removed."""
    with store.writing() as session:
        session.execute(delete(TrialRow).where(TrialRow.run_id == run_id, TrialRow.task != task))
        rows = session.scalars(select(TrialRow).where(TrialRow.run_id == run_id).order_by(TrialRow.number)).all()
    return tuple(
        TrialRecord(row.number, row.state, row.parameters, row.distributions, row.value, row.early)  # type: ignore[arg-type]
        for row in rows
    )


def keep(store: Store, run_id: str, task: str, records: Sequence[TrialRecord]) -> None:
    """Stores trials that ended."""
    with store.writing() as session:
        for each in records:
            session.add(
                TrialRow(
                    run_id=run_id,
                    task=task,
                    number=each.number,
                    state=each.state,
                    value=each.value,
                    early=each.early,
                    parameters=each.parameters,
                    distributions=each.distributions,
                )
            )
