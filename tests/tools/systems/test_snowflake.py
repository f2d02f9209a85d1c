"""The Snowflake warehouse, by the vendor's connector on a fake: the same findings as on Parquet, SELECTs only."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from policies.declarations.binding import Labels
from policies.errors import InputError, SystemDown
from tests.snowflake import CONNECTOR, NEEDS_SNOWFLAKE, snowflake_url
from tests.tools.onboarding.tables import guardian, orders, written
from tools.systems.dialects import explained
from tools.systems.labels import known
from tools.systems.systems import warehouse_at
from tools.systems.warehouse import AnyWarehouse, Warehouse


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the fake answers with its own errors the connector asks again until its time is over."""
    monkeypatch.setattr("tools.systems.snowflake.STATEMENT_SECONDS", 20)


@pytest.mark.skipif(CONNECTOR, reason="the connector is installed here")
def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mlops-guardian\[snowflake\]"):
        warehouse_at(tmp_path, "snowflake://me@account/db/schema")


@pytest.fixture
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyWarehouse]:
    made = warehouse_at(tmp_path, snowflake_url(request.getfixturevalue("fakesnow")))
    made.append("ml.t", pa.table({"a": [1, 2, 3], "b": ["x", "y", None], 'C "ü" %': [0.5, np.nan, None]}), "first")
    yield made
    made.close()


class TestOnTheFake:
    pytestmark = NEEDS_SNOWFLAKE

    def test_rows_types_and_parameters(self, warehouse: AnyWarehouse) -> None:
        assert warehouse.query("SELECT a FROM ml.t WHERE b = $b", {"b": "x' OR 1=1 --", "unused": 1}).num_rows == 0
        assert warehouse.query("SELECT a, b LIKE '%y' AS l FROM ml.t WHERE b = $b", {"b": "y"}).to_pylist() == [
            {"a": 2, "l": True}
        ]
        assert warehouse.query("SELECT t.a FROM ml.t WHERE a > $x AND a > $y", {"x": 1.5, "y": 1})["a"].to_pylist() == [
            2,
            3,
        ]
        assert warehouse.read("ml.t").column_names == ["a", "b", 'C "ü" %']
        assert (warehouse.tables(), warehouse.exists("ml.t"), warehouse.exists("ml.u")) == (["ml.t"], True, False)
        assert warehouse.columns("ml.t") == {"a": "integer", "b": "text", 'C "ü" %': "float"}
        with pytest.raises(InputError, match=r"\$b has no value"):
            warehouse.query("SELECT a FROM ml.t WHERE b = $b")
        with pytest.raises(InputError, match=r"there is no table 'ml.u'; there are: ml.t"):
            warehouse.read("ml.u")
        with pytest.raises(InputError, match="more than 2 rows"):
            warehouse.query("SELECT a FROM ml.t", most_rows=2)
        warehouse.check("SELECT 1 / (a - a) FROM ml.t WHERE a < $a", {"a": 0.5})
        with pytest.raises(InputError, match="no_such_column") as found:
            warehouse.check("SELECT no_such_column FROM ml.t")
        assert "\n" not in str(found.value)

    @pytest.mark.parametrize(
        "sql",
        ["DROP TABLE ml.t", "SELECT 1; SELECT 2", "INSERT INTO ml.t VALUES (1)", "CALL p()", "USE ROLE sysadmin", ""],
    )
    def test_anything_but_one_select_is_refused(self, warehouse: AnyWarehouse, sql: str) -> None:
        for dialect in ("duckdb", "snowflake"):
            with pytest.raises(InputError):
                warehouse.query(sql, dialect=dialect)
        assert warehouse.read("ml.t").num_rows == 3

    def test_a_load_written_again_replaces_itself(self, warehouse: AnyWarehouse) -> None:
        zoned = pa.array([datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)] * 2, pa.timestamp("ns", "Europe/Berlin"))
        odd = pa.table({"x": [np.inf, -0.1], "t": zoned, "f": [True, None], "s": ["a'\"\\\n", "ü"], "i": [2**53, None]})
        warehouse.append("mine", odd, "one")
        warehouse.append("mine", odd.slice(0, 1), "two's")
        before = warehouse.fingerprint("mine")
        warehouse.append("mine", odd, "one")
        assert warehouse.fingerprint("mine") == before
        found = warehouse.query("SELECT * EXCLUDE (_load) FROM mine WHERE _load = 'one' ORDER BY x").to_pylist()
        at = datetime(2026, 1, 1, 12, 0, 0, 5)
        assert found == [
            {"x": -0.1, "t": at, "f": None, "s": "ü", "i": None},
            {"x": np.inf, "t": at, "f": True, "s": "a'\"\\\n", "i": 2**53},
        ]
        warehouse.append("mine", odd.slice(0, 0), "one")
        assert warehouse.read("mine", ["s"])["s"].to_pylist() == ["a'\"\\\n"]
        assert warehouse.fingerprint("mine") != before and "mine" in warehouse.tables()
        late = warehouse.query("SELECT s FROM mine WHERE t >= $t", {"t": at})
        assert late.num_rows == 1
        warehouse.withdraw("mine", "two's")
        assert not warehouse.exists("mine")

    def test_a_load_that_fails_leaves_what_was_there(self, warehouse: AnyWarehouse) -> None:
        with pytest.raises(SystemDown, match=r"ml\.t cannot be written: ") as found:
            warehouse.append("ml.t", pa.table({"a": [9], "no such": ["x"]}), "first")
        assert "\n" not in str(found.value) and "secret" not in str(found.value)
        assert sorted(warehouse.read("ml.t", ["a"])["a"].to_pylist()) == [1, 2, 3]

    def test_every_query_of_ours_runs(self, warehouse: AnyWarehouse) -> None:
        times = pd.date_range(datetime(2026, 1, 1), periods=48, freq="h").astype("datetime64[us]")
        table = pa.table({"t": times, "a": times + pd.Timedelta(hours=3), "v": [True, False] * 24, "id": range(48)})
        warehouse.append("ml.l", table, "all")
        told = known(Labels(table="ml.l", id="id", time="t", value="v", arrived="a"), "$by")
        asked = {
            "SELECT quantile_cont((epoch(a) - epoch(t)) / 86400, [0.5, 0.9]) AS q FROM ml.l": [[0.125, 0.125]],
            "SELECT quantile_cont(epoch(a), [0.5, 0.9]) AS q FROM ml.l WHERE id < 0": [None],
            "SELECT quantile_cont(epoch(a - t), 0.99) AS q FROM ml.l": [10800.0],
            "SELECT avg(CAST(v AS DOUBLE)) AS q FROM ml.l": [0.5],
            "SELECT date_diff('second', t, a) / 3600.0 AS q FROM ml.l LIMIT 1": [3.0],
            "SELECT v, count(*) AS q FROM ml.l GROUP BY ALL ORDER BY v": [24, 24],
            "SELECT count(*) AS q FROM ml.l WHERE CAST(t AS DATE) = DATE '2026-01-02'": [24],
            "SELECT CAST(floor(epoch(a - t) / 7200) AS BIGINT) AS q FROM ml.l LIMIT 1": [1],
            "SELECT CAST(floor(epoch(a - $by) / 7200) AS BIGINT) AS q FROM ml.l ORDER BY a LIMIT 1": [-11],
            f"SELECT count(*) AS q FROM {told}": [22],
        }
        for sql, wanted in asked.items():
            assert warehouse.query(sql, {"by": datetime(2026, 1, 2)})["q"].to_pylist() == wanted, sql

    def test_the_same_check_finds_the_same_on_both_engines(
        self, fakesnow: int, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        frame = orders(6000)
        frame["x"] = frame["x"] + (frame["created_at"] >= "2026-02-20") * 0.8
        frame["far"] = 1e6 + frame["y"]
        frame.loc[::9, "y"] = np.nan
        folder, url = tmp_path / "w", snowflake_url(fakesnow)
        common = ["--ignore", "grade,amount", "--dir", str(folder)]
        frame["said"] = 0.3 + 0.4 * (frame["late"] == "yes")
        guardian(
            capsys, "init", "--data", str(written(frame, tmp_path)), "--target", "late", "--prediction", "said", *common
        )
        monkeypatch.chdir(folder)
        files, copy = Warehouse(folder / "warehouse"), warehouse_at(folder, url)
        for table in files.tables():
            copy.append(table, files.read(table), "all")
        copy.close()
        reports = {}
        for engine, where in (("parquet", "warehouse"), ("snowflake", url)):
            monkeypatch.setenv("GUARDIAN_WAREHOUSE_URL", where)
            assert guardian(capsys, "validate").code == 0
            reports[engine] = [
                guardian(capsys, "check-drift", "OrdersDrift", "--at", at, "--json").json
                for at in ("2026-02-19", "2026-03-01", "2026-03-09")
            ]
        for one, other in zip(reports["parquet"], reports["snowflake"], strict=True):
            assert (one["status"], one["severity"]) == (other["status"], other["severity"]), [
                each["detail"] for each in other["checks"] if each["severity"] == "unknown"
            ]
            assert [each["detail"] for each in one["checks"]] == [each["detail"] for each in other["checks"]]
            for ours, theirs in zip(one["checks"], other["checks"], strict=True):
                for name, precision in (("value", 1e-9), ("p_value", 1e-6)):
                    near = None if theirs[name] is None else pytest.approx(theirs[name], rel=precision, abs=1e-12)
                    assert ours[name] == near, ours["subject"]
                assert ours["severity"] == theirs["severity"]
        checks = reports["parquet"][1]["checks"]
        assert any(each["subject"] == "x" and each["severity"] == "critical" for each in checks)
        shown = guardian(capsys, "check-drift", "OrdersDrift", "--at", "2026-03-01", "--explain", "--json").json
        assert shown["dialect"] == "snowflake"
        assert any("UNPIVOT" in each and ":start" in each for each in shown["queries"])


@pytest.mark.skipif(not CONNECTOR, reason="the extra snowflake is not installed")
def test_a_wrong_address_and_a_server_that_is_not_there_are_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong, told in (
        ("snowflake://account/db", "is not the address of a Snowflake database"),
        ("snowflake://me@account", "is not the address of a Snowflake database"),
        ("snowflake://me@account/db?schema=x", "'schema' is no setting"),
    ):
        with pytest.raises(InputError, match=told):
            warehouse_at(tmp_path, wrong)
    monkeypatch.setattr("tools.systems.snowflake._CONNECT_SECONDS", 2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = snowflake_url(server.getsockname()[1])
    with pytest.raises(SystemDown, match="cannot be reached") as found:
        warehouse_at(tmp_path, url).tables()
    assert "secret" not in str(found.value) and "\n" not in str(found.value)


def test_numbers_of_six_decimals_are_avoided() -> None:
    sql = "SELECT a / b AS q, avg(c) AS m, CAST(v AS DOUBLE) AS d, hash(id) AS h FROM ml.t WHERE list_contains($k, s)"
    text = " ".join(explained(sql, "snowflake").split()).replace("( ", "(").replace(" )", ")")
    assert 'CAST(("a") AS DOUBLE) / "b"' in text and 'AVG(CAST(("c") AS DOUBLE))' in text
    assert 'CAST(TO_VARIANT("v") AS DOUBLE)' in text and '(HASH("id") + 9223372036854775808)' in text
    assert 'FROM "ML"."T" AS "t"' in text and ":k" in text
