"""A user's file as an Arrow table: CSV, Parquet or Arrow. What cannot be read is one clear line."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from policies.errors import InputError
from tools.onboarding.choices import Choices, to_read
from tools.systems.warehouse import TIMES, quote

if TYPE_CHECKING:
    import pyarrow as pa

    from tools.systems.warehouse import AnyWarehouse

MOST_ROWS = 1_000_000
_ARROW = (".arrow", ".feather", ".ipc")
_PARQUET = (".parquet", ".pq")
_SEPARATORS = ",;\t|"
_HEAD = 1 << 20


@dataclass(frozen=True)
class Source:
    """Rows as they are in the file (those of a CSV all text), and what is worth saying about how they were read.

    `table` is the warehouse's name for them where they are in one; `unread` are the columns that were left there.
    """

    name: str
    rows: pa.Table
    notes: tuple[str, ...] = ()
    table: str | None = None
    unread: tuple[str, ...] = ()


def read(path: Path, choices: Choices) -> Source:
    """Reads the columns that count of a file, or of a folder of Parquet files.

    Raises InputError for anything that is not a table with rows, or has no column that an option names.
    """
    if not path.exists():
        raise InputError("there is no such file", where=str(path))
    notes: list[str] = []
    _require_a_table(path)
    try:
        if path.is_dir() or path.suffix.lower() in _PARQUET:
            names, rows = _parquet(path, choices)
        elif path.suffix.lower() in _ARROW:
            names, rows = _arrow(path, choices)
        else:
            names, rows = _csv(path, choices, notes)
    except (OSError, MemoryError) as error:
        raise InputError(f"cannot be read: {_first_line(error)}", where=str(path)) from error
    _require_rows(rows, path)
    return _source(path.stem, rows, notes, names, choices)


def read_table(warehouse: AnyWarehouse, table: str, choices: Choices) -> Source:
    """The latest million rows of a warehouse's table: enough to decide what is in it, and to learn from.

    The time that was chosen orders them, else the table's only column of times. Raises InputError.
    """
    columns = warehouse.columns(table)
    chosen = _chosen(list(columns), choices, table)
    time = choices.time
    times = [name for name, kind in columns.items() if kind.upper().startswith(TIMES)]
    order = time if time in columns else times[0] if len(times) == 1 else None
    notes: list[str] = []
    where, params = None, {}
    counted = int(warehouse.query(f"SELECT count(*) AS n FROM {table}")["n"][0].as_py())
    if counted > MOST_ROWS:
        if order is None:
            raise InputError(f"has {counted:,} rows; say with --time which column orders them", where=table)
        sql = f"SELECT {quote(order)} AS t FROM {table} WHERE {quote(order)} IS NOT NULL ORDER BY 1 DESC"
        found = warehouse.query(f"{sql} LIMIT 1 OFFSET {MOST_ROWS}")
        where, params = f"{quote(order)} > $since", {"since": found["t"][0].as_py()}
        notes = [f"of {counted:,} rows the latest, since {params['since']}, were looked at"]
    rows = warehouse.read(table, chosen, where, params)
    _require_rows(rows, table)
    return _source(table.rpartition(".")[2], rows, notes, list(columns), choices, table)


def _source(
    name: str, rows: pa.Table, notes: list[str], names: Sequence[str], choices: Choices, table: str | None = None
) -> Source:
    unread = tuple(sorted(set(names) - set(rows.column_names)))
    if set(unread) - set(choices.ignore):
        notes.append(
            f"of {len(names):,} columns {rows.num_columns:,} were read: those that options name, "
            "and those with the name of an outcome, a time or an id"
        )
    return Source(name, rows, tuple(notes), table, unread)


def _require_a_table(path: Path) -> None:
    """Raises InputError for a database, an archive or a workbook, by its first bytes: how to write the table of it."""
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError:  # a folder, or a fault that reading it will name
        return
    if head.startswith(b"SQLite format 3"):
        how = f"sqlite3 -header -csv {path.name} 'SELECT * FROM orders' > orders.csv"
        raise InputError(f"is a SQLite database, not a table; write the table as a file: {how}", where=str(path))
    if head[8:12] == b"DUCK":
        how = f"duckdb {path.name} \"COPY orders TO 'orders.parquet'\""
        raise InputError(f"is a DuckDB database, not a table; write the table as a file: {how}", where=str(path))
    if head.startswith(b"\x1f\x8b"):
        raise InputError(f"is compressed; unpack it first: gunzip -k {path.name}", where=str(path))
    if head.startswith(b"PK\x03\x04"):
        raise InputError("is a ZIP archive or an Excel workbook; write the table as .csv or .parquet", str(path))


def _chosen(names: Sequence[str], choices: Choices, path: Path | str) -> list[str]:
    """The columns to read of those that there are. Raises InputError for names that tell no columns apart."""
    if not names:
        raise InputError("has no columns", where=str(path))
    if repeated := [name for name, count in Counter(names).items() if count > 1]:
        raise InputError(f"has more than one column named {repeated[0]!r}; give each a name of its own", str(path))
    if alike := [name for name, count in Counter(name.lower() for name in names).items() if count > 1]:
        raise InputError(f"has columns that differ only in upper and lower case: {alike[0]!r}", where=str(path))
    if any(not name.strip() for name in names):
        place = next(i for i, name in enumerate(names, 1) if not name.strip())
        raise InputError(f"column {place} has no name; write a header line with a name for each", where=str(path))
    return to_read(choices, names, str(path))


def _require_rows(rows: pa.Table, path: Path | str) -> None:
    if not rows.num_rows:
        raise InputError("has no rows", where=str(path))


def _parquet(path: Path, choices: Choices) -> tuple[Sequence[str], pa.Table]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = sorted(path.glob("*.parquet")) if path.is_dir() else [path]
    if not files:
        raise InputError("is a folder without a Parquet file", where=str(path))
    held: dict[Path, list[str]] = {}
    tables = []
    try:
        for file in files:
            held[file] = pq.read_schema(file).names
        repeated = [names for names in held.values() if len(set(names)) < len(names)]
        every = repeated[0] if repeated else list(dict.fromkeys(name for names in held.values() for name in names))
        chosen = _chosen(every, choices, path)
        for file, names in held.items():
            there = [name for name in chosen if name in set(names)]
            # By the names of fields, which a dot divides: what else they match goes again.
            wanted = there if len(there) < len(names) else None
            tables.append(pq.ParquetFile(file).read(columns=wanted).select(there))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"is not a whole Parquet file: {_first_line(error)}", where=str(file)) from error
    try:
        return every, pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise InputError(f"its files do not hold the same columns: {_first_line(error)}", where=str(path)) from error


def _arrow(path: Path, choices: Choices) -> tuple[Sequence[str], pa.Table]:
    import pyarrow as pa

    with path.open("rb") as file:
        streamed = file.read(6) != b"ARROW1"
    try:
        with pa.OSFile(str(path)) as source:
            reader = pa.ipc.open_stream(source) if streamed else pa.ipc.open_file(source)
            names = reader.schema.names
            return names, reader.read_all().select(_chosen(names, choices, path))
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"is not a whole Arrow file: {_first_line(error)}", where=str(path)) from error


def _csv(path: Path, choices: Choices, notes: list[str]) -> tuple[Sequence[str], pa.Table]:
    """All values as text: which are numbers or times is decided over whole columns, not by the first rows."""
    import pyarrow as pa
    import pyarrow.csv as pc

    header, separator = _header(path)
    convert = pc.ConvertOptions(
        include_columns=_chosen(header, choices, path),
        column_types=dict.fromkeys(header, pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=False,
    )
    options = pc.ReadOptions(block_size=64 << 20)
    parse = pc.ParseOptions(delimiter=separator, newlines_in_values=True)
    try:
        rows = pc.read_csv(path, read_options=options, parse_options=parse, convert_options=convert)
    except (OSError, pa.ArrowException) as error:
        text = _first_line(error)
        if "UTF8" in text or "UTF-8" in text:
            raise _in_other_letters(path, "WINDOWS-1252") from error
        raise InputError(f"is not a whole CSV file: {text}", where=str(path)) from error
    with path.open("rb") as file:
        file.seek(-1, 2)
        if file.read(1) not in b"\r\n":
            notes.append("the file does not end with a line break: if it was cut off, its last row may be incomplete")
    return header, rows


def _header(path: Path) -> tuple[list[str], str]:
    """The names of the first line, and the character that separates them."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
        head += b"" if b"\n" in head else file.readline()
    if not head.strip():
        raise InputError("is empty", where=str(path))
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise _in_other_letters(path, "UTF-16")
    if b"\0" in head:
        raise InputError("is no text: name a file ending in .csv, .parquet or .arrow after what it holds", str(path))
    try:
        text = head.decode("utf-8-sig", errors="strict" if len(head) < _HEAD else "ignore").lstrip("\r\n")
    except UnicodeDecodeError:
        raise _in_other_letters(path, "WINDOWS-1252") from None
    if re.match(r"sep=.[\r\n]", text, re.IGNORECASE):
        raise InputError(f"its first line, {text[:5]!r}, is for Excel alone; take that line out", where=str(path))
    return _divided(text)


def _divided(text: str) -> tuple[list[str], str]:
    """The first line's fields, and the separator: of those that give the second line as many, the most frequent."""
    found = []
    for separator in _SEPARATORS:
        lines = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        try:
            names, row = next(lines, []), next(lines, [])
        except csv.Error:  # a field that does not end: another separator
            continue
        found.append((len(names) == len(row) and len(names) > 1, len(names), names, separator))
    *_, names, separator = max(found, key=lambda each: each[:2], default=([], ","))
    return names, separator


def _in_other_letters(path: Path, likely: str) -> InputError:
    how = f"iconv -f {likely} -t UTF-8 {path.name} > utf8.csv"
    return InputError(f"is not UTF-8 text; convert it first, say with {how}", where=str(path))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
