"""What a model is compared with: the declared baseline or period, or for a promoted successor what it was judged on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from policies.declarations.drift import DriftMonitor
from tools.systems.store import Kind
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    import pyarrow as pa

    from tools.systems.systems import Systems


_DAY = timedelta(days=1)
_WEEK = timedelta(weeks=1)
_YEAR = timedelta(weeks=52)
_WEEKS_BACK = 4

Span = tuple[datetime, datetime]


@dataclass(frozen=True)
class Reference:
    """A table, and the part of it that counts: rows with `time` in one of `spans`, all of it where there are none.

    A span is [start, end), or [start, end] where the reference is `closed`.
    """

    table: str
    time: str
    id: str
    spans: tuple[Span, ...] = ()
    closed: bool = False

    def __str__(self) -> str:
        return " ".join([self.table, *(f"{start:%Y-%m-%d}..{end:%Y-%m-%d}" for start, end in self.spans)])

    def condition(self) -> tuple[str | None, dict[str, object]]:
        """What lets its rows through, and its parameters; None where all rows count."""
        if not self.spans:
            return None, {}
        time, before = quote(self.time), "<=" if self.closed else "<"
        each = [f"({time} >= $start{i} AND {time} {before} $end{i})" for i in range(len(self.spans))]
        params: dict[str, object] = {f"start{i}": start for i, (start, _) in enumerate(self.spans)}
        params |= {f"end{i}": end for i, (_, end) in enumerate(self.spans)}
        return " OR ".join(each), params

    def read(self, systems: Systems, columns: Sequence[str] | None = None) -> pa.Table:
        """Its rows, in the same order every time: files keep theirs, an engine is asked to sort."""
        warehouse, (where, params) = systems.warehouse, self.condition()
        if warehouse.dialect == "duckdb":
            return warehouse.read(self.table, columns, where, params)
        there = warehouse.columns(self.table)
        chosen = ", ".join(map(quote, columns or there))
        order = ", ".join(quote(name) for name in (self.time, self.id) if name in there) or "1"
        sql = f"SELECT {chosen} FROM {self.table}{f' WHERE {where}' if where else ''} ORDER BY {order}"
        return warehouse.query(sql, params)


def spans_of(period: str, at: datetime, reach: timedelta) -> tuple[Span, ...]:
    """The spans a declared period means for a window of `reach` that ends at `at`.

    `same_weekday`: the window itself one to four weeks before, hour by hour, lest one that ends at two in the night be
    compared with two whole days; of a window shorter than a day the whole days it lies in. A window longer than a week
    skips as many weeks as it covers. `same_week_last_year`: the seven days, or as many as the window
    has, that ended 52 weeks before `at`.
    """
    if period == "same_week_last_year":
        end = at - _YEAR
        return ((end - max(reach, _WEEK), end),)
    start, end = at - reach, at
    if reach < _DAY:
        start, end = _midnight(start), at if at == _midnight(at) else _midnight(at) + _DAY
    step = _WEEK * -(-(end - start) // _WEEK)
    return tuple((start - step * i, end - step * i) for i in range(_WEEKS_BACK, 0, -1))


def _midnight(at: datetime) -> datetime:
    return at.replace(hour=0, minute=0, second=0, microsecond=0)


def reference_for(systems: Systems, monitor: DriftMonitor, champion: str, at: datetime, reach: timedelta) -> Reference:
    """The reference of `champion` for a window of `reach` that ends at `at`.

    A declared period, which moves along; else the holdout its gate was judged on, where a rollout promoted it; else
    the declared dataset.

    The declared baseline is the world of the champion it was declared for. A successor learned a later world: compared
    with the old one it would drift for ever.
    """
    binding = systems.operations.model(monitor.model)
    period = monitor.baseline.period
    if period is not None:
        return Reference(monitor.baseline.dataset, binding.time, binding.id, spans_of(period, at, reach))
    declared = Reference(monitor.baseline.dataset, binding.time, binding.id)
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
    return Reference(binding.table, binding.time, binding.id, ((start, end),), closed=True)
