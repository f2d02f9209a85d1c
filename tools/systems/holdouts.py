"""The holdout of a model: a table that somebody keeps, or the newest labelled rows of the model's own table.

Training ends before it and challengers are judged on it, as of one look: both ask here, and neither sees a label that
came later.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from policies.declarations.base import show_duration
from policies.declarations.binding import LatestLabelled
from policies.errors import InputError
from tools.systems import datasets
from tools.systems.labels import known
from tools.systems.warehouse import quote

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tools.systems.systems import Systems

MOST_ROWS = 200_000
"""Of a longer holdout a sample is judged: the AUC of so many rows is known to within 0.003."""
_DAY = timedelta(days=1)


class NothingLabelled(InputError):
    """No row of the table has a label yet: there is nothing to judge by, nor to learn from."""


@dataclass(frozen=True)
class Period:
    """Row times of a holdout, [start, end], and how many rows lie there: of a model's own table labelled ones."""

    start: datetime
    end: datetime
    rows: int


def period(systems: Systems, model: str, as_of: datetime) -> Period:
    """The holdout's time as of a look. Raises InputError where it is empty: NothingLabelled for one that moves."""
    binding = systems.operations.model(model)
    if isinstance(binding.holdout, str):
        return Period(*datasets.time_span(systems, binding.holdout, binding.time))
    days = _labelled_days(systems, model, binding.holdout, as_of)
    start = _first_day(days, binding.holdout) or days["day"].iloc[0]
    held = days[days["day"] >= start]
    end = held["day"].iloc[-1] + _DAY - timedelta.resolution
    return Period(start.to_pydatetime(), end.to_pydatetime(), int(held["labelled"].sum()))


def read(systems: Systems, model: str, as_of: datetime) -> pa.Table:
    """The holdout's rows with the target as a column: all of a table that is kept, else at most about MOST_ROWS.

    Which rows stand for a longer period is a hash of id and time: the same ones each time. Raises InputError.
    """
    binding = systems.operations.model(model)
    if isinstance(binding.holdout, str):
        return datasets.timed(systems.warehouse.read(binding.holdout), binding.time)
    held = period(systems, model, as_of)
    labels, at = binding.labels, quote(binding.time)
    columns = [name for name in systems.warehouse.columns(binding.table) if name != binding.target]
    chosen = ", ".join(f"f.{quote(name)}" for name in columns)
    share = min(1.0, MOST_ROWS / held.rows)
    some = f" AND hash(f.{quote(binding.id)}, f.{at}) / 18446744073709551616.0 < {share!r}" if share < 1 else ""
    sql = f"""
        SELECT {chosen}, l.{quote(labels.value)} AS {quote(binding.target)}
        FROM {binding.table} f
        JOIN {known(labels, "$as_of", f"{quote(labels.time)} >= $start AND {quote(labels.time)} <= $end")}
          ON l.{quote(labels.id)} = f.{quote(binding.id)} AND l.{quote(labels.time)} = f.{at}
        WHERE f.{at} >= $start AND f.{at} <= $end AND f.{at} < $until{some}
    """
    bounds = {"start": held.start, "end": held.end, "until": as_of - binding.holdout.label_delay}
    return datasets.timed(systems.warehouse.query(sql, {**bounds, "as_of": as_of}), binding.time)


def _labelled_days(systems: Systems, model: str, held: LatestLabelled, as_of: datetime) -> pd.DataFrame:
    """Days with labelled rows (`day`, `labelled`), newest last, as far back as the holdout may reach."""
    binding = systems.operations.model(model)
    datasets.require(systems, binding.table)
    try:
        first, last, _ = datasets.time_span(systems, binding.table, binding.time)
    except InputError as error:
        raise NothingLabelled(error.message, where=error.where) from error
    until = min(as_of - held.label_delay, last + timedelta.resolution)
    reach = 2 * held.latest
    while True:
        whole = reach >= until - first
        start = _midnight(first if whole else until - reach)
        coverage = datasets.label_coverage(systems, model, start, until, as_of)
        days = coverage[coverage["labelled"] > 0].reset_index(drop=True)
        if whole or (len(days) and (begins := _first_day(days, held)) is not None and begins >= start):
            break
        reach *= 4
    if days.empty:
        young = f", or only rows of the last {show_duration(held.label_delay)}" if held.label_delay else ""
        raise NothingLabelled(f"no row has a label as of {as_of}{young}", where=binding.table)
    return days


def _first_day(days: pd.DataFrame, held: LatestLabelled) -> pd.Timestamp | None:
    """The first day of the holdout, None where the days hold too few rows."""
    newest_first = days["labelled"].iloc[::-1].cumsum()
    enough = newest_first[newest_first >= held.min_rows]
    if enough.empty:
        return None
    by_time: pd.Timestamp = days["day"].iloc[-1] - (-(-held.latest // _DAY) - 1) * _DAY
    by_rows: pd.Timestamp = days["day"].loc[enough.index[0]]
    return by_time if by_time < by_rows else by_rows


def _midnight(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)
