"""Loads that go wrong after `init`: `validate`, `check-drift` and `triage` say so, and never that all is well."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agent.cli.app import run
from tests.tools.onboarding.tables import guardian, orders, written

Capture = pytest.CaptureFixture[str]
AT = "2026-03-02"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working folder with a champion, whose table ends on 1 March."""
    place = tmp_path_factory.mktemp("orders")
    data = written(orders(), place)
    assert (
        run(["init", "--data", str(data), "--target", "late", "--ignore", "grade,amount", "--dir", f"{place}/w"]) == 0
    )
    yield place / "w"


def _load(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], None]:
    """A further file, of two thirds of the window's rows."""

    def write(rows: Path) -> None:
        frame = pq.read_table(rows).to_pandas()
        day = pd.date_range("2026-03-01", "2026-03-01T23:59", len(frame)).astype("datetime64[us]")
        change(frame.assign(created_at=day, order_id=frame.order_id + 9000)).to_parquet(
            rows / "load.parquet", index=False
        )

    return write


def _cut(rows: Path) -> None:
    whole = next(rows.glob("*.parquet")).read_bytes()
    (rows / "load.parquet").write_bytes(whole[: len(whole) // 2])


def _empty(rows: Path) -> None:
    table = pq.read_table(rows)
    for file in rows.glob("*.parquet"):
        file.unlink()
    pq.write_table(table.slice(0, 0), rows / "all.parquet")


def _texts(frame: pd.DataFrame, name: str) -> pd.DataFrame:
    return frame.assign(**{name: frame[name].astype(str)})


LOADS: dict[str, tuple[Callable[[Path], None], str]] = {
    "an empty table": (_empty, "no rows in the window"),
    "a cut-off file": (_cut, "cannot be read"),
    "no table": (shutil.rmtree, "there is no table"),
    "a constant column": (_load(lambda f: f.assign(x=1.0)), "x"),
    "a column all null": (_load(lambda f: f.assign(x=np.nan)), "x"),
    "a category all null": (_load(lambda f: f.assign(kind=None)), "kind"),
    "infinities": (_load(lambda f: f.assign(x=np.where(f.order_id % 2, np.inf, f.x))), "x"),
    "numbers as text": (_load(lambda f: _texts(f, "x")), "x"),
    "text among numbers": (_load(lambda f: f.assign(x=[*f.x.astype(str)[1:], "n.v."])), "x"),
    "times as text": (_load(lambda f: _texts(f, "created_at")), "created_at"),
    "a column gone": (_load(lambda f: f.drop(columns="x")), "x"),
    "the time gone": (_load(lambda f: f.drop(columns="created_at")), "3,000 rows have no time"),
    "a category a row": (_load(lambda f: f.assign(kind=[f"k{i}" for i in f.index])), "kind"),
    "another unit": (_load(lambda f: f.assign(y=f.y * 1000)), "y"),
}


@pytest.mark.parametrize("case", LOADS)
def test_a_bad_load_is_a_finding_or_an_error(
    case: str, folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil, told = LOADS[case]
    shutil.copytree(folder, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    spoil(Path("warehouse/orders/rows"))
    capsys.readouterr()
    guardian(capsys, "validate")
    said = guardian(capsys, "check-drift", "OrdersDrift", "--at", AT, "--json", down=case == "a cut-off file")
    report = said.json
    assert said.code == {"a cut-off file": 1, "no table": 2, "times as text": 2}.get(case, 0), report
    assert ("error" in report) == (said.code > 0)
    assert report["severity"] != "ok", report["checks"]
    spoken = [f"{each['subject']} {each['detail']}" for each in report["checks"] if each["severity"] != "ok"]
    assert any(told in each for each in spoken), spoken
    night = guardian(capsys, "triage", "--at", AT, "--json").json
    assert night["models"][0]["severity"] != "ok"


def test_a_sound_load_is_ok_and_times_with_a_zone_are_brought_to_utc(
    folder: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(folder, tmp_path / "w")
    monkeypatch.chdir(tmp_path / "w")
    rows = Path("warehouse/orders/rows")
    _load(pd.DataFrame.copy)(rows)
    capsys.readouterr()
    plain = guardian(capsys, "check-drift", "OrdersDrift", "--at", AT, "--json").json
    table = pq.read_table(rows / "load.parquet")
    zoned = pa.chunked_array([each.cast(pa.timestamp("us", "Europe/Berlin")) for each in table["created_at"].chunks])
    pq.write_table(
        table.set_column(table.schema.get_field_index("created_at"), "created_at", zoned), rows / "load.parquet"
    )
    report = guardian(capsys, "check-drift", "OrdersDrift", "--at", AT, "--json").json
    assert plain["window"]["rows"] == report["window"]["rows"]
    assert [each["severity"] for each in plain["checks"]] == [each["severity"] for each in report["checks"]]
