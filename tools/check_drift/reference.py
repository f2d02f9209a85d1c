"""What a model is compared with: the declared baseline, or for a promoted successor what that one was judged on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from policies.declarations.drift import DriftMonitor
from tools.systems.store import Kind
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    import pyarrow as pa

    from tools.systems.systems import Systems


@dataclass(frozen=True)
class Reference:
    """A table, and the part of it that counts: rows with `time` in [start, end], all of it where they are None."""

    table: str
    time: str
    start: datetime | None = None
    end: datetime | None = None

    def __str__(self) -> str:
        if self.start is None or self.end is None:
            return self.table
        return f"{self.table} {self.start:%Y-%m-%d}..{self.end:%Y-%m-%d}"

    def read(self, systems: Systems) -> pa.Table:
        """Its rows."""
        if self.start is None:
            return systems.warehouse.read(self.table)
        where = f"{quote(self.time)} >= $start AND {quote(self.time)} <= $end"
        return systems.warehouse.read(self.table, None, where, {"start": self.start, "end": self.end})


def reference_for(systems: Systems, monitor: DriftMonitor, champion: str) -> Reference:
    """The reference of `champion`: the holdout its gate was judged on, where a rollout promoted it; else the declared.

    The declared baseline is the world of the champion it was declared for. A successor learned a later world: compared
    with the old one it would drift for ever.
    """
    binding = systems.operations.model(monitor.model)
    declared = Reference(monitor.baseline.dataset, binding.time)
    promoted = systems.store.latest(Kind.rollout, monitor.model, version=champion, status="promoted")
    if promoted is None:
        return declared
    judged = next((row for row in systems.store.chain(promoted.id) if row.kind is Kind.evaluation), None)
    holdout = judged.body.get("holdout") if judged else None
    if not holdout:
        return declared
    start, end = datetime.fromisoformat(holdout["start"]), datetime.fromisoformat(holdout["end"])
    if monitor.baseline.timestamp is not None and end.date() <= monitor.baseline.timestamp:
        return declared
    return Reference(binding.table, binding.time, start, end)
