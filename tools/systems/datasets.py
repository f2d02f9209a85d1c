"""Rows of a model's world, found by its `models` binding. Frames are pandas; times naive UTC."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from reprlib import repr as briefly
from typing import TYPE_CHECKING

from policies.errors import InputError
from tools.systems.labels import known
from tools.systems.warehouse import TIMES, quote

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from tools.systems.systems import Systems


def window(
    systems: Systems, model: str, start: datetime, end: datetime, columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """Rows of the model's table with time in [start, end)."""
    binding = systems.operations.model(model)
    where = f"{quote(binding.time)} >= $start AND {quote(binding.time)} < $end"
    return _frame(
        timed(systems.warehouse.read(binding.table, columns, where, {"start": start, "end": end}), binding.time)
    )


def labelled(systems: Systems, model: str, start: datetime, end: datetime, as_of: datetime) -> pd.DataFrame:
    """Id, time, features and target of the rows in [start, end) whose label has arrived by `as_of`, in time order."""
    binding = systems.operations.model(model)
    labels = binding.labels
    chosen = ", ".join(f"f.{quote(each)}" for each in (binding.id, binding.time, *binding.features.names))
    sql = f"""
        SELECT {chosen}, l.{quote(labels.value)} AS {quote(binding.target)}
        FROM {binding.table} f
        JOIN {known(labels, "$as_of", f"{quote(labels.time)} >= $start AND {quote(labels.time)} < $end")}
          ON l.{quote(labels.id)} = f.{quote(binding.id)} AND l.{quote(labels.time)} = f.{quote(binding.time)}
        WHERE f.{quote(binding.time)} >= $start AND f.{quote(binding.time)} < $end
        ORDER BY f.{quote(binding.time)}, f.{quote(binding.id)}
    """
    require(systems, binding.table, labels.table)
    found = systems.warehouse.query(sql, {"start": start, "end": end, "as_of": as_of})
    return _frame(timed(found, binding.time))


def with_labels(systems: Systems, model: str, rows: pd.DataFrame, as_of: datetime) -> pd.DataFrame:
    """`rows` (with the binding's id and time) that have a label by `as_of`, with the target as a column."""
    import pandas as pd

    binding = systems.operations.model(model)
    labels = binding.labels
    if rows.empty:
        return rows.assign(**{binding.target: pd.Series(dtype=bool)})
    params = {"start": rows[binding.time].min(), "end": rows[binding.time].max(), "as_of": as_of}
    require(systems, labels.table)
    sql = f"""
        SELECT {quote(labels.id)} AS {quote(binding.id)}, {quote(labels.time)} AS {quote(binding.time)},
               {quote(labels.value)} AS {quote(binding.target)}
        FROM {known(labels, "$as_of", f"{quote(labels.time)} >= $start AND {quote(labels.time)} <= $end")}
    """
    told = _frame(timed(systems.warehouse.query(sql, params), binding.time))
    kept = rows[[column for column in rows.columns if column != binding.target]]
    kept = kept.assign(**{binding.time: pd.to_datetime(kept[binding.time])})
    try:
        return kept.merge(told, on=[binding.id, binding.time])
    except ValueError as error:  # ids of one side are texts, of the other numbers
        theirs, ours = systems.warehouse.columns(labels.table), systems.warehouse.columns(binding.table)
        wanted = f"{ours.get(binding.id)}, as {binding.table} does"
        raise InputError(misfit(labels.id, str(theirs.get(labels.id)), wanted), where=labels.table) from error


def table(systems: Systems, name: str) -> pd.DataFrame:
    """All rows of a table."""
    return _frame(systems.warehouse.read(name))


def label_coverage(systems: Systems, model: str, start: datetime, end: datetime, as_of: datetime) -> pd.DataFrame:
    """Per day of [start, end): `day`, `rows`, and how many of them are `labelled` by `as_of`."""
    binding = systems.operations.model(model)
    labels, at = binding.labels, quote(binding.time)
    require(systems, binding.table, labels.table)
    sql = f"""
        SELECT date_trunc('day', f.{at}) AS day, count(*) AS rows, count(l.{quote(labels.id)}) AS labelled
        FROM {binding.table} AS f
        LEFT JOIN {known(labels, "$as_of", f"{quote(labels.time)} >= $start AND {quote(labels.time)} < $end")}
        ON f.{quote(binding.id)} = l.{quote(labels.id)} AND f.{at} = l.{quote(labels.time)}
        WHERE f.{at} >= $start AND f.{at} < $end GROUP BY 1 ORDER BY 1
    """
    return _frame(timed(systems.warehouse.query(sql, {"start": start, "end": end, "as_of": as_of}), "day"))


def time_span(systems: Systems, name: str, column: str) -> tuple[datetime, datetime, int]:
    """First time, last time and number of rows; a day's time is its midnight. Raises InputError where it is empty."""
    require(systems, name)
    found = systems.warehouse.query(f"SELECT min({quote(column)}), max({quote(column)}), count(*) FROM {name}")
    first, last, rows = (column[0].as_py() for column in found.columns)
    if not rows:
        raise InputError("has no rows", where=name)
    return moment(first), moment(last), rows


def moment(time: date) -> datetime:
    """A time as a time; a day as its midnight."""
    return time if isinstance(time, datetime) else datetime(time.year, time.month, time.day)


def timed(rows: pa.Table, column: str) -> pa.Table:
    """Rows whose time column holds times: where it holds days, midnights."""
    import pyarrow as pa

    place = rows.schema.get_field_index(column)
    if place < 0 or not pa.types.is_date(rows.schema.field(place).type):
        return rows
    return rows.set_column(place, column, rows.column(place).cast(pa.timestamp("us")))


def _frame(rows: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = rows.to_pandas()
    return frame


def require(systems: Systems, *names: str) -> None:
    """Raises InputError, saying which tables there are, where one of these is not."""
    for name in names:
        if not systems.warehouse.exists(name):
            there = ", ".join(systems.warehouse.tables()) or "none"
            raise InputError(f"there is no table {name!r}; there are: {there}", where="warehouse")


def require_columns(systems: Systems, table: str, columns: Sequence[str], *, times: Sequence[str]) -> None:
    """Raises InputError where a table has not all of these columns, or one of `times` holds none."""
    there = systems.warehouse.columns(table)
    kinds = {name.casefold(): kind for name, kind in there.items()}  # most engines do not mind the case
    if missing := [name for name in dict.fromkeys([*columns, *times]) if name.casefold() not in kinds]:
        raise InputError(f"no column {', '.join(map(repr, missing))}; present: {', '.join(there)}", where=table)
    for name in times:
        kind = kinds[name.casefold()]
        if not kind.upper().startswith(TIMES):
            raise InputError(misfit(name, kind, "times"), where=table)


def misfit(column: str, held: str, wanted: str) -> str:
    """What is said of a column that holds something else than it must."""
    return f"column {column!r} holds {held}, and must hold {wanted}"


def no_numbers(frame: pd.DataFrame, columns: Sequence[str]) -> str | None:
    """What is wrong with the first of `columns` that has a value which is no number; None where all are numbers."""
    from pandas.api.types import is_numeric_dtype

    for name in columns:
        if is_numeric_dtype(frame[name]):
            continue
        for value in frame[name].dropna():
            try:
                float(value)
            except (TypeError, ValueError):
                return misfit(name, briefly(value), "numbers")
    return None


def no_texts(frame: pd.DataFrame, columns: Sequence[str]) -> str | None:
    """What is wrong with the first of the categorical `columns` that holds numbers; None where none does."""
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    for name in columns:
        held = frame[name].dropna()
        if len(held) and is_numeric_dtype(held) and not is_bool_dtype(held):
            return misfit(name, briefly(held.iloc[:1].tolist()[0]), "categories as text")
    return None
