"""Bad input through `init`: one clear line and nothing left behind, or a note of what was made of it."""

from __future__ import annotations

import gzip
import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from policies.errors import InputError
from tests.tools.onboarding.tables import guardian, orders, written
from tools.systems.warehouse import Warehouse

Capture = pytest.CaptureFixture[str]
FEW = orders(400)


def _csv(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], Path]:
    return lambda folder: written(change(FEW.copy()), folder)


def _bytes(content: Callable[[bytes], bytes], name: str = "orders.csv") -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = written(FEW, folder, name)
        path.write_bytes(content(path.read_bytes()))
        return path

    return make


def _nested(folder: Path) -> Path:
    table = pa.Table.from_pandas(FEW).append_column("list", pa.array([[1]] * len(FEW)))
    pq.write_table(table, folder / "orders.parquet")
    return folder / "orders.parquet"


def _wide(columns: int) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        extra = pd.DataFrame(np.zeros((len(FEW), columns)) + np.arange(len(FEW))[:, None] % 7)
        extra.columns = [f"c{i}" for i in range(columns)]
        return written(pd.concat([FEW, extra], axis=1), folder, "orders.parquet")

    return make


def _half_zoned(frame: pd.DataFrame) -> pd.DataFrame:
    stamps = frame["created_at"].astype(str)
    stamps[200:] += "+01:00"
    return frame.assign(created_at=stamps)


def _dated(frame: pd.DataFrame, form: str, others: dict[int, str] | None = None) -> pd.DataFrame:
    written = frame["created_at"].dt.strftime(form).astype(object)
    for row, value in (others or {}).items():
        written[row] = value
    return frame.assign(created_at=written)


BAD_DATE = (
    "column created_at: 1 row has no time ('31.02.2026' in row 99 of the data is none); correct it, or leave it out"
)


def _database(engine: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / "orders.db"
        connection = importlib.import_module(engine).connect(str(path))
        connection.execute("CREATE TABLE orders (x INTEGER)")
        connection.commit()
        connection.close()
        return path

    return make


REFUSED: dict[str, tuple[Callable[[Path], Path], list[str], str]] = {
    "no file": (lambda folder: folder / "none.csv", [], "there is no such file"),
    "an empty file": (_bytes(lambda _: b""), [], "is empty"),
    "a header alone": (_bytes(lambda b: b.split(b"\n")[0] + b"\n"), [], "has no rows"),
    "an empty Parquet table": (lambda f: written(FEW.iloc[:0], f, "orders.parquet"), [], "has no rows"),
    "no columns": (lambda f: written(FEW[[]], f, "orders.parquet"), [], "has no"),
    "too few rows": (_csv(lambda f: f.head(20)), [], "20 rows; 200 are needed"),
    "a CSV cut off in a row": (_bytes(lambda b: b[:-30]), [], "not a whole CSV file"),
    "a CSV cut off in quotes": (_bytes(lambda b: b + b'9,"2026'), [], "not a whole CSV file"),
    "a cut-off Parquet file": (_bytes(lambda b: b[: len(b) // 2], "orders.parquet"), [], "not a whole Parquet file"),
    "a Parquet file of no bytes": (_bytes(lambda _: b"", "orders.parquet"), [], "not a whole Parquet file"),
    "a cut-off Arrow file": (_bytes(lambda b: b[: len(b) // 2], "orders.arrow"), [], "not a whole Arrow file"),
    "bytes named CSV": (_bytes(lambda _: bytes(range(256)) * 9), [], "is no text"),
    "a CSV in Latin letters": (
        _bytes(lambda b: b.replace(b"kind", b"gr\xf6\xdfe", 1)), [],
        "say with iconv -f WINDOWS-1252 -t UTF-8 orders.csv > utf8.csv",
    ),
    "a CSV in UTF-16": (
        _bytes(lambda b: b.decode().encode("utf-16")), [], "say with iconv -f UTF-16 -t UTF-8 orders.csv > utf8.csv",
    ),
    "a line for Excel": (_bytes(lambda b: b"sep=,\r\n" + b), [], "its first line, 'sep=,', is for Excel alone"),
    "a compressed CSV": (_bytes(gzip.compress), [], "is compressed; unpack it first: gunzip -k orders.csv"),
    "a workbook": (_bytes(lambda b: b"PK\x03\x04" + b, "orders.xlsx.csv"), [], "an Excel workbook; write the table as"),
    "a number that is no day": (
        _csv(lambda f: _dated(f, "%Y%m%d", {99: "20260231"})), ["--time", "created_at"],
        "column created_at: holds no times, say 20260231; write them as",
    ),
    "a SQLite database": (_database("sqlite3"), [], "is a SQLite database, not a table; write the table as a file: sq"),
    "a DuckDB database": (_database("duckdb"), [], "is a DuckDB database, not a table; write the table as a file: d"),
    "Latin-1": (_bytes(lambda b: b.replace(b",a,", b",\xe4,")), [], "is not UTF-8"),
    "two columns of a name": (_bytes(lambda b: b.replace(b",y,", b",x,", 1)), [], "more than one column named 'x'"),
    "names alike but for case": (_csv(lambda f: f.rename(columns={"y": "X"})), [], "upper and lower case"),
    "a column without a name": (_bytes(lambda b: b.replace(b",y,", b",,", 1)), [], "has no name"),
    "10,000 columns": (_wide(10_000), [], "columns, more than"),
    "2,000 features": (_wide(2_000), [], "feature columns, more than"),
    "a column of lists": (_nested, [], "column 'list' holds list"),
    "no such target": (_csv(lambda f: f), ["--target", "nope"], "there is no column 'nope'"),
    "no target said": (_csv(lambda f: f), ["--target", ""], "there is no column ''"),
    "a constant target": (_csv(lambda f: f.assign(late="no")), [], "in every row"),
    "a target of one number": (_csv(lambda f: f.assign(late=1)), [], "the outcome is 1 in every row"),
    "an all-null target": (_csv(lambda f: f.assign(late=None)), [], "no value in any row"),
    "a class a row": (_csv(lambda f: f.assign(late=f["order_id"].astype(str) + "x")), [], "400 classes"),
    "one of a class": (_csv(lambda f: f.assign(late=["yes", *["no"] * 399])), [], "only 1 rows are"),
    "a target of times": (_csv(lambda f: f), ["--target", "created_at"], "the outcome is a time"),
    "names as a regression": (_csv(lambda f: f), ["--task", "regression"], "a regression foretells numbers"),
    "an unknown task": (_csv(lambda f: f), ["--task", "clustering"], "is no task"),
    "another positive": (_csv(lambda f: f), ["--positive", "maybe"], "'maybe' is none of its values"),
    "only empty features": (_csv(lambda f: f.assign(x=None, y=None, kind=None)), [], "no column is left"),
    "half of the times with a zone": (_csv(_half_zoned), [], "name an offset from UTC and"),
    "a time missing": (_csv(lambda f: f.assign(created_at=f.created_at.where(f.order_id > 3))), [], "have no time"),
    "a date that is none": (_csv(lambda f: _dated(f, "%d.%m.%Y %H:%M", {98: "31.02.2026"})), [], BAD_DATE),
    "two dates that are none": (
        _csv(lambda f: _dated(f, "%d.%m.%Y %H:%M", {9: "soon", 98: ""})), [],
        "column created_at: 2 rows have no time (the first: 'soon' in row 10 of the data is none); correct them, or",
    ),
    "dates with years of two digits": (
        _csv(lambda f: _dated(f, "%m/%d/%y")), [],
        "column created_at: looks like a time, but '01/01/26' cannot be read for certain: write 2024-05-31 or 2024-",
    ),
    "the same, named as the time": (
        _csv(lambda f: _dated(f, "%m/%d/%y")), ["--time", "created_at"], "looks like a time, but '01/01/26' cannot",
    ),
    "dates with the name of a month": (_csv(lambda f: _dated(f, "%b %d, %Y")), [], "but 'Jan 01, 2026' cannot be read"),
    "times in a zone by its name": (
        _csv(lambda f: _dated(f, "%Y-%m-%d %H:%M:%S CET")), [],
        "00:00:00 CET' names the zone CET, which is not read: write its offset from UTC (+01:00), or all times in UTC;",
    ),
    "dates of which a fifth are none": (
        _csv(lambda f: _dated(f, "%Y-%m-%d %H:%M:%S", dict.fromkeys(range(80), "soon"))), [],
        "looks like a time, but 80 of its values, say 'soon', cannot be read: write 2024-05-31",
    ),
    "a time that is none": (_csv(lambda f: f), ["--time", "kind"], "holds no times"),
    "two columns of times": (
        _csv(lambda f: f.rename(columns={"created_at": "a"}).assign(b=f.created_at)), [], "(--label-time is the one",
    ),
    "two times only": (_csv(lambda f: f.assign(created_at="2026-01-01")), [], "1 different times"),
    "an id that repeats": (
        _csv(lambda f: f.assign(order_id=1, created_at=f["created_at"].dt.floor("D"))), ["--id", "order_id"], "repeat",
    ),
    "a prediction beyond 1": (_csv(lambda f: f.assign(p=f["x"] * 9)), ["--prediction", "p"], "probabilities"),
    "a prediction of names": (_csv(lambda f: f), ["--prediction", "kind"], "no number and no outcome"),
    "one column for two": (_csv(lambda f: f), ["--time", "late"], "named for two purposes"),
    "an ignored target": (_csv(lambda f: f), ["--ignore", "late"], "'late' is named by --target too"),
    "an option that names no column": (_wide(10_000), ["--features", "nope"], "there is no column 'nope'"),
    "a folder that cannot be made": (_csv(lambda f: f), ["--dir", "/proc/foo"], "choose another --dir"),
    "no model address": (_csv(lambda f: f), ["--mlflow-model", "mymodel"], "write models:/NAME"),
    "no name for a model": (_csv(lambda f: f), ["--model", "a b'; --"], "is no model name"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line_and_nothing_is_left(case: str, tmp_path: Path, capsys: Capture) -> None:
    make, extra, message = REFUSED[case]
    data, folder = make(tmp_path), tmp_path / "w"
    target = [] if "--target" in extra else ["--target", "late"]
    said = guardian(
        capsys, "init", "--data", str(data), "--ignore", "grade,amount", "--dir", str(folder), *target, *extra
    )
    assert (said.code, said.out) == (2, ""), said
    last = said.err.strip().splitlines()[-1]
    assert message in last, said.err
    assert not folder.exists()


def _zoned(frame: pd.DataFrame) -> pd.DataFrame:
    """Berlin's clock: the offset changes on 29 March."""
    local = frame["created_at"].dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin") + pd.Timedelta(days=60)
    return frame.assign(created_at=local.map(lambda each: each.isoformat()))


def _some(values: pd.Series, count: int, other: object) -> pd.Series:
    changed = values.astype(object)
    changed.iloc[:: len(changed) // count] = other
    return changed


def _with_commas(values: pd.Series, signs: str) -> pd.Series:
    """Thousands and fractions with these two signs."""
    return values.map(lambda each: f"{1000 * each:,.2f}".translate(str.maketrans(",.", signs)))


TAKEN: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str, str]] = {
    "a constant column": (lambda f: f.assign(same=1.0), "left_out", "same: it is constant (1)"),
    "a constant name": (lambda f: f.assign(same="it's"), "left_out", 'same: it is constant ("it\'s")'),
    "an all-null column": (lambda f: f.assign(void=None), "left_out", "void: it has no value in any row"),
    "a category a row": (lambda f: f.assign(token=[f"t{i:x}" for i in f.index]), "left_out", "token: nearly every"),
    "infinities": (lambda f: f.assign(x=_some(f["x"], 5, np.inf)), "notes", "x: 5 of its values are infinite"),
    "mixed types": (lambda f: f.assign(x=_some(f["x"], 8, "n.v.")), "notes", "x: 8 of its values are no numbers ('n."),
    "one that is no number": (lambda f: f.assign(x=[*f["x"][:-1], "n.v."]), "notes", "x: 1 of its values is no number"),
    "times of another form beside the time": (
        lambda f: f.assign(due=f["created_at"].dt.strftime("%m/%d/%y %H:%M")), "left_out",
        "due: it looks like a time, but '01/01/26 00:00' cannot be read",
    ),
    "times in UTC by its name": (lambda f: _dated(f, "%Y-%m-%d %H:%M:%S UTC"), "time", "created_at"),
    "numbers for names": (lambda f: f.assign(x=_some(f["x"], 200, "low")), "left_out", "x: 200 of its"),
    "dates as text": (
        lambda f: f.assign(created_at=f["created_at"].dt.strftime("%d/%m/%Y %H:%M:%S")), "time", "created_at",
    ),
    "fractions behind a comma": (
        lambda f: f.assign(x=_with_commas(f["x"], ".,")), "notes", "x: numbers such as '",
    ),
    "thousands before a comma": (lambda f: f.assign(x=_with_commas(f["x"], ",.")), "numeric", ["x", "y"]),
    "commas that may be either": (
        lambda f: f.assign(x=[f"{1 + i % 9},{i % 1000:03d}" for i in f.index]), "left_out",
        "x: numbers such as '1,000' cannot be read for certain: write 1234.5; taken as text",
    ),
    "a number a row": (lambda f: f.assign(nr=f.index + 7), "left_out", "nr: it numbers the rows"),
    "a change of the offset": (_zoned, "notes", "created_at: its offset from UTC changes"),
    "duplicate ids": (lambda f: f.assign(order_id=3, created_at=f["created_at"].dt.floor("h")), "notes", "order_id: "),
    "no end of line": (lambda f: f, "notes", "does not end with a line break"),
    "a prediction by its name": (lambda f: f.assign(y_pred=f["x"]), "left_out", "y_pred: it looks like a model's"),
}  # fmt: skip


@pytest.mark.parametrize("case", TAKEN)
def test_taken_and_told(case: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    change, where, told = TAKEN[case]
    frame = change(orders(2000)).assign(said=0.4)
    path = written(frame, tmp_path)
    if case == "no end of line":
        path.write_bytes(path.read_bytes().rstrip(b"\n"))
    arguments = ["--target", "late", "--prediction", "said", "--ignore", "grade,amount", "--dir", str(tmp_path / "w")]
    said = guardian(capsys, "init", "--json", "--data", str(path), *arguments)
    assert said.code == 0, said
    found = said.json[where]
    lines = [f"{key}: {value}" for key, value in found.items()] if isinstance(found, dict) else found
    assert lines == told or any(each.startswith(told) or told in each for each in lines), lines
    monkeypatch.chdir(tmp_path / "w")
    assert guardian(capsys, "validate").code == 0
    at = pd.Timestamp(said.json["end"]).strftime("%Y-%m-%dT%H:%M:%S")
    report = guardian(capsys, "check-drift", "OrdersDrift", "--at", at, "--json").json
    assert report["status"] == "checked", report["checks"]
    assert report["severity"] == "ok", report["checks"]


def test_names_in_any_script_with_quotes_and_breaks(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = {"x": 'größe "in" cm', "y": "价格: $start; --", "kind": "o'kind\nof, {{ x }} # 1", "order_id": "№ id"}
    names |= {"created_at": "true", "late": "späť?"}
    path = written(orders(1500).rename(columns=names), tmp_path, "größe '1'.parquet")
    arguments = ["--target", "späť?", "--ignore", "grade,amount", "--dir", str(tmp_path / "w")]
    said = guardian(capsys, "init", "--json", "--data", str(path), *arguments)
    assert said.code == 0, said
    assert said.json["numeric"] == [names["x"], names["y"]]
    assert (said.json["categorical"], said.json["time"]) == ([names["kind"]], "true")
    monkeypatch.chdir(tmp_path / "w")
    assert guardian(capsys, "validate").code == 0
    report = guardian(capsys, "check-drift", said.json["monitor"], "--at", "2026-02-28", "--json").json
    assert (report["status"], report["severity"]) == ("checked", "ok"), report["checks"]


def test_a_killed_set_up_is_cleared_away_by_the_next(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "w"
    (folder / "warehouse" / "orders").mkdir(parents=True)
    (folder / "operations.yaml.partial").write_text("drift_monitors:")
    (folder / "notes.txt").write_text("mine")
    frame = orders(400).assign(said=0.4)
    arguments = ["--target", "late", "--prediction", "said", "--ignore", "grade,amount", "--dir", str(folder)]
    assert guardian(capsys, "init", "--data", str(written(frame, tmp_path)), *arguments).code == 0
    assert sorted(each.name for each in folder.iterdir() if not each.name.startswith(".")) == [
        "notes.txt", "operations.yaml", "warehouse",
    ]  # fmt: skip
    again = guardian(capsys, "init", "--data", str(written(frame, tmp_path)), *arguments)
    assert again.code == 2 and "working folder already" in again.err
    assert (folder / "operations.yaml").exists()


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow", "folder", "warehouse"])
def test_of_10_000_columns_those_that_are_chosen_are_read(
    ending: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    extra = pd.DataFrame(np.zeros((len(FEW), 10_000)), columns=[f"c{i}" for i in range(10_000)])
    wide = pd.concat([FEW.assign(late=FEW["late"] == "yes", said=0.4), extra], axis=1)
    chosen = ["--features", "x,kind"] if ending != "csv" else ["--features", "x,kind", "--prediction", "said"]
    match ending:
        case "folder":
            (tmp_path / "orders").mkdir()
            data = str(written(wide, tmp_path / "orders", "1.parquet").parent)
        case "warehouse":
            (tmp_path / "lake").mkdir()
            Warehouse(tmp_path / "lake").append("shop.orders", pa.Table.from_pandas(wide, preserve_index=False), "1")
            monkeypatch.setenv("GUARDIAN_WAREHOUSE_URL", str(tmp_path / "lake"))
            data = "shop.orders"
        case _:
            data = str(written(wide, tmp_path, f"orders.{ending}"))
    common = ["init", "--json", "--data", data, *chosen, "--dir", str(tmp_path / "w")]
    unsaid = guardian(capsys, *common)
    assert (unsaid.code, unsaid.json["error"]["message"]) == (
        2, "has 10,009 columns; name the one that holds the outcome with --target",
    )  # fmt: skip
    unknown = guardian(capsys, *common, "--target", "latte")
    assert unknown.code == 2 and "there is no column 'latte'; there are: 'order_id'" in unknown.out
    said = guardian(capsys, *common, "--target", "late")
    assert said.code == 0, said
    made = said.json
    assert (made["time"], made["id"], made["numeric"], made["categorical"]) == (
        "created_at",
        "order_id",
        ["x"],
        ["kind"],
    )
    assert any(each.startswith("of 10,009 columns ") for each in made["notes"]), made["notes"]


def test_a_csv_with_lines_before_and_in_its_header(tmp_path: Path, capsys: Capture) -> None:
    path = written(FEW.assign(said=0.4).rename(columns={"kind": "the\nkind"}), tmp_path)
    path.write_text("\n\n" + path.read_text())
    common = ["--target", "late", "--prediction", "said", "--ignore", "grade,amount", "--dir", str(tmp_path / "w")]
    made = guardian(capsys, "init", "--json", "--data", str(path), *common).json
    assert (made["numeric"], made["categorical"]) == (["x", "y"], ["the\nkind"])


def test_the_separator_is_the_one_that_divides_the_rows_too(tmp_path: Path, capsys: Capture) -> None:
    frame = FEW.assign(said=0.4).rename(columns={"x": "x, y, z, or", "kind": "a, b, c, d, e", "y": "f, g, h"})
    frame.to_csv(tmp_path / "orders.csv", sep=";", index=False)
    common = ["--target", "late", "--prediction", "said", "--ignore", "grade,amount", "--dir", str(tmp_path / "w")]
    made = guardian(capsys, "init", "--json", "--data", str(tmp_path / "orders.csv"), *common).json
    assert (made["numeric"], made["categorical"]) == (["x, y, z, or", "f, g, h"], ["a, b, c, d, e"])


def test_columns_that_are_chosen_decide_what_unclear_dates_are(tmp_path: Path, capsys: Capture) -> None:
    path = written(_dated(orders(400).assign(said=0.4), "%m/%d/%y"), tmp_path)
    common = ["init", "--json", "--data", str(path), "--target", "late", "--prediction", "said"]
    for number, (more, left_out) in enumerate(
        [
            (["--features", "x,kind"], "not among --features"),
            (["--features", "x,created_at"], None),
            (["--ignore", "created_at,grade,amount"], "ignored as asked"),
        ]
    ):
        made = guardian(capsys, *common, *more, "--dir", str(tmp_path / str(number))).json
        assert (made["time"], made["left_out"].get("created_at")) == (None, left_out)
        assert ("created_at" in made["categorical"]) == (left_out is None)


@pytest.mark.parametrize("name", ["order", "group", "user"])
def test_a_file_named_by_a_word_of_sql(
    name: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(orders(400).assign(said=0.4), tmp_path, f"{name}.csv")
    arguments = ["--target", "late", "--prediction", "said", "--ignore", "grade,amount", "--dir", str(tmp_path / "w")]
    said = guardian(capsys, "init", "--json", "--data", str(path), *arguments)
    assert said.code == 0, said
    assert f"its tables are {name}_data.…: {name!r} is a word of SQL" in said.json["notes"]
    monkeypatch.chdir(tmp_path / "w")
    assert guardian(capsys, "validate").code == 0


def test_a_declared_table_named_by_a_word_of_sql_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"say order_data\.rows"):
        Warehouse(tmp_path).exists("order.rows")


def test_a_database_file_is_no_warehouse(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUARDIAN_WAREHOUSE_URL", str(_database("duckdb")(tmp_path)))
    said = guardian(capsys, "init", "--data", "shop.orders", "--target", "late", "--dir", str(tmp_path / "w"))
    assert said.code == 2 and "orders.db is a file, and a warehouse is a folder of Parquet files" in said.err


def test_a_warehouse_table_of_dates_is_told_what_it_needs(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lake").mkdir()
    rows = FEW.assign(late=FEW["late"] == "yes", created_at=FEW["created_at"].dt.date)
    Warehouse(tmp_path / "lake").append("shop.orders", pa.Table.from_pandas(rows, preserve_index=False), "1")
    monkeypatch.setenv("GUARDIAN_WAREHOUSE_URL", str(tmp_path / "lake"))
    said = guardian(capsys, "init", "--data", "shop.orders", "--target", "late", "--dir", str(tmp_path / "w"))
    assert said.code == 2 and "column 'created_at' holds date32[day]; make a view with" in said.err
