"""The BigQuery warehouse, by Google's client on a fake: the same findings as on Parquet, SELECTs only."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from policies.declarations.binding import Labels
from policies.errors import InputError, SystemDown
from tests.bigquery import INSTALLED, NEEDS_BIGQUERY, bigquery_url
from tests.fakes.bigquery_server import BigQueryServer, Refused
from tests.tools.onboarding.tables import guardian, orders, written
from tools.systems.dialects import explained
from tools.systems.labels import known
from tools.systems.systems import warehouse_at
from tools.systems.warehouse import AnyWarehouse, Warehouse


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What fails is tried again for so long."""
    monkeypatch.setattr("tools.systems.bigquery._CONNECT_SECONDS", 2.0)


@pytest.mark.skipif(INSTALLED, reason="the client is installed here")
def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mlops-guardian\[bigquery\]"):
        warehouse_at(tmp_path, "bigquery://project/dataset")


@pytest.fixture
def warehouse(bigquery: BigQueryServer, tmp_path: Path) -> Iterator[AnyWarehouse]:
    made = warehouse_at(tmp_path, bigquery_url())
    made.append("ml.t", pa.table({"a": [1, 2, 3], "b": ["x", "y", None], "C ü %": [0.5, np.nan, None]}), "first")
    yield made
    made.close()


class TestOnTheFake:
    pytestmark = NEEDS_BIGQUERY

    def test_rows_types_and_parameters(self, warehouse: AnyWarehouse) -> None:
        assert warehouse.query("SELECT a FROM ml.t WHERE b = $b", {"b": "x' OR 1=1 --", "unused": 1}).num_rows == 0
        assert warehouse.query("SELECT a, b LIKE '%y' AS l FROM ml.t WHERE b = $b", {"b": "y"}).to_pylist() == [
            {"a": 2, "l": True}
        ]
        found = warehouse.query("SELECT t.a FROM ml.t WHERE a > $x AND a > $y", {"x": 1.5, "y": 1})
        assert sorted(found["a"].to_pylist()) == [2, 3]
        assert warehouse.read("ml.t").column_names == ["a", "b", "C ü %"]
        assert (warehouse.tables(), warehouse.exists("ml.t"), warehouse.exists("ml.u")) == (["ml.t"], True, False)
        assert warehouse.columns("ml.t") == {"a": "integer", "b": "string", "C ü %": "double"}
        with pytest.raises(InputError, match=r"\$b has no value"):
            warehouse.query("SELECT a FROM ml.t WHERE b = $b")
        with pytest.raises(InputError, match=r"there is no table 'ml.u'; there are: ml.t"):
            warehouse.read("ml.u")
        with pytest.raises(InputError, match="more than 2 rows"):
            warehouse.query("SELECT a FROM ml.t", most_rows=2)
        with pytest.raises(InputError, match="Not found"):
            warehouse.query("SELECT a FROM ml.u")
        warehouse.check("SELECT 1 / (a - a) FROM ml.t WHERE a < $a", {"a": 0.5})
        with pytest.raises(InputError, match="no_such_column") as found_fault:
            warehouse.check("SELECT no_such_column FROM ml.t")
        assert "\n" not in str(found_fault.value) and "Job ID" not in str(found_fault.value)

    @pytest.mark.parametrize(
        "sql",
        [
            "DROP TABLE ml.t",
            "SELECT 1; SELECT 2",
            "INSERT INTO ml.t VALUES (1)",
            "CALL p()",
            "EXPORT DATA AS SELECT 1",
            "",
        ],
    )
    def test_anything_but_one_select_is_refused(self, warehouse: AnyWarehouse, sql: str) -> None:
        for dialect in ("duckdb", "bigquery"):
            with pytest.raises(InputError):
                warehouse.query(sql, dialect=dialect)
        assert warehouse.read("ml.t").num_rows == 3

    def test_a_load_written_again_replaces_itself(self, warehouse: AnyWarehouse, bigquery: BigQueryServer) -> None:
        zoned = pa.array([datetime(2026, 1, 1, 12, 0, 0, 5, tzinfo=UTC)] * 2, pa.timestamp("ns", "Europe/Berlin"))
        odd = pa.table(
            {
                "x": [np.inf, -0.1], "t": zoned, "f": [True, None], "s": ["a'\"\\\n", "ü"], "i": [2**53, None],
                "d": [date(2026, 1, 2), None],
            }
        )  # fmt: skip
        warehouse.append("mine", odd, "one")
        warehouse.append("mine", odd.slice(0, 1), "two's")
        before = warehouse.fingerprint("mine")
        warehouse.append("mine", odd, "one")
        found = warehouse.query("SELECT * EXCLUDE (_load) FROM mine WHERE _load = 'one' ORDER BY x").to_pylist()
        at = datetime(2026, 1, 1, 12, 0, 0, 5)
        assert found == [
            {"x": -0.1, "t": at, "f": None, "s": "ü", "i": None, "d": None},
            {"x": np.inf, "t": at, "f": True, "s": "a'\"\\\n", "i": 2**53, "d": date(2026, 1, 2)},
        ]
        warehouse.append("mine", odd.slice(0, 0), "one")
        assert warehouse.read("mine", ["s"])["s"].to_pylist() == ["a'\"\\\n"]
        assert warehouse.fingerprint("mine") != before and warehouse.tables() == ["mine", "ml.t"]
        late = warehouse.query("SELECT s FROM mine WHERE t >= $t AND t <= least($t, $u)", {"t": at, "u": at})
        assert late.num_rows == 1
        warehouse.withdraw("mine", "two's")
        assert not warehouse.exists("mine")
        warehouse.withdraw("mine", "two's")
        left = [
            each
            for project in bigquery.projects.values()
            for each in project.database.sql("SHOW ALL TABLES").fetchall()
        ]
        assert not any("_guardian_" in str(each) for each in left)

    def test_a_large_load_is_sent_in_parts_and_read_in_pages(
        self, warehouse: AnyWarehouse, bigquery: BigQueryServer
    ) -> None:
        values = np.random.default_rng(1).normal(size=700_000)
        warehouse.append("big", pa.table({"x": values}), "all")
        assert "POST upload resumable" in bigquery.asked
        bigquery.page = 7
        found = warehouse.query("SELECT x FROM big ORDER BY x LIMIT 50")
        assert found["x"].to_pylist() == np.sort(values)[:50].tolist()
        assert sum("GET" in each and "/queries/" in each for each in bigquery.asked) >= 7

    def test_a_load_that_fails_leaves_what_was_there(self, warehouse: AnyWarehouse) -> None:
        with pytest.raises(SystemDown, match=r"ml\.t cannot be written: ") as found:
            warehouse.append("ml.t", pa.table({"a": [9], "no such": ["x"]}), "first")
        assert "\n" not in str(found.value) and "http" not in str(found.value)
        assert sorted(warehouse.read("ml.t", ["a"])["a"].to_pylist()) == [1, 2, 3]
        with pytest.raises(SystemDown, match=r"ml\.u cannot be written: Invalid field name"):
            warehouse.append("ml.u", pa.table({'a "quoted" name': [9]}), "first")

    def test_a_view_changes_with_its_rows(self, warehouse: AnyWarehouse, bigquery: BigQueryServer) -> None:
        next(iter(bigquery.projects.values())).database.execute("CREATE VIEW ml.v AS SELECT a, b FROM ml.t")
        assert warehouse.columns("ml.v") == {"a": "integer", "b": "string"}
        before = warehouse.fingerprint("ml.v")
        assert before == warehouse.fingerprint("ml.v")
        warehouse.append("ml.t", pa.table({"a": [4], "b": ["x"], "C ü %": [0.5]}), "second")
        assert warehouse.fingerprint("ml.v") != before

    def test_a_long_query_is_waited_for(self, warehouse: AnyWarehouse, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tools.systems.bigquery._CONNECT_SECONDS", 0.5)
        monkeypatch.setattr("tools.systems.bigquery._CALL_SECONDS", 0.5)
        long = "SELECT count(*) AS n FROM ml.t a" + "".join(f", ml.t t{i}" for i in range(18))
        before = time.monotonic()
        assert warehouse.query(long)["n"].to_pylist() == [3**19]
        assert time.monotonic() - before > 0.6

    @pytest.mark.parametrize("patient", [False, True])
    def test_a_query_that_takes_too_long_is_given_up(
        self, warehouse: AnyWarehouse, bigquery: BigQueryServer, monkeypatch: pytest.MonkeyPatch, patient: bool
    ) -> None:
        bigquery.patient = patient
        long = "SELECT count(*) AS n FROM ml.t a, ml.t b" + "".join(f", ml.t t{i}" for i in range(26))
        before = time.monotonic()
        with pytest.raises(InputError, match="took longer than it may"):
            warehouse.query(long, seconds=1)
        monkeypatch.setattr("tools.systems.bigquery.STATEMENT_SECONDS", 1.0)
        with pytest.raises(SystemDown, match="gave up a query"):
            warehouse.query(long)
        assert time.monotonic() - before < 20
        assert sum(each.endswith("/cancel") for each in bigquery.asked) >= 2 * patient
        bigquery.patient = True
        monkeypatch.setattr("tools.systems.bigquery.STATEMENT_SECONDS", 60.0)
        assert warehouse.query("SELECT count(*) AS n FROM ml.t")["n"].to_pylist() == [3]

    @pytest.mark.parametrize(
        ("refused", "kind", "told"),
        [
            (Refused(403, "accessDenied", "Access Denied: Table ml.t: may not"), SystemDown, "Access Denied"),
            (Refused(403, "quotaExceeded", "Quota exceeded: too much"), SystemDown, "Quota exceeded"),
            (Refused(400, "invalidQuery", "Unrecognized name: x at [1:8]"), InputError, "Unrecognized name"),
        ],
    )
    def test_googles_refusals_are_told_in_a_line(
        self, warehouse: AnyWarehouse, bigquery: BigQueryServer, refused: Refused, kind: type[Exception], told: str
    ) -> None:
        bigquery.refusals.append(refused)
        with pytest.raises(kind, match=told) as found:
            warehouse.query("SELECT a FROM ml.t")
        assert "\n" not in str(found.value) and "http" not in str(found.value)

    def test_what_passes_is_tried_again(self, warehouse: AnyWarehouse, bigquery: BigQueryServer) -> None:
        bigquery.refusals.append(Refused(503, "backendError", "Service unavailable"))
        assert warehouse.query("SELECT count(*) AS n FROM ml.t")["n"].to_pylist() == [3]

    def test_every_query_of_ours_runs(self, warehouse: AnyWarehouse) -> None:
        times = pd.date_range(datetime(2026, 1, 1), periods=48, freq="h").astype("datetime64[us]")
        table = pa.table({"t": times, "a": times + pd.Timedelta(hours=3), "v": [True, False] * 24, "id": range(48)})
        warehouse.append("ml.l", table, "all")
        told = known(Labels(table="ml.l", id="id", time="t", value="v", arrived="a"), "$by")
        asked = {
            "SELECT quantile_cont((epoch(a) - epoch(t)) / 86400, [0.5, 0.9]) AS q FROM ml.l": [[0.125, 0.125]],
            "SELECT quantile_cont(epoch(a), [0.5, 0.9]) AS q FROM ml.l WHERE id < 0": [[]],
            "SELECT quantile_cont(epoch(a - t), 0.99) AS q FROM ml.l": [10800.0],
            "SELECT avg(CAST(v AS DOUBLE)) AS q FROM ml.l": [0.5],
            "SELECT date_diff('second', t, a) / 3600.0 AS q FROM ml.l LIMIT 1": [3.0],
            "SELECT v, count(*) AS q FROM ml.l GROUP BY ALL ORDER BY v": [24, 24],
            "SELECT count(*) AS q FROM ml.l WHERE CAST(t AS DATE) = DATE '2026-01-02'": [24],
            "SELECT CAST(floor(epoch(a - t) / 7200) AS BIGINT) AS q FROM ml.l LIMIT 1": [1],
            "SELECT CAST(floor(epoch(a - $by) / 7200) AS BIGINT) AS q FROM ml.l ORDER BY a LIMIT 1": [-11],
            f"SELECT count(*) AS q FROM {told}": [22],
            "SELECT quantile_disc(id, 0.5) AS q FROM ml.l": [23],
            "SELECT max(id / (id - id)) AS q FROM ml.l WHERE id = 1": [np.inf],
            "SELECT CAST(hash(id, t) / 18446744073709551616.0 < 1 AS INTEGER) AS q FROM ml.l LIMIT 1": [1],
            "SELECT count(DISTINCT md5(CAST(id AS VARCHAR)) < '8') AS q FROM ml.l": [2],
            "SELECT id AS q FROM ml.l QUALIFY row_number() OVER (ORDER BY t DESC) <= 2 ORDER BY id": [46, 47],
        }
        for sql, wanted in asked.items():
            assert warehouse.query(sql, {"by": datetime(2026, 1, 2)})["q"].to_pylist() == wanted, sql

    def test_the_same_check_finds_the_same_on_both_engines(
        self,
        bigquery: BigQueryServer,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        frame = orders(6000)
        frame["x"] = frame["x"] + (frame["created_at"] >= "2026-02-20") * 0.8
        frame["far"] = 1e6 + frame["y"]
        frame.loc[::9, "y"] = np.nan
        folder, url = tmp_path / "w", bigquery_url()
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
        for engine, where in (("parquet", "warehouse"), ("bigquery", url)):
            monkeypatch.setenv("GUARDIAN_WAREHOUSE_URL", where)
            assert guardian(capsys, "validate").code == 0
            reports[engine] = [
                guardian(capsys, "check-drift", "OrdersDrift", "--at", at, "--json").json
                for at in ("2026-02-19", "2026-03-01", "2026-03-09")
            ]
        for one, other in zip(reports["parquet"], reports["bigquery"], strict=True):
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
        assert shown["dialect"] == "bigquery"
        assert any("UNPIVOT" in each and "@start" in each for each in shown["queries"])


@pytest.mark.skipif(not INSTALLED, reason="the extra bigquery is not installed")
def test_a_wrong_address_and_a_server_that_is_not_there_are_told_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for wrong, told in (
        ("bigquery://project", "is not the address of a BigQuery dataset"),
        ("bigquery:///dataset", "is not the address of a BigQuery dataset"),
        ("bigquery://me:secret@project/dataset", "is not the address of a BigQuery dataset"),
        ("bigquery://project/data-set", "is not the address of a BigQuery dataset"),
        ("bigquery://project/dataset?role=x", "'role' is no setting"),
    ):
        with pytest.raises(InputError, match=told) as fault:
            warehouse_at(tmp_path, wrong)
        assert "secret" not in str(fault.value)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("BIGQUERY_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    warehouse = warehouse_at(tmp_path, bigquery_url())
    for asked in (warehouse.tables, lambda: warehouse.query("SELECT 1 AS one")):
        with pytest.raises(SystemDown, match="refused") as found:
            asked()
        assert "\n" not in str(found.value)


@pytest.mark.skipif(not INSTALLED, reason="the extra bigquery is not installed")
def test_without_credentials_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BIGQUERY_EMULATOR_HOST", raising=False)
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(tmp_path / "none.json"))
    with pytest.raises(SystemDown, match=r"none\.json"):
        warehouse_at(tmp_path, bigquery_url()).query("SELECT 1 AS one")


def test_what_bigquery_reads_otherwise_is_written_otherwise() -> None:
    sql = """SELECT a / b AS q, CAST(v AS DOUBLE) AS d, hash(id) AS h, count(*) FILTER (WHERE x <> 'NaN') AS rows
             FROM ml.t WHERE list_contains($k, s) AND epoch(t - u) < 1 GROUP BY ALL"""
    text = re.sub(r"\s+", " ", explained(sql, "bigquery")).replace("( ", "(").replace(" )", ")")
    assert "IEEE_DIVIDE(`a`, `b`)" in text and "WHEN 'true' THEN '1'" in text
    assert "FARM_FINGERPRINT(" in text and "COUNTIF(NOT IS_NAN(CAST(`x` AS FLOAT64))) AS `rows`" in text
    assert "`s` IN UNNEST(@k)" in text and "UNIX_MICROS(CAST(`t` AS TIMESTAMP))" in text
