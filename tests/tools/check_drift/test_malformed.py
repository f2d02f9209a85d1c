"""Malformed data: never a traceback, never ok where nothing could be judged, and nothing half-written."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from policies.declarations import Severity
from policies.errors import InputError
from tests.tools.check_drift.world import BASE, NOW, World
from tools.check_drift import compare, large, profile
from tools.check_drift.result import DriftReport

CHECKS: list[dict[str, Any]] = [
    {"type": "data_drift", "method": "psi", "threshold": 0.2},
    {"type": "feature_drift", "method": "ks", "threshold": 0.2},
    {"type": "prediction_drift", "method": "kl_divergence", "threshold": 0.1},
    {"type": "label_drift", "method": "class_balance", "threshold": 0.05},
    {"type": "concept_drift", "method": "performance_decay", "metric": "auc_roc", "threshold": 0.05},
    {"type": "concept_drift", "method": "estimated_performance", "metric": "auc_roc", "threshold": 0.05},
    {"type": "concept_drift", "method": "adwin", "threshold": 0.1},
    {"type": "schema_drift", "method": "contract_validation", "expected_schema": "Rows"},
]
SCHEMA = {
    "columns": {
        "id": {"type": "integer", "unique": True},
        "at": {"type": "timestamp"},
        "x": {"type": "number"},
        "z": {"type": "number"},
        "kind": {"type": "string", "categories": ["a", "b"]},
    }
}

Change = Callable[[pd.DataFrame], pd.DataFrame]


def mixed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(x=["many" if i % 3 == 0 else str(v) for i, v in enumerate(rows["x"])])


BROKEN: dict[str, Change] = {
    "no rows": lambda rows: rows.head(0),
    "a constant column": lambda rows: rows.assign(x=4.0),
    "all nulls": lambda rows: rows.assign(x=np.nan),
    "all nulls without a type": lambda rows: rows.assign(x=pd.Series([None] * len(rows), dtype=object)),
    "infinities": lambda rows: rows.assign(x=np.where(np.arange(len(rows)) % 2, np.inf, -np.inf)),
    "mixed kinds as text": mixed,
    "dates as text": lambda rows: rows.assign(x=rows["at"].astype(str)),
    "time as text": lambda rows: rows.assign(at=rows["at"].astype(str)),
    "a category a row": lambda rows: rows.assign(kind=[f"k{i}" for i in range(len(rows))]),
    "numbers where there were categories": lambda rows: rows.assign(kind=np.arange(len(rows)) % 2),
    "lists": lambda rows: rows.assign(x=[[1.0, 2.0]] * len(rows)),
    "duplicate ids": lambda rows: rows.assign(id=7),
    "null ids": lambda rows: rows.assign(id=pd.Series([None] * len(rows), dtype="float64")),
    "a feature gone": lambda rows: rows.drop(columns="x"),
    "every feature gone": lambda rows: rows.drop(columns=["x", "z", "kind"]),
    "no time": lambda rows: rows.drop(columns="at"),
}


def broken_world(home: Path, change: Change, *, labelled: bool = True) -> World:
    world = World(home, CHECKS, schema=SCHEMA)
    world.settle()
    live = world.live()
    if labelled:
        world.write("labels.y", world.labels(live), "live")
    world.write("features.live", change(live))
    return world


def of(report: DriftReport, kind: str) -> list[Severity]:
    return [check.severity for check in report.checks if check.type == kind]


@pytest.mark.parametrize("case", BROKEN)
def test_broken_rows_are_a_finding_or_unknown_and_never_ok(tmp_path: Path, case: str) -> None:
    world = broken_world(tmp_path, BROKEN[case])
    report = world.check()
    assert report.severity is not Severity.ok
    assert report.status != "checked" or report.drift_detected
    assert all("Traceback" not in check.detail and "\n" not in check.detail for check in report.checks)
    stored = world.systems.store.get(report.report_id)
    assert DriftReport.model_validate(stored.body) == report
    assert not list(tmp_path.rglob("*.partial"))


def no_library_speaks(report: DriftReport) -> None:
    told = [check.detail for check in report.checks if re.search(r"[A-Za-z]+ ?(Error|Exception)\b", check.detail)]
    assert not told, told


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("recorded", [False, True], ids=["scored now", "as served"])
def test_why_a_check_failed_is_said_in_our_words(tmp_path: Path, case: str, recorded: bool) -> None:
    world = broken_world(tmp_path, BROKEN[case])
    if recorded:
        world.write("predictions.daily", said_of(world.live()))
    no_library_speaks(world.check())


def said_of(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[["id", "at"]].assign(model_version="1", score=1 / (1 + np.exp(-rows["x"])))


def as_text(column: str) -> Change:
    return lambda rows: rows.assign(**{column: rows[column].astype(str)})


@pytest.mark.parametrize(
    ("table", "change", "told"),
    [
        ("features.live", as_text("at"), "features.live: column 'at' holds VARCHAR, and must hold times"),
        (
            "features.live",
            lambda rows: rows.drop(columns="at"),
            "features.live: no column 'at'; present: id, x, z, kind",
        ),
        ("features.live", mixed, "features.live: column 'x' holds 'many', and must hold numbers"),
        ("features.baseline", as_text("at"), "features.baseline: column 'at' holds VARCHAR, and must hold times"),
        ("labels.y", as_text("at"), "labels.y: column 'at' holds VARCHAR, and must hold times"),
        ("labels.y", as_text("known_at"), "labels.y: column 'known_at' holds VARCHAR, and must hold times"),
        ("labels.y", as_text("id"), "labels.y: column 'id' holds VARCHAR, and must hold BIGINT, as features.live does"),
        ("labels.y", lambda rows: rows.drop(columns="y"), "labels.y: no column 'y'; present: id, at, known_at"),
        ("predictions.daily", as_text("at"), "predictions.daily: column 'at' holds VARCHAR, and must hold times"),
        (
            "predictions.daily",
            lambda rows: rows.assign(score="high"),
            "predictions.daily: column 'score' holds 'high', and must hold numbers",
        ),
        (
            "predictions.daily",
            lambda rows: rows.drop(columns="score"),
            "predictions.daily: no column 'score'; present: id, at, model_version",
        ),
    ],
)
def test_a_column_that_cannot_be_used_is_named_with_what_it_must_hold(
    tmp_path: Path, table: str, change: Change, told: str
) -> None:
    world = World(tmp_path, CHECKS, schema=SCHEMA)
    baseline, live = world.rows(BASE), world.live()
    tables = {
        "features.baseline": baseline,
        "features.live": live,
        "labels.y": pd.concat([world.labels(baseline), world.labels(live)]),
    }
    if table.startswith("predictions"):
        tables[table] = said_of(live)
    tables[table] = change(tables[table])
    for name, rows in tables.items():
        world.write(name, rows)
    report = world.check()
    no_library_speaks(report)
    assert f"failed: {told}" in {check.detail for check in report.checks if check.severity is Severity.unknown}


@pytest.mark.parametrize(
    "case", ["a constant column", "all nulls", "infinities", "mixed kinds as text", "dates as text"]
)
def test_a_broken_feature_is_found_by_data_drift_itself(tmp_path: Path, case: str) -> None:
    report = broken_world(tmp_path, BROKEN[case]).check()
    found = {check.subject for check in report.checks if check.found and check.type == "data_drift"}
    assert found == {"x"}, [(c.subject, c.detail) for c in report.checks]


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    world = World(tmp_path, CHECKS, schema=SCHEMA)
    world.settle()
    report = world.check()
    assert (report.status, report.severity) == ("failed", Severity.unknown)
    assert any("features.live" in check.detail for check in report.checks)


def test_missing_labels_are_unknown_where_labels_are_needed(tmp_path: Path) -> None:
    world = World(tmp_path, CHECKS, schema=SCHEMA)
    world.write("features.baseline", world.rows(BASE))
    world.write("features.live", world.live())
    report = world.check()
    assert report.status == "failed"
    assert set(of(report, "concept_drift") + of(report, "label_drift")) == {Severity.unknown}
    assert set(of(report, "data_drift")) == {Severity.ok}
    assert report.severity is Severity.unknown


@pytest.mark.parametrize("values", ["text", "null", "two", "infinite"])
def test_labels_of_another_kind_are_unknown(tmp_path: Path, values: str) -> None:
    world = World(tmp_path, CHECKS, schema=SCHEMA)
    baseline, live = world.rows(BASE), world.live()
    said = {"text": "yes", "null": np.nan, "two": 2.0, "infinite": np.inf}[values]
    world.write("features.baseline", baseline.assign(y=world.labels(baseline)["y"]))
    world.write("features.live", live)
    world.write("labels.y", world.labels(live).assign(y=said), "live")
    report = world.check()
    assert set(of(report, "label_drift")) == {Severity.unknown}
    assert Severity.ok not in of(report, "concept_drift")[:1]
    assert report.severity is not Severity.ok or values == "null"


@pytest.mark.parametrize("table", ["features/live", "features/baseline", "labels/y"])
def test_a_file_that_is_cut_off_is_unknown(tmp_path: Path, table: str) -> None:
    world = World(tmp_path, CHECKS, schema=SCHEMA)
    world.happen()
    path = tmp_path / "warehouse" / table / "rows.parquet"
    path = path if path.exists() else tmp_path / "warehouse" / table / "live.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    report = world.check()
    assert report.status == "failed"
    assert report.severity is not Severity.ok


def test_names_may_hold_anything(tmp_path: Path) -> None:
    odd = ['he said "x"', "naïve; DROP TABLE", "größe µ 数", "it's %s {0} $end", "select", "a.b"]
    features = {"numeric": odd, "categorical": ["kind"]}
    world = World(tmp_path, [CHECKS[0], CHECKS[1]], features=features)
    random = np.random.default_rng(0)
    for table, rows, shift in (("baseline", world.rows(BASE), 0.0), ("live", world.live(), 1.0)):
        named = rows.assign(**{name: random.normal(0, 1, len(rows)) for name in odd})
        named[odd[0]] += shift
        world.write(f"features.{table}", named)
    report = world.check()
    assert report.status == "checked"
    assert {c.subject for c in report.checks if c.found and c.method != "correlation"} == {odd[0]}
    assert set(odd) <= {check.subject for check in report.checks}


def test_a_timezone_that_changes_in_the_middle_is_read_as_utc(tmp_path: Path) -> None:
    world = World(tmp_path, [{**CHECKS[0], "window": "1d"}, CHECKS[1]])
    world.settle()
    live = world.live()
    first, second = live[live["at"] < NOW - timedelta(days=3)], live[live["at"] >= NOW - timedelta(days=3)]
    world.write("features.live", first, "first")
    berlin = pa.Table.from_pandas(second, preserve_index=False)
    zoned = berlin["at"].cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us", "Europe/Berlin"))
    world.write("features.live", berlin.set_column(1, "at", zoned), "second")
    report = world.check()
    assert (report.status, report.severity) == ("checked", Severity.ok)
    assert report.window.rows == len(live)
    assert all("4,200 against 600 rows" in check.detail for check in report.checks[:3])


CASES: dict[str, Any] = {
    "no rows": {"x": np.empty(0)},
    "constant": {"x": np.full(500, 2.0)},
    "nulls": {"x": np.full(500, np.nan)},
    "none": {"x": [None] * 500},
    "infinities": {"x": np.where(np.arange(500) % 2, np.inf, -np.inf)},
    "mixed": {"x": [1.5, "two", None, True, b"raw"] * 100},
    "dates as text": {"x": [f"2026-01-{i % 28 + 1:02d}" for i in range(500)]},
    "category a row": {"x": [f"k{i}" for i in range(500)]},
    "huge": {"x": np.full(500, 1e308)},
    "lists": {"x": [[1], [2]] * 250},
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("build", [pd.DataFrame, dict], ids=["pandas", "mapping"])
def test_profile_and_compare_take_anything(case: str, build: Callable[[Any], Any]) -> None:
    baseline = profile({"x": np.random.default_rng(1).normal(0, 1, 5000)})
    (change,) = compare(baseline, build(CASES[case]))
    assert change.reason
    if case == "no rows":
        assert not change.drifted
        assert np.isnan(change.psi)
    else:
        assert change.drifted, change
    again = profile(build(CASES[case]))
    assert again.rows == (0 if case == "no rows" else 500)
    same = compare(again, build(CASES[case]))
    assert not same[0].drifted


@pytest.mark.parametrize("case", ["text", "torn", "missing", "empty folder", "column"])
def test_unreadable_files_are_input_errors(tmp_path: Path, case: str) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"x": np.arange(10_000) * 0.5}), path)
    whole = path.read_bytes()
    if case == "text":
        path.write_text("x\n1\n")
    elif case == "torn":
        path.write_bytes(whole[: len(whole) // 2])
    elif case == "missing":
        path.unlink()
    elif case == "empty folder":
        path = tmp_path / "none"
        path.mkdir()
    with pytest.raises(InputError) as caught:
        profile(path, columns=["y"] if case == "column" else None)
    assert str(caught.value)


@pytest.mark.parametrize("rows", [0, 1, 2, 49])
def test_a_baseline_of_a_few_rows_says_nothing(tmp_path: Path, rows: int) -> None:
    world = World(tmp_path, CHECKS[:3])
    live = world.live(shift=9.0)
    world.write("features.live", live)
    world.write("features.baseline", world.rows(BASE).head(rows))
    report = world.check()
    assert report.severity is not Severity.ok
    assert not report.drift_detected
    for kind in ("data_drift", "feature_drift"):
        (check,) = [each for each in report.checks if each.type == kind]
        few = (
            f"only {rows} rows in the baseline, fewer than 50"
            if rows
            else "failed: features.baseline: the baseline has no rows"
        )
        assert (check.severity, check.value, check.detail) == (Severity.unknown, None, few)


@pytest.mark.parametrize("most", [1_000_000, 1_000])
def test_rows_that_came_twice_break_the_contract(tmp_path: Path, most: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "MOST_ROWS", most)
    plain = {"columns": {"x": {"type": "number"}}}
    world = World(tmp_path, [CHECKS[-1]], schema=plain)
    world.happen()
    assert world.check().severity is Severity.ok
    live = world.systems.warehouse.read("features.live").to_pandas()
    world.write("features.live", live, "again")
    report = world.check()
    assert report.severity is Severity.critical
    (check,) = [each for each in report.checks if each.found]
    assert (check.subject, check.value, check.threshold) == ("id", 0.5, 0.0)
    told = r"([\d,]+) of ([\d,]+) rows( looked at)? repeat the id of another at the same at"
    found = re.fullmatch(told, check.detail)
    assert found is not None
    again, rows = (int(found[i].replace(",", "")) for i in (1, 2))
    assert 2 * again == rows
    assert rows == 8_400 if most > 8_400 else 800 < rows < 1_200
    assert bool(found[3]) == (most < 8_400)
    assert report.diagnosis.kind == "pipeline"


def test_an_id_may_be_there_at_several_times(tmp_path: Path) -> None:
    world = World(tmp_path, [CHECKS[-1]], schema={"columns": {"x": {"type": "number"}}})
    world.settle()
    world.write("features.live", world.live().assign(id=7))
    assert world.check().severity is Severity.ok


def test_labels_of_no_row_are_named_and_not_counted(tmp_path: Path) -> None:
    world = World(tmp_path, [CHECKS[3]])
    world.settle()
    live = world.live()
    world.write("features.live", live.head(200))
    labels = world.labels(live)
    world.write("labels.y", labels.assign(y=np.arange(len(labels)) < 200), "live")
    (check,) = world.check().checks
    assert "200 of 200 rows labelled, by age " in check.detail
    assert f"; {len(live) - 200:,} labels belong to no row of features.live" in check.detail
    assert check.severity is Severity.critical  # of the labels that have a row all are true
