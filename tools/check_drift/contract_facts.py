"""What a contract needs to know of a window's rows: read off an Arrow table, or counted inside an engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from policies.declarations.drift import Column, Freshness, Schema
from tools.systems.warehouse import AnyWarehouse, quote

if TYPE_CHECKING:
    import pyarrow as pa

_KINDS = {
    "smallint": "integer", "integer": "integer", "bigint": "integer", "real": "number", "double precision": "number",
    "numeric": "number", "text": "string", "character varying": "string", "character": "string", "boolean": "boolean",
    "timestamp without time zone": "timestamp", "timestamp with time zone": "timestamp", "date": "timestamp",
    "tinyint": "integer", "int": "integer", "float": "number", "double": "number", "decimal": "number",  # Spark's
    "string": "string", "timestamp": "timestamp", "timestamp_ntz": "timestamp",
    "timestamp_ltz": "timestamp", "timestamp_tz": "timestamp",  # Snowflake's
    "datetime": "timestamp",  # BigQuery's
    "hugeint": "integer", "utinyint": "integer", "usmallint": "integer", "uinteger": "integer",  # DuckDB's
    "ubigint": "integer", "varchar": "string", "enum": "string", "timestamp_ns": "timestamp",
    "timestamp_ms": "timestamp", "timestamp_s": "timestamp",
}  # fmt: skip
_FLOATS = ("real", "double precision", "numeric", "float", "double")

_WRITTEN_FOR = {"postgres": "postgres"}
"""What an engine's statement is written for, DuckDB where it is not its own; from that it is translated."""


@dataclass(frozen=True)
class ColumnFacts:
    """One column: its kind, how many of its values are null, its extremes where a range is declared.

    `strange` are its values beyond the declared categories, in order; `repeated` its repeated values where it must be
    unique.
    """

    kind: str
    nulls: int
    low: float | None = None
    high: float | None = None
    strange: tuple[str, ...] = ()
    repeated: int = 0


@dataclass(frozen=True)
class Lag:
    """How old a source's data are when used: rows that say so, the share too old, and the 0.99-quantile in hours.

    Where the column holds no times, no row says so.
    """

    rows: int
    late: float
    oldest: float


_UNSAID = Lag(0, 0.0, 0.0)


@dataclass(frozen=True)
class Facts:
    """All columns there are, declared or not, and the declared sources' lags."""

    rows: int
    columns: Mapping[str, ColumnFacts]
    lags: Mapping[str, Lag] = field(default_factory=dict)


def of_arrow(schema: Schema, rows: pa.Table, time: str) -> Facts:
    """The facts of an Arrow table. Raises KeyError where the time column is missing and a freshness is declared."""
    columns = {name: _column(schema.columns.get(name), rows.column(name)) for name in rows.column_names}
    lags = {each.column: _lag(each, rows, time) for each in schema.freshness if each.column in rows.column_names}
    return Facts(rows.num_rows, columns, lags if rows.num_rows else {})


def inside(
    schema: Schema, warehouse: AnyWarehouse, table: str, where: str, params: Mapping[str, object], time: str
) -> Facts:
    """The facts of an engine's table's rows that `where` lets through: one statement, a row of numbers."""
    types = {name: kind.partition("(")[0].lower() for name, kind in warehouse.columns(table).items()}
    engine = warehouse.dialect
    bound: dict[str, object] = dict(params)
    asked = ["count(*) AS rows"]
    for i, (name, kind) in enumerate(types.items()):
        asked += _asked(i, name, kind, schema.columns.get(name), bound, engine)
    there = [each for each in schema.freshness if each.column in types]
    fresh = [each for each in there if _KINDS.get(types[each.column], "timestamp") == "timestamp"]
    for i, each in enumerate(fresh):
        age = f"{quote(time)} - {quote(each.column)}"
        hours = f"EXTRACT(EPOCH FROM {age}) / 3600" if engine == "postgres" else f"epoch({age}) / 3600"
        ordered = f"percentile_cont(0.99) WITHIN GROUP (ORDER BY {hours})"
        bound[f"age{i}"] = each.max_age.total_seconds() / 3600
        asked += [
            f"count({quote(each.column)}) AS lag{i}",
            f"avg(CASE WHEN {hours} > $age{i} THEN 1.0 ELSE 0.0 END) FILTER (WHERE {hours} IS NOT NULL) AS late{i}",
            f"{ordered if engine == 'postgres' else f'quantile_cont({hours}, 0.99)'} AS oldest{i}",
        ]
    sql = f"SELECT {', '.join(asked)} FROM {table} WHERE {where}"
    found: dict[str, Any] = warehouse.query(sql, bound, dialect=_WRITTEN_FOR.get(engine, "duckdb")).to_pylist()[0]
    columns = {
        name: ColumnFacts(
            kind=_KINDS.get(kind, kind),
            nulls=int(found["rows"] - found[f"n{i}"]),
            low=found.get(f"low{i}"),
            high=found.get(f"high{i}"),
            strange=tuple(sorted(found.get(f"odd{i}") or ())),
            repeated=int(found[f"n{i}"] - found.get(f"d{i}", found[f"n{i}"])),
        )
        for i, (name, kind) in enumerate(types.items())
    }
    lags = {each.column: _UNSAID for each in there}
    lags |= {
        each.column: Lag(int(found[f"lag{i}"]), float(found[f"late{i}"] or 0), float(found[f"oldest{i}"] or 0))
        for i, each in enumerate(fresh)
    }
    return Facts(int(found["rows"]), columns, lags if found["rows"] else {})


def repeats(
    warehouse: AnyWarehouse, table: str, id_: str, time: str, where: str, params: Mapping[str, object]
) -> tuple[int, int]:
    """How many of a table's rows that `where` lets through have an id, and how many of them repeat id and time of
    another."""
    key = quote(id_)
    groups = f"SELECT count(*) AS n FROM {table} WHERE ({where}) AND {key} IS NOT NULL GROUP BY {key}, {quote(time)}"
    sql = f"SELECT coalesce(sum(n), 0) AS held, count(*) AS told_apart FROM ({groups}) AS g"
    (found,) = warehouse.query(sql, params).to_pylist()
    return int(found["held"]), int(found["held"]) - int(found["told_apart"])


def kind_of(arrow_type: Any) -> str:
    """The declared kind an Arrow type belongs to: integer, number, string, boolean, timestamp, or its own name."""
    import pyarrow as pa

    types = pa.types
    if types.is_dictionary(arrow_type):
        return kind_of(arrow_type.value_type)
    if types.is_integer(arrow_type):
        return "integer"
    if types.is_floating(arrow_type) or types.is_decimal(arrow_type):
        return "number"
    if types.is_string(arrow_type) or types.is_large_string(arrow_type) or types.is_string_view(arrow_type):
        return "string"
    if types.is_boolean(arrow_type):
        return "boolean"
    if types.is_timestamp(arrow_type) or types.is_date(arrow_type):
        return "timestamp"
    return str(arrow_type)


def _asked(i: int, name: str, kind: str, declared: Column | None, bound: dict[str, object], engine: str) -> list[str]:
    """What is asked of one column; NaN is null."""
    column = quote(name)
    sound = f" FILTER (WHERE {column} <> 'NaN')" if kind in _FLOATS else ""
    asked = [f"count({column}){sound} AS n{i}"]
    if declared is None:
        return asked
    if declared.range is not None and _KINDS.get(kind) in ("integer", "number"):
        asked += [f"min({column}){sound} AS low{i}", f"max({column}){sound} AS high{i}"]
    if declared.unique:
        asked.append(f"count(DISTINCT {column}) AS d{i}")
    if declared.categories is not None and _KINDS.get(kind) == "string":
        bound[f"known{i}"] = list(declared.categories)
        known = f"{column} = ANY($known{i})" if engine == "postgres" else f"list_contains($known{i}, {column})"
        asked.append(f"array_agg(DISTINCT {column}) FILTER (WHERE {column} IS NOT NULL AND NOT {known}) AS odd{i}")
    return asked


def _column(declared: Column | None, column: Any) -> ColumnFacts:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind, nulls = kind_of(column.type), column.null_count
    if pa.types.is_floating(column.type):
        nulls += pc.sum(pc.is_nan(column)).as_py() or 0
    low = high = None
    strange: tuple[str, ...] = ()
    repeated = 0
    if declared is not None and declared.range is not None and len(column) > nulls and kind in ("integer", "number"):
        values = pc.drop_null(pc.cast(column, pa.float64(), safe=False))
        extremes = pc.min_max(pc.filter(values, pc.invert(pc.is_nan(values)))).as_py()
        low, high = extremes["min"], extremes["max"]
    if declared is not None and declared.categories is not None and kind == "string":
        unique = pc.drop_null(pc.unique(pc.cast(column, pa.string())))
        strange = tuple(sorted(set(unique.to_pylist()) - set(declared.categories)))
    if declared is not None and declared.unique and len(column):
        repeated = len(column) - nulls - pc.count_distinct(column, mode="only_valid").as_py()
    return ColumnFacts(kind, nulls, low, high, strange, repeated)


def _lag(declared: Freshness, rows: pa.Table, time: str) -> Lag:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        loaded = pc.cast(rows.column(declared.column), pa.timestamp("us"))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _UNSAID
    lags = pc.cast(pc.subtract(pc.cast(rows.column(time), pa.timestamp("us")), loaded), "int64")
    hours = np.asarray(pc.drop_null(lags).to_numpy(), dtype=np.float64) / 3.6e9
    limit = declared.max_age.total_seconds() / 3600
    if not len(hours):
        return _UNSAID
    return Lag(len(hours), float((hours > limit).mean()), float(np.quantile(hours, 0.99)))
