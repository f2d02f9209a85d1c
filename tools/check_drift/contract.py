"""Contract validation: does a window of rows keep what its schema declares? Every broken clause is critical."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from policies.declarations import Severity
from policies.declarations.base import show_duration
from policies.declarations.drift import Column, DriftType, Freshness, Schema
from tools.check_drift.result import Check

if TYPE_CHECKING:
    import pyarrow as pa

METHOD = "contract_validation"


@dataclass(frozen=True)
class Clause:
    """What was measured against one clause of a contract: `value` beyond `limit` breaks it."""

    subject: str
    broken: bool
    value: float | None
    limit: float | None
    detail: str


def validate(schema: Schema, rows: pa.Table, time: str, span: timedelta) -> list[Check]:
    """Checks of `rows` (a window `span` long, ordered by nothing) against a contract: columns first, then freshness.

    A column is judged as a whole: the first clause it breaks is its finding, the number of clauses kept its `detail`
    otherwise. `time` names the column that says when a row was made. Raises KeyError where that column is missing.
    """
    clauses = [*_columns(schema, rows), *_added(schema, rows)]
    if rows.num_rows:
        clauses += [_fresh(each, rows, time) for each in schema.freshness if each.column in rows.column_names]
    if schema.rows_per_day is not None:
        clauses.append(_row_count(schema.rows_per_day, rows.num_rows, span))
    return [_check(clause) for clause in clauses]


def timeless(time: str, rows: int) -> list[Check]:
    """The finding that `rows` of the table have no time: no window will ever hold them. None where there are none."""
    if not rows:
        return []
    return [_check(Clause(time, True, float(rows), 0.0, f"{rows:,} rows have no time, and are in no window"))]


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


def _check(clause: Clause) -> Check:
    return Check(
        type=DriftType.schema_drift,
        method=METHOD,
        subject=clause.subject,
        value=clause.value,
        threshold=clause.limit,
        p_value=None,
        severity=Severity.critical if clause.broken else Severity.ok,
        detail=clause.detail,
    )


def _columns(schema: Schema, rows: pa.Table) -> Iterator[Clause]:
    for name, declared in schema.columns.items():
        if name not in rows.column_names:
            yield Clause(name, True, None, None, "the column is missing")
            continue
        broken = next((each for each in _broken_clauses(name, declared, rows.column(name))), None)
        yield broken or Clause(name, False, 0.0, None, f"{declared.type}, as declared")


def _broken_clauses(name: str, declared: Column, column: Any) -> Iterator[Clause]:
    import pyarrow as pa
    import pyarrow.compute as pc

    rows, nulls = len(column), column.null_count
    kind = kind_of(column.type)
    if pa.types.is_floating(column.type):
        nulls += pc.sum(pc.is_nan(column)).as_py() or 0
    if rows and nulls == rows and not declared.nullable:
        yield Clause(name, True, 1.0, 0.0, "the column is missing: all of its values in this window are null")
        return
    if kind != declared.type and not (kind == "integer" and declared.type == "number") and kind != "null":
        yield Clause(name, True, None, None, f"is {kind}, declared {declared.type}")
        return
    allowed = declared.max_null_share if declared.nullable else 0.0
    if rows and nulls / rows > allowed:
        yield Clause(name, True, nulls / rows, allowed, f"{nulls:,} of {rows:,} values are null")
    if declared.range is not None and rows > nulls and kind in ("integer", "number"):
        yield from _out_of_range(name, declared.range, column)
    if declared.categories is not None and kind == "string":
        known = pa.array(declared.categories, pa.string())
        unique = pc.drop_null(pc.unique(pc.cast(column, pa.string())))
        strange = sorted(set(unique.to_pylist()) - set(known.to_pylist()))
        if strange:
            shown = ", ".join(map(repr, strange[:3])) + (" …" if len(strange) > 3 else "")
            yield Clause(name, True, float(len(strange)), 0.0, f"holds {shown}, not among the declared categories")
    if declared.unique and rows:
        repeated = rows - nulls - pc.count_distinct(column, mode="only_valid").as_py()
        if repeated:
            yield Clause(name, True, float(repeated), 0.0, f"{repeated:,} values are repeated, declared unique")


def _out_of_range(name: str, bounds: tuple[float | None, float | None], column: Any) -> Iterator[Clause]:
    import pyarrow as pa
    import pyarrow.compute as pc

    values = pc.drop_null(pc.cast(column, pa.float64(), safe=False))
    values = pc.filter(values, pc.invert(pc.is_nan(values)))
    if not len(values):
        return
    extremes = pc.min_max(values).as_py()
    low, high = bounds
    if low is not None and extremes["min"] < low:
        yield Clause(name, True, extremes["min"], low, f"goes down to {extremes['min']:g}, declared at least {low:g}")
    if high is not None and extremes["max"] > high:
        yield Clause(name, True, extremes["max"], high, f"goes up to {extremes['max']:g}, declared at most {high:g}")


def _added(schema: Schema, rows: pa.Table) -> Iterator[Clause]:
    added = [
        name
        for name in rows.column_names
        if name not in schema.columns and (not rows.num_rows or rows.column(name).null_count < rows.num_rows)
    ]
    if added and not schema.allow_added_columns:
        yield Clause("columns", True, float(len(added)), 0.0, f"not declared: {', '.join(added)}")
    elif added:
        yield Clause("columns", False, float(len(added)), None, f"not declared, and allowed: {', '.join(added)}")


def _fresh(declared: Freshness, rows: pa.Table, time: str) -> Clause:
    """A source is stale where half of the rows are older than allowed when they are made, or one in a hundred is."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    loaded = pc.cast(rows.column(declared.column), pa.timestamp("us"))
    lags = pc.cast(pc.subtract(pc.cast(rows.column(time), pa.timestamp("us")), loaded), "int64")
    hours = np.asarray(pc.drop_null(lags).to_numpy(), dtype=np.float64) / 3.6e9
    limit = declared.max_age.total_seconds() / 3600
    if not len(hours):
        return Clause(declared.column, True, None, limit, "no row says when its source was loaded")
    late = float((hours > limit).mean())
    oldest = float(np.quantile(hours, 0.99))
    seen = f"data are up to {oldest:.1f} h old when used, allowed {show_duration(declared.max_age)}"
    return Clause(
        declared.column, late > 0.01, oldest, limit, f"{seen}; {late:.0%} of the rows are late" if late else seen
    )


def _row_count(band: tuple[int, int], rows: int, span: timedelta) -> Clause:
    a_day = rows / (span / timedelta(days=1))
    broken = not band[0] <= a_day <= band[1]
    limit = float(band[0] if a_day < band[0] else band[1])
    return Clause("rows_per_day", broken, a_day, limit, f"{a_day:,.0f} rows a day, declared {band[0]:,} to {band[1]:,}")
