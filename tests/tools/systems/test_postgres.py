"""The PostgreSQL warehouse: the same findings as on Parquet, read-only, and clear about a server that is not well."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psycopg
import pyarrow as pa
import pytest

from policies.declarations.binding import Labels
from policies.errors import InputError, SystemDown
from tests.postgres import database_url
from tests.tools.check_drift.world import World
from tests.tools.onboarding.tables import guardian, orders, written
from tools.systems.labels import known
from tools.systems.postgres import PostgresWarehouse
from tools.systems.warehouse import Warehouse


@pytest.fixture
def warehouse(postgres: Path) -> Iterator[PostgresWarehouse]:
    made = PostgresWarehouse(database_url(postgres))
    made.append("ml.t", pa.table({"a": [1, 2, 3], "b": ["x", "y", None], 'C "ü" %': [0.5, np.nan, None]}), "first")
    yield made
    made.close()


def test_rows_types_and_parameters(warehouse: PostgresWarehouse) -> None:
    rows = warehouse.query("SELECT a FROM ml.t WHERE b = $b", {"b": "x' OR 1=1 --", "unused": 1})
    assert rows.num_rows == 0
    assert warehouse.query("SELECT a, b LIKE '%y' AS l FROM ml.t WHERE b = $b", {"b": "y"}).to_pylist() == [
        {"a": 2, "l": True}
    ]
    assert warehouse.read("ml.t").column_names == ["a", "b", 'C "ü" %']
    assert (warehouse.tables(), warehouse.exists("ml.t"), warehouse.exists("ml.u")) == (["ml.t"], True, False)
    assert warehouse.columns("ml.t") == {"a": "bigint", "b": "text", 'C "ü" %': "double precision"}
    warehouse.append("ml.t", pa.table({"a": [9], "b": ["z"]}), "first")
    assert warehouse.read("ml.t", ["a"])["a"].to_pylist() == [9]
    with pytest.raises(InputError, match=r"\$b has no value"):
        warehouse.query("SELECT a FROM ml.t WHERE b = $b")
    with pytest.raises(InputError, match=r"there is no table 'ml.u'; there are: ml.t"):
        warehouse.read("ml.u")
    warehouse.check("SELECT 1 / (a - a) FROM ml.t")
    with pytest.raises(InputError, match="no_such_column"):
        warehouse.check("SELECT no_such_column FROM ml.t")


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE ml.t",
        "SELECT 1; SELECT 2",
        "WITH d AS (DELETE FROM ml.t RETURNING a) SELECT * FROM d",
        "SELECT * INTO ml.u FROM ml.t",
        "COPY ml.t TO '/tmp/out.csv'",
        "SET default_transaction_read_only = off",
        "SELECT a FROM ml.t FOR UPDATE",
        "",
    ],
)
def test_anything_but_one_select_is_refused(warehouse: PostgresWarehouse, sql: str) -> None:
    with pytest.raises(InputError):
        warehouse.query(sql)
    assert warehouse.read("ml.t").num_rows == 3


def test_a_table_rewritten_meanwhile_is_read_whole(warehouse: PostgresWarehouse) -> None:
    done = threading.Event()
    writer = PostgresWarehouse(warehouse.url)

    def rewrite() -> None:
        for value in range(20):
            writer.append("ml.w", pa.table({"v": [value] * 500}), "all")
        done.set()

    writer.append("ml.w", pa.table({"v": [0] * 500}), "all")
    thread = threading.Thread(target=rewrite)
    thread.start()
    while not done.is_set():
        seen = warehouse.query("SELECT count(*) AS n, count(DISTINCT v) AS values FROM ml.w").to_pylist()
        assert seen == [{"n": 500, "values": 1}]
    thread.join()


def test_a_server_that_is_not_well_is_told_in_a_line(postgres: Path, tmp_path: Path) -> None:
    url = database_url(postgres)
    with pytest.raises(SystemDown, match="cannot be reached") as found:
        PostgresWarehouse(f"postgresql://postgres:secret@/x?host={tmp_path}").tables()
    assert "secret" not in str(found.value) and "\n" not in str(found.value)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(SystemDown, match="timeout"):
            PostgresWarehouse(f"postgresql://u@127.0.0.1:{port}/x?connect_timeout=2").tables()
    slow = PostgresWarehouse(f"{url}&options=-c%20statement_timeout%3D200")
    with pytest.raises(SystemDown, match="gave up a query"):
        slow.query("SELECT pg_sleep(20)", dialect="postgres")
    slow.close()


def test_a_refused_login_says_what_to_mend(
    postgres: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database_url(postgres)
    hba = postgres / "data" / "pg_hba.conf"
    hba.write_text("local all guarded scram-sha-256\n" + hba.read_text())
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("CREATE ROLE guarded LOGIN PASSWORD 'right-secret'")
        connection.execute("SELECT pg_reload_conf()")
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "none"))
    with suppress(psycopg.OperationalError):  # until the server has read its rules again
        for _ in range(100):
            psycopg.connect(url.replace("+psycopg", "").replace("postgres@", "guarded@")).close()
            time.sleep(0.05)
    for wrong, told in (
        (url.replace("postgres@", "nobody:wrong-secret@"), 'role "nobody" does not exist'),
        (url.replace("/test_", "/no_"), "does not exist"),
        (url.replace("postgres@", "guarded:wrong-secret@"), 'password authentication failed for user "guarded"'),
        (url.replace("postgres@", "guarded@"), "no password supplied"),
    ):
        monkeypatch.setenv("GUARDIAN_WAREHOUSE_URL", wrong)
        said = guardian(capsys, "init", "--data", "shop.orders", "--target", "late")
        assert said.code == 2
        assert told in said.err and "secret" not in said.err and "Traceback" not in said.err
        for place in ("refuses the login", "GUARDIAN_WAREHOUSE_URL", "operations.yaml", "~/.pgpass"):
            assert place in said.err
    right = PostgresWarehouse(url.replace("postgres@", "guarded:right-secret@"))
    assert right.tables() == []
    right.close()


def test_the_same_check_finds_the_same_on_both_engines(
    postgres: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = orders(6000)
    late = frame["created_at"] >= "2026-02-20"
    frame["x"] = frame["x"] + late * 0.8
    frame["far"] = 1e6 + frame["y"]
    frame.loc[::9, "y"] = np.nan
    folder = tmp_path / "w"
    common = ["--ignore", "grade,amount", "--dir", str(folder)]
    frame["said"] = 0.3 + 0.4 * (frame["late"] == "yes")
    guardian(
        capsys, "init", "--data", str(written(frame, tmp_path)), "--target", "late", "--prediction", "said", *common
    )
    monkeypatch.chdir(folder)
    url, files = database_url(postgres), Warehouse(folder / "warehouse")
    copy = PostgresWarehouse(url)
    for table in files.tables():
        copy.append(table, files.read(table), "all")
    reports = {}
    for engine, where in (("parquet", "warehouse"), ("postgresql", url)):
        monkeypatch.setenv("GUARDIAN_WAREHOUSE_URL", where)
        assert guardian(capsys, "validate").code == 0
        reports[engine] = [
            guardian(capsys, "check-drift", "OrdersDrift", "--at", at, "--json").json
            for at in ("2026-02-19", "2026-03-01", "2026-03-09")
        ]
    for one, other in zip(reports["parquet"], reports["postgresql"], strict=True):
        assert (one["status"], one["severity"]) == (other["status"], other["severity"]), [
            each["detail"] for each in other["checks"] if each["severity"] == "unknown"
        ]
        assert [each["detail"] for each in one["checks"]] == [each["detail"] for each in other["checks"]]
        for ours, theirs in zip(one["checks"], other["checks"], strict=True):
            for name, precision in (("value", 1e-9), ("p_value", 1e-6)):
                near = None if theirs[name] is None else pytest.approx(theirs[name], rel=precision, abs=1e-12)
                assert ours[name] == near, ours["subject"]
            assert ours["severity"] == theirs["severity"]
    assert any(each["subject"] == "x" and each["severity"] == "critical" for each in reports["parquet"][1]["checks"])
    copy.close()
    shown = guardian(capsys, "check-drift", "OrdersDrift", "--at", "2026-03-01", "--explain", "--json").json
    assert shown["dialect"] == "postgres"
    assert any("FLOAT4SEND" in each.upper() for each in shown["queries"])
    monkeypatch.setenv("GUARDIAN_WAREHOUSE_URL", "warehouse")
    arguments = ["check-drift", "OrdersDrift", "--at", "2026-03-01", "--explain", "--dialect", "snowflake"]
    said = guardian(capsys, *arguments)
    assert said.code == 0 and ":start" in said.out
    assert guardian(capsys, *arguments[:-1], "oracle").code == 2


def test_a_snapshot_is_one_state_and_survives_a_faulty_query(warehouse: PostgresWarehouse) -> None:
    counted = "SELECT count(*) AS n FROM ml.t"

    def rows() -> int:
        return int(warehouse.query(counted)["n"][0].as_py())

    with warehouse.snapshot():
        assert rows() == 3
        warehouse.append("ml.t", pa.table({"a": [9]}), "second")
        assert rows() == 3
        with pytest.raises(InputError, match="no_such_column"):
            warehouse.query("SELECT no_such_column FROM ml.t")
        with ThreadPoolExecutor(1) as beside:
            assert beside.submit(rows).result() == 4
        with warehouse.snapshot():
            assert rows() == 3
        assert rows() == 3
    assert rows() == 4


def test_a_snapshot_whose_connection_is_lost_is_not_mixed_with_another(warehouse: PostgresWarehouse) -> None:
    other = PostgresWarehouse(warehouse.url)
    kill = "SELECT count(pg_terminate_backend(pid)) AS n FROM pg_stat_activity WHERE pid = $pid"
    with warehouse.snapshot():
        pid = warehouse.query("SELECT pg_backend_pid() AS pid", dialect="postgres")["pid"][0].as_py()
        other.query(kill, {"pid": pid}, dialect="postgres")
        for _ in range(2):
            with pytest.raises(SystemDown):
                warehouse.query("SELECT count(*) FROM ml.t")
    assert warehouse.read("ml.t").num_rows == 3
    other.close()


class Growing(PostgresWarehouse):
    """A warehouse into which rows are loaded after each query that reads the live table."""

    loads = 0

    def query(self, sql: str, *args: Any, **options: Any) -> pa.Table:
        found = super().query(sql, *args, **options)
        if "features.live" in sql and self.loads < 20:
            self.loads += 1
            self.append("features.live", self.more, f"more{self.loads}")
        return found

    more: pa.Table


def test_a_table_that_grows_while_it_is_checked_is_seen_in_one_state(postgres: Path, tmp_path: Path) -> None:
    checks = [
        {"type": "schema_drift", "method": "contract_validation", "expected_schema": "Rows"},
        {"type": "data_drift", "method": "psi", "threshold": 0.2},
        {"type": "prediction_drift", "method": "psi", "threshold": 0.2},
    ]
    world = World(tmp_path, checks)
    world.happen()
    files, growing = world.systems.warehouse, Growing(database_url(postgres))
    for table in files.tables():
        growing.append(table, files.read(table), "all")
    live = world.live()
    growing.more = pa.Table.from_pandas(live.assign(id=live["id"] + 10_000), preserve_index=False).slice(0, 500)
    world.systems = replace(world.systems, warehouse=growing)
    report = world.check()
    assert growing.loads > 2
    assert (report.status, report.window.rows) == ("checked", len(live))
    for check in report.checks:
        if check.type != "schema_drift":
            assert f"{len(live):,} rows" in check.detail, check.detail
    assert not report.drift_detected  # the rows that came repeat each other
    growing.close()


def test_every_query_of_ours_runs_on_postgresql(warehouse: PostgresWarehouse) -> None:
    times = pd.date_range(datetime(2026, 1, 1), periods=48, freq="h").astype("datetime64[us]")
    table = pa.table({"t": times, "a": times + pd.Timedelta(hours=3), "v": [True, False] * 24, "id": range(48)})
    warehouse.append("ml.l", table, "all")
    labels = Labels(table="ml.l", id="id", time="t", value="v", arrived="a")
    told = known(labels, "TIMESTAMP '2026-01-02'")
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
        assert warehouse.query(sql)["q"].to_pylist() == wanted, sql
