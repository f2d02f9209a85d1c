"""The Spark warehouse: the same findings as on Parquet, SELECTs only, and an end to what takes too long."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from policies.declarations.binding import Labels
from policies.errors import InputError, SystemDown
from tests.spark import INSTALLED, spark_url, spark_warehouse
from tests.tools.onboarding.tables import guardian, orders, written
from tools.systems.labels import known
from tools.systems.systems import warehouse_at
from tools.systems.warehouse import AnyWarehouse


@pytest.mark.skipif(INSTALLED, reason="pyspark is installed here")
def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mlops-guardian\[spark\]"):
        warehouse_at(tmp_path, "spark:local[2]")


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AnyWarehouse]:
    if importlib.util.find_spec("pyspark") is None:
        pytest.skip("the extra spark is not installed")
    made = spark_warehouse(tmp_path_factory.mktemp("spark"))
    made.append("ml.t", pa.table({"a": [1, 2, 3], "b": ["x", "y", None], 'C "ü" %': [0.5, np.nan, None]}), "first")
    yield made
    made.close()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_rows_types_and_parameters(warehouse: AnyWarehouse) -> None:
    assert warehouse.query("SELECT a FROM ml.t WHERE b = $b", {"b": "x' OR 1=1 --", "unused": 1}).num_rows == 0
    assert warehouse.query("SELECT a, b LIKE '%y' AS l FROM ml.t WHERE b = $b", {"b": "y"}).to_pylist() == [
        {"a": 2, "l": True}
    ]
    assert (warehouse.tables(), warehouse.exists("ml.t"), warehouse.exists("ml.u")) == (["ml.t"], True, False)
    assert warehouse.columns("ml.t") == {"a": "bigint", "b": "string", 'C "ü" %': "double"}
    warehouse.append("ml.t2", pa.table({"a": [9], "b": ["z"]}), "first")
    assert warehouse.read("ml.t2", ["a"])["a"].to_pylist() == [9]
    warehouse.append("ml.t2", pa.table({"a": [10, 11], "b": ["z", "z"]}), "first")
    assert warehouse.read("ml.t2", ["a"])["a"].to_pylist() == [10, 11]
    warehouse.withdraw("ml.t2", "first")
    assert not warehouse.exists("ml.t2")
    with pytest.raises(InputError, match=r"there is no table 'ml.u'; there are: ml.t"):
        warehouse.query("SELECT * FROM ml.u")
    with pytest.raises(InputError, match="no_such_column"):
        warehouse.check("SELECT no_such_column FROM ml.t")
    with pytest.raises(InputError, match="CAST_INVALID_INPUT"):
        warehouse.query("SELECT CAST(b AS INTEGER) AS n FROM ml.t")
    with pytest.raises(InputError, match="more than 2 rows"):
        warehouse.query("SELECT a FROM ml.t", most_rows=2)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "sql",
    ["DROP TABLE ml.t", "SELECT 1; SELECT 2", "INSERT INTO ml.t VALUES (1)", "SELECT * FROM parquet.`/etc`", ""],
)
def test_anything_but_one_select_is_refused(warehouse: AnyWarehouse, sql: str) -> None:
    with pytest.raises(InputError):
        warehouse.query(sql)
    assert warehouse.read("ml.t").num_rows == 3


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_catalog_s_tables_are_read_and_written_by_loads(warehouse: AnyWarehouse, tmp_path: Path) -> None:
    catalog = warehouse_at(tmp_path, "spark:local[2]")
    catalog.append("cat.t", pa.table({"a": [1, 2], "at": [datetime(2026, 1, 1), None]}), "one")
    catalog.append("cat.t", pa.table({"a": [3], "at": [datetime(2026, 1, 2, 3)]}), "two's")
    catalog.append("cat.t", pa.table({"a": [7], "at": [datetime(2026, 1, 1)]}), "one")
    assert sorted(catalog.read("cat.t")["a"].to_pylist()) == [3, 7]
    assert catalog.columns("cat.t") == {"a": "bigint", "at": "timestamp_ntz"}
    before = catalog.fingerprint("cat.t")
    late = catalog.query("SELECT a FROM cat.t WHERE at >= $start", {"start": datetime(2026, 1, 2, 3)})
    assert late["a"].to_pylist() == [3] and "cat.t" in catalog.tables()
    catalog.withdraw("cat.t", "two's")
    assert catalog.fingerprint("cat.t") != before
    with pytest.raises(InputError):
        catalog.query("SELECT * FROM parquet.`/etc`")
    catalog.withdraw("cat.t", "one")
    assert not catalog.exists("cat.t")


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_every_query_of_ours_runs_on_spark(warehouse: AnyWarehouse) -> None:
    times = pd.date_range(datetime(2026, 1, 1), periods=48, freq="h").astype("datetime64[us]")
    table = pa.table({"t": times, "a": times + pd.Timedelta(hours=3), "v": [True, False] * 24, "id": range(48)})
    warehouse.append("ml.l", table, "all")
    told = known(Labels(table="ml.l", id="id", time="t", value="v", arrived="a"), "$by")
    asked = {
        "SELECT quantile_cont((epoch(a) - epoch(t)) / 86400, [0.5, 0.9]) AS q FROM ml.l": [[0.125, 0.125]],
        "SELECT avg(CAST(v AS DOUBLE)) AS q FROM ml.l": [0.5],
        "SELECT date_diff('second', t, a) / 3600.0 AS q FROM ml.l LIMIT 1": [3.0],
        "SELECT v, count(*) AS q FROM ml.l GROUP BY ALL ORDER BY v": [24, 24],
        "SELECT count(*) AS q FROM ml.l WHERE hash(id, t) / 18446744073709551616.0 < 1.0": [48],
        "SELECT count(*) AS q FROM ml.l WHERE CAST(t AS DATE) = DATE '2026-01-02'": [24],
        "SELECT CAST(floor(epoch(a - t) / 7200) AS BIGINT) AS q FROM ml.l LIMIT 1": [1],
        f"SELECT count(*) AS q FROM {told}": [22],
    }
    for sql, wanted in asked.items():
        assert warehouse.query(sql, {"by": datetime(2026, 1, 2)})["q"].to_pylist() == wanted, sql


@pytest.mark.skipif(not INSTALLED, reason="the extra spark is not installed")
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_same_check_finds_the_same_on_both_engines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = orders(6000)
    frame["x"] = frame["x"] + (frame["created_at"] >= "2026-02-20") * 0.8
    frame["far"] = 1e6 + frame["y"]
    frame.loc[::9, "y"] = np.nan
    folder = tmp_path / "w"
    common = ["--ignore", "grade,amount", "--dir", str(folder)]
    frame["said"] = 0.3 + 0.4 * (frame["late"] == "yes")
    guardian(
        capsys, "init", "--data", str(written(frame, tmp_path)), "--target", "late", "--prediction", "said", *common
    )
    monkeypatch.chdir(folder)
    reports = {}
    for engine, where in (("parquet", "warehouse"), ("spark", spark_url(folder).replace("files", "warehouse"))):
        monkeypatch.setenv("GUARDIAN_WAREHOUSE_URL", where)
        assert guardian(capsys, "validate").code == 0
        reports[engine] = [
            guardian(capsys, "check-drift", "OrdersDrift", "--at", at, "--json").json
            for at in ("2026-02-19", "2026-03-01")
        ]
    for one, other in zip(reports["parquet"], reports["spark"], strict=True):
        assert (one["status"], one["severity"]) == (other["status"], other["severity"]), other["checks"]
        assert [each["detail"] for each in one["checks"]] == [each["detail"] for each in other["checks"]]
        for ours, theirs in zip(one["checks"], other["checks"], strict=True):
            for name, precision in (("value", 1e-9), ("p_value", 1e-6)):
                near = None if theirs[name] is None else pytest.approx(theirs[name], rel=precision, abs=1e-12)
                assert ours[name] == near, ours["subject"]
            assert ours["severity"] == theirs["severity"]
    assert any(each["subject"] == "x" and each["severity"] == "critical" for each in reports["parquet"][1]["checks"])
    said = guardian(capsys, "check-drift", "OrdersDrift", "--at", "2026-03-01", "--explain", "--dialect", "databricks")
    assert said.code == 0 and ":start" in said.out and "STACK(" in said.out.upper()


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_query_beyond_its_time_is_ended_and_the_next_one_answers(
    warehouse: AnyWarehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = "SELECT count_if(sha2(CAST(id AS STRING), 512) = 'x') AS n FROM range(1000000000000)"
    for seconds in (0.01, 3):  # while it is planned, and while it runs
        with pytest.raises(InputError, match="took longer than it may"):
            warehouse.query(endless, dialect="spark", seconds=seconds)
        assert warehouse.query("SELECT count(*) AS n FROM ml.t")["n"].to_pylist() == [3]
    monkeypatch.setattr("tools.systems.spark.STATEMENT_SECONDS", 0.5)
    with pytest.raises(SystemDown, match=r"gave up a query after 0\.5 s"):
        warehouse.query(endless, dialect="spark")
