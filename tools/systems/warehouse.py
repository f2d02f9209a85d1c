"""The embedded warehouse: a folder of Parquet, one folder a table, read by DuckDB (many readers, no lock)."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from policies.errors import InputError, SystemDown
from tools.systems.keywords import KEYWORDS

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

TIMES = ("TIMESTAMP", "DATETIME", "DATE")
"""How the names of types begin that hold times."""

_BATCH = 1 << 20

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")


class AnyWarehouse(Protocol):
    """Where a model's tables are. Queries are written for DuckDB with `$name` parameters, whatever `dialect` is."""

    @property
    def dialect(self) -> str:
        """What the engine speaks: duckdb, postgres, …"""
        ...

    def query(
        self,
        sql: str,
        params: Mapping[str, object] | None = None,
        *,
        dialect: str = "duckdb",
        most_rows: int | None = None,
        seconds: float | None = None,
    ) -> pa.Table:
        """Rows of one SELECT, written for `dialect`, where nothing can be written.

        A query of somebody else's gets limits: it is interrupted after `seconds`, and refused beyond `most_rows`.
        Raises InputError for anything but a SELECT, for a faulty query, and for one beyond its limits.
        """
        ...

    def check(self, sql: str, params: Mapping[str, object] | None = None) -> None:
        """Plans one SELECT without running it. Raises InputError."""
        ...

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Mapping[str, object] | None = None,
    ) -> pa.Table:
        """Rows of a table; `where` is a condition of ours with `$name` parameters, never text from outside."""
        ...

    def append(self, table: str, data: pa.Table, name: str) -> object:
        """Adds rows as the load `name`, replacing a load of that name; readers see all of it or nothing."""
        ...

    def withdraw(self, table: str, name: str) -> None:
        """Takes the load `name` away again, and the table where nothing else is in it."""
        ...

    def tables(self) -> list[str]:
        """Names of all tables."""
        ...

    def columns(self, table: str) -> dict[str, str]:
        """Column names and the engine's types. Raises InputError where there is no such table."""
        ...

    def exists(self, table: str) -> bool:
        """Whether the table is there."""
        ...

    def fingerprint(self, table: str) -> object:
        """Something that can be written as JSON and changes when the table's rows do."""
        ...

    def snapshot(self) -> AbstractContextManager[None]:
        """A block in which all that this thread reads is of one state of the tables, where the engine can do that."""
        ...

    def close(self) -> None:
        """Closes the connection; the next query opens another."""
        ...


@runtime_checkable
class Streams(AnyWarehouse, Protocol):
    """A warehouse inside this process, which computes nothing of ours but hands out rows some at a time."""

    def stream(self, sql: str, params: Mapping[str, object] | None = None) -> Iterator[pa.RecordBatch]:
        """Rows of one SELECT of ours, in the order of the table."""
        ...


class Warehouse:
    """Tables `schema.table` in `<root>/<schema>/<table>/*.parquet`, tables of schema main in `<root>/<table>/`.

    Reads are SELECT only, confined to the folder; files are written whole or not at all. Times with a zone are read as
    what all times here are, UTC without one.
    """

    dialect = "duckdb"

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._known: set[str] = set()
        self._shown = 0  # so often was a table shown
        self._unreadable: dict[str, str] = {}

    def query(
        self,
        sql: str,
        params: Mapping[str, object] | None = None,
        *,
        dialect: str = "duckdb",
        most_rows: int | None = None,
        seconds: float | None = None,
    ) -> pa.Table:
        """Rows of one SELECT, with `$name` parameters bound, in a transaction that can only read."""
        assert dialect == self.dialect
        import duckdb

        with self._faults_named(sql):
            seen = self._shown
            try:
                found = self._answer(sql, params, most_rows, seconds)
            except duckdb.BinderException as error:
                if "altered" not in str(error):
                    raise
                self._known.clear()  # files of other types came in since the table was first read
                self._look()
                found = self._answer(sql, params, most_rows, seconds)
            except duckdb.CatalogException:
                self._look()
                if self._shown == seen:  # nor has another thread looked meanwhile
                    raise
                found = self._answer(sql, params, most_rows, seconds)
        return within(found, most_rows)

    def _answer(
        self, sql: str, params: Mapping[str, object] | None, most_rows: int | None, seconds: float | None
    ) -> pa.Table:
        with self._reading() as cursor:
            bound = self._bound(cursor, sql, params)

            def run() -> pa.Table:
                relation = cursor.sql(sql, params=bound)
                return (relation if most_rows is None else relation.limit(most_rows + 1)).to_arrow_table()

            with _interrupted_after(seconds, cursor):
                return _interruptible(run, cursor)

    def stream(self, sql: str, params: Mapping[str, object] | None = None) -> Iterator[pa.RecordBatch]:
        """Rows of one SELECT of ours, some at a time: what is not asked for is not held."""
        with self._faults_named(sql), self._reading() as cursor:
            yield from cursor.sql(sql, params=self._bound(cursor, sql, params)).to_arrow_reader(_BATCH)

    def check(self, sql: str, params: Mapping[str, object] | None = None) -> None:
        """Plans one SELECT without running it: its tables, columns, types and parameters. Raises InputError."""
        self._look()
        with self._faults_named(sql), self._reading() as cursor:
            cursor.execute(f"EXPLAIN {sql}", self._bound(cursor, sql, params))

    @contextmanager
    def _reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor in a read-only transaction: also a SELECT may hold an INSERT, in a WITH."""
        cursor = self._cursor()
        try:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            yield cursor
        finally:
            cursor.close()

    def _bound(
        self, cursor: duckdb.DuckDBPyConnection, sql: str, params: Mapping[str, object] | None
    ) -> dict[str, object] | None:
        """Those of `params` that occur in `sql`, which must be one SELECT."""
        import duckdb

        statements = cursor.extract_statements(sql)
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise InputError("only a single SELECT may be asked of the warehouse", where="query")
        wanted = statements[0].named_parameters
        bound = {name: value for name, value in (params or {}).items() if name in wanted}
        if missing := sorted(wanted - bound.keys()):
            raise InputError(f"the query's parameter ${missing[0]} has no value here", where="query")
        return bound or None

    @contextmanager
    def _faults_named(self, sql: str) -> Iterator[None]:
        """DuckDB's errors as ours."""
        import duckdb

        try:
            yield
        except duckdb.CatalogException as error:
            for table, fault in self._unreadable.items():
                if table in sql:
                    raise SystemDown(f"table {table} cannot be read: {fault}", where="warehouse") from error
            raise InputError(_first_line(error), where="query") from error
        except duckdb.InterruptException as error:
            raise InputError("took longer than it may, and was interrupted", where="query") from error
        except duckdb.IOException as error:
            raise SystemDown(_first_line(error), where="warehouse") from error
        except duckdb.Error as error:
            raise InputError(_first_line(error), where="query") from error

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Mapping[str, object] | None = None,
    ) -> pa.Table:
        """Rows of a table; `where` is a condition of ours with `$name` parameters, never text from outside."""
        self._require(table)
        chosen = ", ".join(quote(column) for column in columns) if columns else "*"
        return self.query(f"SELECT {chosen} FROM {table}{f' WHERE {where}' if where else ''}", params)

    def append(self, table: str, data: pa.Table, name: str) -> Path:
        """Adds `data` as the file `name`.parquet, replacing a file of that name; readers see all of it or nothing."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        folder = self.folder(table)
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f"{name}.{secrets.token_hex(4)}.partial"
        try:
            # Texts repeat and numbers do not: to look for repeated numbers takes half as long again to write.
            texts = [field.name for field in data.schema if not pa.types.is_primitive(field.type)]
            pq.write_table(
                data, partial, compression="zstd", compression_level=1, row_group_size=65_536, use_dictionary=texts
            )
            final = folder / f"{name}.parquet"
            partial.replace(final)
        finally:
            partial.unlink(missing_ok=True)
        return final

    def withdraw(self, table: str, name: str) -> None:
        """Takes the file `name`.parquet away again, and the folder where nothing else is in it."""
        folder = self.folder(table)
        (folder / f"{name}.parquet").unlink(missing_ok=True)
        with suppress(OSError):  # not empty, or not there
            folder.rmdir()

    def folder(self, table: str) -> Path:
        """The folder of a table, whether or not it exists. Raises InputError for a name that is none."""
        return self.root.joinpath(*require_name(table).split("."))

    def fingerprint(self, table: str) -> object:
        """Names, sizes and times of the table's files."""
        files = sorted(self.folder(table).glob("*.parquet"))
        return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    def snapshot(self) -> AbstractContextManager[None]:
        """Nothing: a query sees whole files, the next one also those that came in between."""
        return nullcontext()

    def tables(self) -> list[str]:
        """Names of all tables that have a file."""
        folders = {path.parent for pattern in ("*/*.parquet", "*/*/*.parquet") for path in self.root.glob(pattern)}
        return sorted(".".join(folder.relative_to(self.root).parts) for folder in folders)

    def columns(self, table: str) -> dict[str, str]:
        """Column names and DuckDB types of a table. Raises InputError where there is none."""
        self._require(table)
        described = self.query(f"SELECT column_name, column_type FROM (DESCRIBE {table})")
        return dict(zip(*(column.to_pylist() for column in described.columns), strict=True))

    def exists(self, table: str) -> bool:
        """Whether the table has a file."""
        return any(self.folder(table).glob("*.parquet"))

    def _require(self, table: str) -> None:
        if not self.exists(table):
            there = ", ".join(self.tables()) or "none"
            raise InputError(f"there is no table {table!r}; there are: {there}", where="warehouse")

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
            return self._connection.cursor()

    def _look(self) -> None:
        """Shows queries the tables that came in since the last look.

        Not before each query: a look at a thousand folders takes as long as a query does.
        """
        with self._lock:
            if self._connection is None:
                self._connection = self._connect()
            new = [table for table in self.tables() if table not in self._known]
            for table in new:
                self._show(self._connection, table)
            self._shown += len(new)

    def _connect(self) -> duckdb.DuckDBPyConnection:
        import duckdb

        if not self.root.is_dir():
            raise SystemDown(f"there is no folder {self.root}", where="warehouse")
        connection = duckdb.connect(":memory:")
        connection.execute("SET enable_external_file_cache = false")
        connection.execute(f"SET allowed_directories = [{_literal(str(self.root.resolve()))}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET lock_configuration = true")
        return connection

    def _show(self, connection: duckdb.DuckDBPyConnection, table: str) -> None:
        import duckdb

        if "." in table:
            connection.execute(f"CREATE SCHEMA IF NOT EXISTS {quote(table.partition('.')[0])}")
        pattern = _literal(str(self.folder(table).resolve() / "*.parquet"))
        files = f"SELECT * FROM read_parquet({pattern}, union_by_name = true)"
        try:
            described = connection.execute(f"DESCRIBE {files}").fetchall()
            zoned = [quote(name) for name, kind, *_ in described if kind == "TIMESTAMP WITH TIME ZONE"]
            if zoned:
                in_utc = ", ".join(f"{name} AT TIME ZONE 'UTC' AS {name}" for name in zoned)
                files = files.replace("*", f"* REPLACE ({in_utc})", 1)
            connection.execute(f"CREATE OR REPLACE VIEW {table} AS {files}")
        except duckdb.Error as error:  # one torn file must not hide the other tables
            self._unreadable[table] = _first_line(error)
        else:
            self._known.add(table)
            self._unreadable.pop(table, None)

    def close(self) -> None:
        """Closes the connection; the next query opens another."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
            self._connection, self._known = None, set()


def require_name(table: str) -> str:
    """The name of a table. Raises InputError for a text that is none."""
    if not _NAME.fullmatch(table):
        raise InputError(f"{table!r} is not a table name: write schema.table", where="warehouse")
    first = table.partition(".")[0]
    if first.lower() in KEYWORDS:
        told = f"{table!r} begins with {first!r}, a word of SQL; name it otherwise, say {first}_data"
        raise InputError(f"{told}{table[len(first) :]}", where="warehouse")
    return table


def within(found: pa.Table, most_rows: int | None) -> pa.Table:
    """An answer that has no more rows than it may. Raises InputError."""
    if most_rows is not None and found.num_rows > most_rows:
        raise InputError(f"gives more than {most_rows:,} rows", where="query")
    return found


@contextmanager
def _interrupted_after(seconds: float | None, cursor: duckdb.DuckDBPyConnection) -> Iterator[None]:
    if seconds is None:
        yield
        return
    timer = threading.Timer(seconds, cursor.interrupt)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _interruptible(run: Callable[[], pa.Table], cursor: duckdb.DuckDBPyConnection) -> pa.Table:
    """What `run` gives, where a Ctrl-C ends it: DuckDB looks for one only between its tasks, which may be long."""
    if threading.current_thread() is not threading.main_thread():
        return run()
    with ThreadPoolExecutor(1) as beside:
        answer = beside.submit(run)
        try:
            return answer.result()
        except KeyboardInterrupt:
            cursor.interrupt()
            raise


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _first_line(error: Exception) -> str:
    lines: list[Any] = str(error).splitlines() or [type(error).__name__]
    return str(lines[0])
