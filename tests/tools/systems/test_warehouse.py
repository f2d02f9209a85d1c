"""The warehouse: one SELECT at a time, bound parameters, confined to its folder, files whole or absent."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from policies.errors import InputError, SystemDown
from tools.systems.warehouse import Warehouse


@pytest.fixture
def warehouse(tmp_path: Path) -> Warehouse:
    (tmp_path / "warehouse").mkdir()
    (tmp_path / "secret.csv").write_text("a\n1\n")
    made = Warehouse(tmp_path / "warehouse")
    made.append("ml.t", pa.table({"a": [1, 2, 3], "b": ["x", "y", None]}), "first")
    return made


def test_parameters_are_bound_and_only_those_that_occur(warehouse: Warehouse) -> None:
    rows = warehouse.query("SELECT a FROM ml.t WHERE b = $b", {"b": "x' OR 1=1 --", "unused": 1})
    assert rows.num_rows == 0
    assert warehouse.query("SELECT a FROM ml.t WHERE b = $b", {"b": "y"})["a"].to_pylist() == [2]
    with pytest.raises(InputError, match=r"\$b has no value"):
        warehouse.query("SELECT a FROM ml.t WHERE b = $b")


def test_a_query_is_checked_without_being_run(warehouse: Warehouse) -> None:
    warehouse.check("SELECT error('it ran') FROM ml.t WHERE b = $b", {"b": "y"})
    with pytest.raises(InputError, match="no_such_column"):
        warehouse.check("SELECT no_such_column FROM ml.t")
    with pytest.raises(InputError, match="single SELECT"):
        warehouse.check("SELECT 1; DROP VIEW ml.t")


@pytest.mark.parametrize(
    "sql",
    [
        "DROP VIEW ml.t",
        "SELECT 1; SELECT 2",
        "COPY ml.t TO 'out.csv'",
        "SET enable_external_access = true",
        "ATTACH 'other.db'",
        "INSTALL httpfs",
        "WITH x AS (INSERT INTO ml.t VALUES (4, 'z') RETURNING a) SELECT a FROM x",
        "",
    ],
)
def test_anything_but_one_select_is_refused(warehouse: Warehouse, sql: str) -> None:
    with pytest.raises(InputError):
        warehouse.query(sql)


def test_a_query_has_limits_of_time_and_rows(warehouse: Warehouse) -> None:
    endless = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE hash(a.range, b.range) % 7 = 1"
    with pytest.raises(InputError, match="interrupted"):
        warehouse.query(endless, seconds=0.1)
    with pytest.raises(InputError, match="more than 2 rows"):
        warehouse.query("SELECT * FROM ml.t", most_rows=2)
    assert warehouse.query("SELECT * FROM ml.t", most_rows=3, seconds=5).num_rows == 3


def test_reads_are_confined_to_the_folder(warehouse: Warehouse, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Permission"):
        warehouse.query(f"SELECT * FROM read_csv('{tmp_path}/secret.csv')")


def test_a_file_of_the_same_name_is_replaced(warehouse: Warehouse) -> None:
    warehouse.append("ml.t", pa.table({"a": [9]}), "first")
    assert warehouse.read("ml.t")["a"].to_pylist() == [9]
    warehouse.append("ml.t", pa.table({"a": [10], "c": [1.0]}), "second")
    assert sorted(warehouse.read("ml.t")["a"].to_pylist()) == [9, 10]


def test_a_half_written_file_is_never_read(warehouse: Warehouse) -> None:
    (warehouse.folder("ml.t") / "next.abcd.partial").write_bytes(b"PAR1 half")
    assert warehouse.read("ml.t").num_rows == 3
    assert warehouse.tables() == ["ml.t"]


def test_an_unknown_table_or_name_says_what_there_is(warehouse: Warehouse) -> None:
    with pytest.raises(InputError, match=r"there are: ml\.t"):
        warehouse.read("ml.other")
    with pytest.raises(InputError, match=r"write schema\.table"):
        warehouse.folder("../etc")
    with pytest.raises(InputError, match="nope"):
        warehouse.query("SELECT nope FROM ml.t")


def test_a_missing_folder_is_a_system_that_is_down(tmp_path: Path) -> None:
    with pytest.raises(SystemDown, match="no folder"):
        Warehouse(tmp_path / "none").query("SELECT 1")


def test_a_torn_file_is_said_and_hides_no_other_table(warehouse: Warehouse) -> None:
    folder = warehouse.folder("ml.torn")
    folder.mkdir(parents=True)
    (folder / "torn.parquet").write_bytes(b"PAR1 half")
    assert warehouse.query("SELECT count(*) FROM ml.t")[0].to_pylist() == [3]
    with pytest.raises(SystemDown, match=r"ml\.torn cannot be read"):
        warehouse.query("SELECT * FROM ml.torn")


_LONG_QUERY = """
import signal
import sys
from pathlib import Path
from tools.systems.warehouse import Warehouse

signal.signal(signal.SIGINT, signal.default_int_handler)  # who started the tests may have it ignored
warehouse = Warehouse(Path(sys.argv[1]))
warehouse.query("SELECT 1")
print("asking", flush=True)
try:
    warehouse.query("SELECT sum(sin(a.range * b.range)) FROM range(1000000) a, range(1000000) b")
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_within_a_query_is_a_ctrl_c(warehouse: Warehouse) -> None:
    command = [sys.executable, "-c", _LONG_QUERY, str(warehouse.root)]
    root = Path(__file__).parents[3]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as asking:
        assert asking.stdout is not None
        assert asking.stdout.readline() == "asking\n"
        time.sleep(0.5)
        asking.send_signal(signal.SIGINT)
        assert asking.communicate(timeout=30)[0] == "interrupted\n"


@pytest.mark.parametrize("number", range(10))
def test_a_table_that_came_in_is_found_by_all_threads_at_once(tmp_path: Path, number: int) -> None:
    (tmp_path / "warehouse").mkdir()
    fresh = Warehouse(tmp_path / "warehouse")
    fresh.append("ml.t", pa.table({"x": [number]}), "first")
    together = threading.Barrier(8)

    def ask(_: int) -> object:
        together.wait()
        return fresh.query("SELECT x FROM ml.t").column(0).to_pylist()

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(8))) == [[number]] * 8
    fresh.close()
