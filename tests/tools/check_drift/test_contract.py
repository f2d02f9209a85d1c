"""Contract validation: each clause broken in turn."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from policies.declarations import Severity
from policies.declarations.drift import Schema
from tools.check_drift.contract import none_came, validate
from tools.check_drift.result import Check

NOON = datetime(2026, 1, 20, 12)


def rows(**replaced: Any) -> pa.Table:
    columns: dict[str, Any] = {
        "id": list(range(100)),
        "at": [NOON] * 100,
        "loaded_at": [NOON - timedelta(hours=3)] * 100,
        "amount": [float(i) for i in range(100)],
        "plan": ["monthly", "annual"] * 50,
        "nps": [None, 5.0] * 50,
    }
    columns |= replaced
    return pa.table({name: value for name, value in columns.items() if value is not None})


def schema(**more: Any) -> Schema:
    body: dict[str, Any] = {
        "columns": {
            "id": {"type": "integer", "unique": True},
            "at": {"type": "timestamp"},
            "loaded_at": {"type": "timestamp"},
            "amount": {"type": "number", "range": [0, 1000]},
            "plan": {"type": "string", "categories": ["monthly", "annual"]},
            "nps": {"type": "number", "nullable": True, "max_null_share": 0.6},
        },
        "freshness": [{"column": "loaded_at", "max_age": "24h"}],
    }
    return Schema.model_validate(body | more)


def broken(table: pa.Table, declared: Schema | None = None) -> list[Check]:
    checks = validate(declared or schema(), table, "at", timedelta(days=1))
    return [check for check in checks if check.severity is Severity.critical]


def test_a_kept_contract_has_only_ok_checks() -> None:
    checks = validate(schema(), rows(), "at", timedelta(days=1))
    assert {check.severity for check in checks} == {Severity.ok}
    assert {check.subject for check in checks} >= {"id", "amount", "loaded_at"}


@pytest.mark.parametrize(
    ("column", "values", "said"),
    [
        ("amount", None, "missing"),
        ("amount", pa.nulls(100, pa.float64()), "all of its values in this window are null"),
        ("amount", ["1"] * 100, "is string, declared number"),
        ("amount", [None, *range(99)], "1 of 100 values are null"),
        ("amount", [float("nan"), *map(float, range(99))], "1 of 100 values are null"),
        ("amount", [-5.0] * 100, "declared at least 0"),
        ("amount", [5e6] * 100, "declared at most 1000"),
        ("plan", ["monthly", "weekly"] * 50, "'weekly', not among"),
        ("nps", [None] * 70 + [1.0] * 30, "70 of 100 values are null"),
        ("id", [1] * 100, "99 values are repeated"),
        ("loaded_at", [NOON - timedelta(hours=52)] * 100, "52.0 h old"),
    ],
)
def test_each_clause_breaks(column: str, values: Any, said: str) -> None:
    found = broken(rows(**{column: values}))
    assert [check.subject for check in found] == [column]
    assert said in found[0].detail


@pytest.mark.parametrize("values", [["yesterday"] * 100, [1.5] * 100, [True] * 100])
def test_load_times_that_are_none_break_the_contract_and_hide_nothing_else(values: Any) -> None:
    found = broken(rows(loaded_at=values, amount=[-5.0] * 100))
    assert [check.subject for check in found] == ["loaded_at", "amount", "loaded_at"]
    assert found[2].detail == "no row says when its source was loaded"


def test_integers_are_numbers_too() -> None:
    assert broken(rows(amount=list(range(100)))) == []


def test_added_columns_are_told_and_refused_where_declared() -> None:
    table = rows(extra=[1] * 100)
    assert broken(table) == []
    found = broken(table, schema(allow_added_columns=False))
    assert found[0].detail == "not declared: extra"


def test_the_row_count_has_a_band() -> None:
    assert broken(rows(), schema(rows_per_day=[50, 150])) == []
    assert "100 rows a day" in broken(rows(), schema(rows_per_day=[500, 1500]))[0].detail


def test_no_rows_at_all_break_a_row_count_that_asks_for_some() -> None:
    (found,) = none_came(schema(rows_per_day=[50, 150]), timedelta(days=1))
    assert (found.subject, found.severity, found.value, found.threshold) == ("rows_per_day", Severity.critical, 0, 50)
    assert none_came(schema(rows_per_day=[0, 150]), timedelta(days=1)) == []
    assert none_came(schema(), timedelta(days=1)) == []


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ({"type": "integer", "categories": ["1", "2"]}, "categories say nothing of type integer"),
        ({"type": "boolean", "categories": ["true"]}, "categories say nothing of type boolean"),
        ({"type": "string", "range": [0, 1]}, "range says nothing of type string"),
        ({"type": "timestamp", "range": [0, 1]}, "range says nothing of type timestamp"),
    ],
)
def test_a_clause_that_would_never_be_checked_is_refused(column: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        schema(columns={"loaded_at": {"type": "timestamp"}, "x": column})


def test_a_band_of_rows_that_no_day_can_keep_is_refused() -> None:
    with pytest.raises(ValueError, match=r"write \[50, 150\]"):
        schema(rows_per_day=[150, 50])
    with pytest.raises(ValueError, match=r"write \[0, 50\]"):
        schema(rows_per_day=[-1, 50])
