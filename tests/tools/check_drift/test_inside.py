"""Profiles computed inside an engine are those that Python computes from the same rows."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from policies.declarations.drift import Schema
from tools.check_drift.categorical import CategorySummary
from tools.check_drift.comparison import compare
from tools.check_drift.contract import judge
from tools.check_drift.contract_facts import inside, of_arrow, repeats
from tools.check_drift.inside import profile_inside
from tools.check_drift.numeric import NumericSummary, exact_centre
from tools.check_drift.profiles import Profile, profile
from tools.systems.warehouse import AnyWarehouse


@pytest.fixture
def warehouse(engine: AnyWarehouse) -> AnyWarehouse:
    return engine


def _table(rows: int, seed: int, shift: float = 0.0) -> pa.Table:
    random = np.random.default_rng(seed)
    normal = random.normal(shift, 1, rows)
    odd = normal.copy()
    odd[::7], odd[1::11], odd[2::13], odd[3::17] = np.nan, np.inf, -np.inf, -0.0
    odd[4::19], odd[5::23] = 1e308, -1e-300
    frame = pd.DataFrame(
        {
            "normal": normal,
            "far": 1e6 + random.exponential(size=rows),
            "skewed": random.lognormal(3, 2, rows),
            "whole": random.poisson(3, rows),
            "huge": random.integers(0, 2**53, rows),
            "odd": odd,
            "constant": 7.0,
            "late": np.where(random.random(rows) < 0.4, 0.0, 1.7e9 + random.normal(3000 * shift, 1000, rows)),
            "price": np.round(random.lognormal(3, 0.2, rows) / 5) * 5 - 0.01,
            "void": np.full(rows, np.nan),
            "code": random.integers(0, 40, rows) / 4,
            "kind": random.choice(["a", "b", "ü", None], rows),
            "x": normal,
            "i": random.choice(["p", "q"], rows),
            "v": random.choice(["p", "q"], rows),
            "many": [f"k{i}" for i in random.zipf(1.3, rows) % 3000],
            "store": [f"Größe {i}" for i in random.integers(0, 3000, rows)],
            "flag": random.random(rows) < 0.3,
            "at": pd.Timestamp("2026-01-01") + pd.to_timedelta(random.random(rows) * 1e6, unit="s").round("us"),
        }
    )
    return pa.Table.from_pandas(frame, preserve_index=False)


def _same(ours: Profile, theirs: Profile) -> None:
    assert ours.rows == theirs.rows
    for name, one in ours.columns.items():
        other = theirs.columns[name]
        assert type(one) is type(other), name
        if isinstance(one, CategorySummary):
            assert one == other, name
            continue
        assert isinstance(other, NumericSummary) and isinstance(one, NumericSummary)
        assert one.centre == other.centre, name
        for part in ("ranks", "counts", "edges", "edge_shares", "cuts", "cut_counts"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part), err_msg=f"{name} {part}")
        for part in ("nulls", "pos_inf", "neg_inf", "minimum", "maximum", "integral"):
            np.testing.assert_equal(getattr(one, part), getattr(other, part), err_msg=f"{name} {part}")
        np.testing.assert_allclose([one.total, one.squares], [other.total, other.squares], rtol=1e-9, atol=1e-6)


def test_the_same_profile_and_the_same_statistics(warehouse: AnyWarehouse) -> None:
    before, now = _table(5000, 1), _table(3000, 2, shift=0.4)
    names = before.column_names
    warehouse.append("p.before", before, "all")
    warehouse.append("p.now", now, "all")
    numbers = [name for name in names if name not in ("code", "kind", "many", "store", "flag", "at", "i", "v")]
    centres = {name: exact_centre(before[name].to_numpy().astype(float)) for name in numbers}
    centres["at"] = exact_centre(before["at"].cast(pa.timestamp("us")).cast("int64").to_numpy() / 1e6)
    ours = profile(before, categorical=["code"], centres=centres)
    theirs = profile_inside(warehouse, "p.before", None, {}, names, categorical=["code"])
    _same(ours, theirs)
    ours_now = profile(now, like=ours)
    theirs_now = profile_inside(warehouse, "p.now", None, {}, names, like=theirs)
    _same(ours_now, theirs_now)
    assert sum(theirs.columns["store"].rest) == theirs.columns["store"].other > 0
    for one, other in zip(compare(ours, ours_now), compare(theirs, theirs_now), strict=True):
        assert one.column == other.column
        for statistic in ("psi", "js", "kl", "ks"):
            np.testing.assert_allclose(
                getattr(one, statistic), getattr(other, statistic), rtol=1e-9, err_msg=one.column
            )


def test_part_of_a_table_and_none_of_it(warehouse: AnyWarehouse) -> None:
    table = _table(2000, 3)
    warehouse.append("p.t", table, "all")
    some = profile_inside(warehouse, "p.t", '"whole" > $least', {"least": 2}, ["whole", "kind"])
    kept = table.filter(pa.compute.greater(table["whole"], 2)).select(["whole", "kind"])
    _same(profile(kept, centres={"whole": exact_centre(kept["whole"].to_numpy().astype(float))}), some)
    empty = profile_inside(warehouse, "p.t", '"whole" > $least', {"least": 10**6}, ["whole", "kind"], like=some)
    assert (empty.rows, [each.rows for each in empty.columns.values()]) == (0, [0, 0])


def test_a_contract_is_judged_by_the_same_facts(warehouse: AnyWarehouse) -> None:
    table = _table(2000, 4)
    loaded = pa.array(table["at"].to_pandas() - pd.to_timedelta(np.arange(2000) % 40, unit="h"), pa.timestamp("us"))
    table = table.append_column("loaded_at", loaded).append_column("nr", pa.array([*range(1999), 7]))
    warehouse.append("p.t", table, "all")
    schema = Schema.model_validate(
        {
            "columns": {
                "normal": {"type": "number", "range": [-1, None]},
                "whole": {"type": "integer", "range": [0, 5]},
                "odd": {"type": "number", "nullable": True, "max_null_share": 0.1},
                "kind": {"type": "string", "nullable": True, "categories": ["a", "b"]},
                "flag": {"type": "boolean"},
                "void": {"type": "number"},
                "nr": {"type": "integer", "unique": True},
                "gone": {"type": "string"},
                "far": {"type": "string"},
                "at": {"type": "timestamp"},
                "loaded_at": {"type": "timestamp"},
            },
            "rows_per_day": [10, 20],
            "freshness": [{"column": "loaded_at", "max_age": "24h"}],
            "allow_added_columns": False,
        }
    )
    ours = judge(schema, of_arrow(schema, table, "at"), timedelta(days=12))
    theirs = judge(schema, inside(schema, warehouse, "p.t", "true", {}, "at"), timedelta(days=12))
    assert [(each.subject, each.severity, each.detail) for each in ours] == [
        (each.subject, each.severity, each.detail) for each in theirs
    ]
    values = [[np.nan if each.value is None else each.value for each in side] for side in (ours, theirs)]
    np.testing.assert_allclose(*values, rtol=1e-9)
    assert sum(each.severity == "critical" for each in ours) == 11


def test_rows_that_came_twice_are_counted(warehouse: AnyWarehouse) -> None:
    ids = pa.array([1, 1, 2, 3, None, None])
    at = pa.array(pd.to_datetime(["2026-01-01", "2026-01-02", *["2026-01-01"] * 4]), pa.timestamp("us"))
    warehouse.append("p.t", pa.table({"id": ids, "at": at}), "once")
    assert repeats(warehouse, "p.t", "id", "at", "true", {}) == (4, 0)
    warehouse.append("p.t", pa.table({"id": ids, "at": at}).slice(0, 3), "again")
    assert repeats(warehouse, "p.t", "id", "at", "true", {}) == (7, 3)
    assert repeats(warehouse, "p.t", "id", "at", '"id" > $least', {"least": 1}) == (3, 1)
    assert repeats(warehouse, "p.t", "id", "at", '"id" > $least', {"least": 9}) == (0, 0)
