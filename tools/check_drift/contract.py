"""Contract validation: does a window of rows keep what its schema declares? Every broken clause is critical."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from policies.declarations import Severity
from policies.declarations.base import show_duration
from policies.declarations.drift import Column, DriftType, Freshness, Schema
from tools.check_drift.contract_facts import ColumnFacts, Facts, Lag, of_arrow
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
    """Checks of `rows` (a window `span` long, ordered by nothing) against a contract. Raises as `judge`."""
    return judge(schema, of_arrow(schema, rows, time), span)


def judge(schema: Schema, facts: Facts, span: timedelta) -> list[Check]:
    """Checks of what is known of a window `span` long against a contract: columns first, then freshness.

    A column is judged as a whole: the first clause it breaks is its finding, the number of clauses kept its `detail`
    otherwise.
    """
    clauses = [*_columns(schema, facts), *_added(schema, facts)]
    clauses += [_fresh(each, facts.lags[each.column]) for each in schema.freshness if each.column in facts.lags]
    if schema.rows_per_day is not None:
        clauses.append(_row_count(schema.rows_per_day, facts.rows, span))
    return [_check(clause) for clause in clauses]


def none_came(schema: Schema, span: timedelta) -> list[Check]:
    """The finding that a window `span` long has no rows where the contract asks for some; none where it does not."""
    band = schema.rows_per_day
    return [_check(_row_count(band, 0, span))] if band is not None and band[0] > 0 else []


def timeless(time: str, rows: int) -> list[Check]:
    """The finding that `rows` of the table have no time: no window will ever hold them. None where there are none."""
    if not rows:
        return []
    return [_check(Clause(time, True, float(rows), 0.0, f"{rows:,} rows have no time, and are in no window"))]


def repeated(id_: str, time: str, rows: int, again: int, *, sample: bool) -> list[Check]:
    """The finding that of `rows` (where so, a `sample` of the window's) `again` repeat the id and time of another, by
    which predictions and labels are told apart. None where there are none."""
    if not again:
        return []
    told = f"{again:,} of {rows:,} rows{' looked at' if sample else ''} repeat the {id_} of another at the same {time}"
    return [_check(Clause(id_, True, again / rows, 0.0, told))]


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


def _columns(schema: Schema, facts: Facts) -> Iterator[Clause]:
    for name, declared in schema.columns.items():
        if name not in facts.columns:
            yield Clause(name, True, None, None, "the column is missing")
            continue
        broken = next(_broken_clauses(name, declared, facts.columns[name], facts.rows), None)
        yield broken or Clause(name, False, 0.0, None, f"{declared.type}, as declared")


def _broken_clauses(name: str, declared: Column, seen: ColumnFacts, rows: int) -> Iterator[Clause]:
    kind, nulls = seen.kind, seen.nulls
    if rows and nulls == rows and not declared.nullable:
        yield Clause(name, True, 1.0, 0.0, "the column is missing: all of its values in this window are null")
        return
    if kind != declared.type and not (kind == "integer" and declared.type == "number") and kind != "null":
        yield Clause(name, True, None, None, f"is {kind}, declared {declared.type}")
        return
    allowed = declared.max_null_share if declared.nullable else 0.0
    if rows and nulls / rows > allowed:
        yield Clause(name, True, nulls / rows, allowed, f"{nulls:,} of {rows:,} values are null")
    if declared.range is not None:
        yield from _out_of_range(name, declared.range, seen)
    if strange := seen.strange:
        shown = ", ".join(map(repr, strange[:3])) + (" …" if len(strange) > 3 else "")
        yield Clause(name, True, float(len(strange)), 0.0, f"holds {shown}, not among the declared categories")
    if seen.repeated:
        yield Clause(name, True, float(seen.repeated), 0.0, f"{seen.repeated:,} values are repeated, declared unique")


def _out_of_range(name: str, bounds: tuple[float | None, float | None], seen: ColumnFacts) -> Iterator[Clause]:
    low, high = bounds
    if low is not None and seen.low is not None and seen.low < low:
        yield Clause(name, True, seen.low, low, f"goes down to {seen.low:g}, declared at least {low:g}")
    if high is not None and seen.high is not None and seen.high > high:
        yield Clause(name, True, seen.high, high, f"goes up to {seen.high:g}, declared at most {high:g}")


def _added(schema: Schema, facts: Facts) -> Iterator[Clause]:
    added = [
        name
        for name, seen in facts.columns.items()
        if name not in schema.columns and (not facts.rows or seen.nulls < facts.rows)
    ]
    if added and not schema.allow_added_columns:
        yield Clause("columns", True, float(len(added)), 0.0, f"not declared: {', '.join(added)}")
    elif added:
        yield Clause("columns", False, float(len(added)), None, f"not declared, and allowed: {', '.join(added)}")


def _fresh(declared: Freshness, lag: Lag) -> Clause:
    """A source is stale where half of the rows are older than allowed when they are made, or one in a hundred is."""
    limit = declared.max_age.total_seconds() / 3600
    if not lag.rows:
        return Clause(declared.column, True, None, limit, "no row says when its source was loaded")
    seen = f"data are up to {lag.oldest:.1f} h old when used, allowed {show_duration(declared.max_age)}"
    said = f"{seen}; {lag.late:.0%} of the rows are late" if lag.late else seen
    return Clause(declared.column, lag.late > 0.01, lag.oldest, limit, said)


def _row_count(band: tuple[int, int], rows: int, span: timedelta) -> Clause:
    a_day = rows / (span / timedelta(days=1))
    broken = not band[0] <= a_day <= band[1]
    limit = float(band[0] if a_day < band[0] else band[1])
    return Clause("rows_per_day", broken, a_day, limit, f"{a_day:,.0f} rows a day, declared {band[0]:,} to {band[1]:,}")
