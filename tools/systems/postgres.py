"""A PostgreSQL warehouse: the Guardian's queries, translated, run inside it; reads cannot write, and cannot hang."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from policies.errors import InputError, SystemDown
from tools.systems.credentials import cleaned
from tools.systems.remote import LOAD, STATEMENT_SECONDS, RemoteWarehouse
from tools.systems.warehouse import quote, require_name

if TYPE_CHECKING:
    import psycopg
    import pyarrow as pa
    from psycopg.types import TypeInfo

_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")
_PART = re.compile(r'"[^"]+"|[A-Za-z_][A-Za-z0-9_]*')
_QUOTED = re.compile(rf"({_PART.pattern})(\.({_PART.pattern}))?")
_DEFAULTS = {"connect_timeout": "10", "tcp_user_timeout": "30000", "application_name": "guardian"}

_REFUSED = re.compile(
    r"authentication failed|no password supplied|(role|database) .* does not exist|no pg_hba\.conf entry"
    r"|permission denied for database|is not permitted to log in"
)
_MEND = (
    "mend user, password and database in GUARDIAN_WAREHOUSE_URL, or the URL in systems.warehouse of operations.yaml "
    "with its password in ~/.pgpass"
)

_KINDS = {
    "bool": "bool", "int2": "int64", "int4": "int64", "int8": "int64", "float4": "float64", "float8": "float64",
    "numeric": "float64", "timestamp": "timestamp[us]", "timestamptz": "timestamp[us]", "date": "date32",
}  # fmt: skip


class _Snapshot(threading.local):
    """Whether this thread reads one state of the tables, and the connection it reads that by once it did."""

    open = False
    connection: psycopg.Connection[Any] | None = None


class PostgresWarehouse(RemoteWarehouse):
    """Tables `schema.table` of a database, by a `postgresql://` URL. Times with a zone are read as UTC without one.

    Reads are one SELECT each, in a read-only session with a statement timeout. Raises SystemDown where the server does
    not answer or gives up, InputError where it refuses the login, and for a faulty query.
    """

    dialect = "postgres"

    def __init__(self, url: str) -> None:
        self.url = url.replace("postgresql+psycopg://", "postgresql://", 1)
        self._lock = threading.Lock()
        self._reading: psycopg.Connection[Any] | None = None
        self._snapshot = _Snapshot()

    def append(self, table: str, data: pa.Table, name: str) -> None:
        """Adds `data` as the load `name`, replacing a load of that name; readers see all of it or nothing."""
        import psycopg

        schema, short = _parts(table)
        columns = ", ".join(map(quote, [*data.column_names, LOAD]))
        declared = [f"{quote(field.name)} {_declared(field.type)}" for field in data.schema]
        try:
            with self._connect(reading=False) as connection, connection.cursor() as cursor:
                if schema:
                    _run(cursor, f"CREATE SCHEMA IF NOT EXISTS {quote(schema)}")
                _run(cursor, f"CREATE TABLE IF NOT EXISTS {table} ({', '.join(declared)}, {quote(LOAD)} text)")
                cursor.execute(f"DELETE FROM {table} WHERE {quote(LOAD)} = %s", [name])
                with cursor.copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                    for batch in data.to_batches(max_chunksize=10_000):
                        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                            copy.write_row([*row, name])
        except psycopg.Error as error:
            raise SystemDown(f"{short} cannot be written: {self._line(error)}", where="warehouse") from error

    def withdraw(self, table: str, name: str) -> None:
        """Takes the load `name` away again, and the table where nothing else is in it."""
        import psycopg

        if not self.exists(table):
            return
        try:
            with self._connect(reading=False) as connection, connection.cursor() as cursor:
                cursor.execute(f"DELETE FROM {table} WHERE {quote(LOAD)} = %s", [name])
                cursor.execute(f"SELECT 1 FROM {table} LIMIT 1")
                if cursor.fetchone() is None:
                    _run(cursor, f"DROP TABLE {table}")
        except psycopg.Error as error:
            raise SystemDown(f"{table} cannot be changed: {self._line(error)}", where="warehouse") from error

    def tables(self) -> list[str]:
        """Names of all tables and views that may be read, in quotes where PostgreSQL wants them."""
        sql = """
            SELECT table_schema AS schema, table_name AS short
            FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1, 2
        """
        found = self.query(sql, dialect="postgres").to_pylist()
        parts = ([each["short"]] if each["schema"] == "public" else [each["schema"], each["short"]] for each in found)
        return sorted(".".join(each if _PLAIN.fullmatch(each) else quote(each) for each in names) for names in parts)

    def columns(self, table: str) -> dict[str, str]:
        """Column names and types of a table. Raises InputError where there is none."""
        schema, short = _parts(table)
        sql = """
            SELECT column_name, data_type FROM information_schema.columns
            WHERE table_schema = $schema AND table_name = $short AND column_name <> $load ORDER BY ordinal_position
        """
        params = {"schema": schema or "public", "short": short, "load": LOAD}
        found = self.query(sql, params, dialect="postgres")
        if not found.num_rows:
            raise self._no_table(table)
        return dict(zip(*(column.to_pylist() for column in found.columns), strict=True))

    def exists(self, table: str) -> bool:
        """Whether there is a table or view of that name."""
        sql = "SELECT to_regclass($name) IS NOT NULL AS there"
        _parts(table)
        return bool(self.query(sql, {"name": table}, dialect="postgres")["there"][0].as_py())

    def fingerprint(self, table: str) -> object:
        """What changes with the table's rows: their number and a sum of their hashes."""
        _parts(table)
        sql = f"SELECT count(*)::text || ' ' || coalesce(sum(hashtextextended(t::text, 0)), 0) AS f FROM {table} t"
        return self.query(sql, dialect="postgres")["f"][0].as_py()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """A block in which all that this thread reads is the database's state at its first query: one transaction.

        A connection that is lost in it is not opened again: what follows would be of another state.
        """
        if self._snapshot.open:
            yield
            return
        self._snapshot.open = True
        try:
            yield
        finally:
            self._snapshot.open = False
            if self._snapshot.connection is not None:
                self._snapshot.connection.close()
            self._snapshot.connection = None

    def close(self) -> None:
        """Closes the connection; the next query opens another."""
        with self._lock:
            if self._reading is not None:
                self._reading.close()
            self._reading = None

    def _rows(self, text: str, bound: Mapping[str, object], seconds: float | None) -> pa.Table:
        import pyarrow as pa

        with self._lock:
            names, kinds, rows = self._fetch(text, bound, seconds)
        columns = zip(*rows, strict=True) if rows else [()] * len(names)
        arrays = [_array(values, kind) for values, kind in zip(columns, kinds, strict=True)]
        return pa.table(arrays, names=names)

    def _plan(self, text: str, bound: Mapping[str, object]) -> None:
        with self._lock:
            self._fetch(f"EXPLAIN {text}", bound)

    def _fetch(
        self, text: str, bound: Mapping[str, object], seconds: float | None = None
    ) -> tuple[list[str], list[str], list[tuple[Any, ...]]]:
        """Names, types and rows. A connection that was lost is opened once more."""
        import psycopg

        again = self._reading is not None and not self._snapshot.open
        try:
            connection = self._connection()
            # A query that fails must not end the snapshot: within it each has a savepoint.
            with connection.transaction() if self._snapshot.open else nullcontext(), connection.cursor() as cursor:
                _run(cursor, f"SET statement_timeout = {int(1000 * seconds)}" if seconds else "RESET statement_timeout")
                _run(cursor, text, bound)
                description = cursor.description or []
                types = connection.adapters.types
                kinds = [_kind(types.get(each.type_code), each.type_code) for each in description]
                return [each.name for each in description], kinds, cursor.fetchall()
        except psycopg.errors.QueryCanceled as error:
            if seconds is not None:
                raise InputError("took longer than it may, and was interrupted", where="query") from error
            raise SystemDown(f"gave up a query: {self._line(error)}", where="warehouse") from error
        except psycopg.OperationalError as error:
            if not self._snapshot.open:
                self._reading = None
            if again:
                return self._fetch(text, bound, seconds)
            raise SystemDown(self._line(error), where="warehouse") from error
        except psycopg.Error as error:
            raise InputError(self._line(error), where="query") from error

    def _connection(self) -> psycopg.Connection[Any]:
        """The snapshot's connection, else the one that all threads share."""
        if not self._snapshot.open:
            if self._reading is None or self._reading.closed:
                self._reading = self._connect(reading=True)
            return self._reading
        if self._snapshot.connection is None:
            self._snapshot.connection = self._connect(reading=True)
            self._snapshot.connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        return self._snapshot.connection

    def _line(self, error: Exception) -> str:
        """The first line of the driver's error, without what the URL holds in secret."""
        return cleaned((str(error).strip().splitlines() or [type(error).__name__])[0], self.url)

    def _connect(self, *, reading: bool) -> psycopg.Connection[Any]:
        import psycopg
        from psycopg.conninfo import conninfo_to_dict

        try:
            given = conninfo_to_dict(self.url)
        except psycopg.Error as error:
            raise InputError("is not the address of a PostgreSQL database", where="systems.warehouse") from error
        if not all(each.isdecimal() for each in filter(None, str(given.get("port") or "").split(","))):
            port = cleaned(given["port"], self.url)
            raise InputError(f"the port is {port!r}, and must be a number, say 5432", where="systems.warehouse")
        # The rows of a WITH cannot be estimated: nested loops, chosen for a few, would run for hours over many.
        settings = ["-c timezone=UTC", f"-c statement_timeout={STATEMENT_SECONDS}s", "-c enable_nestloop=off"]
        settings += ["-c default_transaction_read_only=on"] if reading else []
        options = " ".join([*settings, str(given.get("options") or "")]).strip()
        try:
            return psycopg.connect(**{**_DEFAULTS, **given, "options": options}, autocommit=reading)  # type: ignore[arg-type]
        except psycopg.Error as error:
            line = self._line(error)
            if _REFUSED.search(line):
                raise InputError(f"refuses the login: {line}; {_MEND}", where="warehouse") from error
            raise SystemDown(f"cannot be reached: {line}", where="warehouse") from error


def _parts(table: str) -> tuple[str, str]:
    """Schema (empty: public) and name of a table as PostgreSQL holds them. Raises InputError for a text that is none.

    What stands in quotes is taken as it is written; everything else is small letters.
    """
    if '"' not in table and " " not in table:
        schema, _, short = require_name(table).lower().rpartition(".")
        return schema, short
    if not _QUOTED.fullmatch(table):
        wanted = 'write schema.table, or "Schema"."Table" where a name holds capitals or spaces'
        raise InputError(f"{table!r} is not a table name: {wanted}", where="warehouse")
    names = [each.strip('"') if each.startswith('"') else each.lower() for each in _PART.findall(table)]
    return (names[0] if len(names) == 2 else ""), names[-1]


def _run(cursor: psycopg.Cursor[Any], text: str, bound: Mapping[str, object] | None = None) -> None:
    """Runs a statement made by this module or translated from a checked SELECT."""
    cursor.execute(text, bound)  # with parameters, even none, %% is %


def _declared(kind: Any) -> str:
    """The PostgreSQL type for a column of an Arrow type."""
    import pyarrow as pa

    is_a = pa.types
    for test, name in (
        (is_a.is_boolean, "boolean"),
        (is_a.is_integer, "bigint"),
        (is_a.is_floating, "double precision"),
        (is_a.is_decimal, "numeric"),
        (is_a.is_timestamp, "timestamp"),
        (is_a.is_date, "date"),
    ):
        if test(kind):
            return name
    return "text"


def _kind(info: TypeInfo | None, code: int) -> str:
    """The name of a PostgreSQL type, `[]` behind it for an array; empty for one that psycopg does not know."""
    if info is None:
        return ""
    return f"{info.name}[]" if info.array_oid == code else info.name


def _array(values: Sequence[Any], kind: str) -> pa.Array:
    """A column of Python values as Arrow, by the PostgreSQL type's name."""
    import pyarrow as pa

    if kind.endswith("[]"):
        return pa.array(values, pa.list_(pa.string() if kind in ("text[]", "varchar[]") else pa.float64()))
    wanted = _KINDS.get(kind)
    if wanted == "float64":
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if kind == "timestamptz":
        values = [None if value is None else value.replace(tzinfo=None) for value in values]
    if wanted is not None:
        return pa.array(values, {"timestamp[us]": pa.timestamp("us"), "date32": pa.date32()}.get(wanted, wanted))
    return pa.array([None if value is None else str(value) for value in values], pa.string())
