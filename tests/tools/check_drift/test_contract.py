"""Contract validation: each clause broken in turn."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from policies.declarations import Severity
from policies.declarations.drift import Schema
from tools.check_drift.contract import validate
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
