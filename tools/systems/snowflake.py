"""A Snowflake warehouse: the Guardian's queries, translated, run inside it; only answers travel, and no query hangs."""

from __future__ import annotations

import json
import logging
import os
import re
import threading
from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from policies.errors import GuardianError, InputError, SystemDown
from tools.systems.credentials import cleaned
from tools.systems.remote import LOAD, STATEMENT_SECONDS, RemoteWarehouse
from tools.systems.warehouse import quote, require_name

if TYPE_CHECKING:
    import pyarrow as pa
    from snowflake.connector import SnowflakeConnection
    from snowflake.connector.cursor import SnowflakeCursor

_CONNECT_SECONDS = 10
_CELLS = 200_000
"""So many values are sent at once, as a text of a few megabytes."""
_OPTIONS = ("warehouse", "role", "authenticator", "host", "port", "protocol")
_SECRETS = {
    "password": "SNOWFLAKE_PASSWORD",
    "token": "SNOWFLAKE_TOKEN",
    "private_key_file": "SNOWFLAKE_PRIVATE_KEY_FILE",
    "private_key_file_pwd": "SNOWFLAKE_PRIVATE_KEY_FILE_PWD",
}
_CANCELLED = (604, 630)
_LOGGED_OUT = (390104, 390108, 390111, 390112, 390114, 390115)


class SnowflakeWarehouse(RemoteWarehouse):
    """Tables `schema.table` of a database, by `snowflake://user@account/database/schema?warehouse=…&role=…`.

    Names of schemas and tables are upper case there, whatever their case here; those of columns are as they are
    written. Times with a zone are read as UTC without one. Raises SystemDown where Snowflake does not answer, cannot be
    logged in to or gives up, InputError for a faulty query.
    """

    dialect = "snowflake"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        database, _, schema = parts.path.strip("/").partition("/")
        options = dict(parse_qsl(parts.query))
        if unknown := [name for name in options if name not in _OPTIONS]:
            allowed = ", ".join(_OPTIONS)
            raise InputError(f"{unknown[0]!r} is no setting; allowed: {allowed}", where="systems.warehouse")
        if not (parts.username and parts.hostname and database):
            wanted = "snowflake://user@account/database/schema?warehouse=…&role=…"
            raise InputError(f"is not the address of a Snowflake database: {wanted}", where="systems.warehouse")
        secrets = {name: os.environ.get(variable) for name, variable in _SECRETS.items()}
        secrets["password"] = unquote(parts.password) if parts.password else secrets["password"]
        self._url, self._secrets = (
            url,
            [value for name, value in secrets.items() if value and not name.endswith("_file")],
        )
        self._schema = (schema or "PUBLIC").upper()
        self._given: dict[str, Any] = {
            "user": unquote(parts.username),
            "account": parts.hostname,
            "database": database,
            "schema": self._schema,
            **{name: value for name, value in secrets.items() if value},
            **options,
        }
        self._lock = threading.Lock()
        self._reading: SnowflakeConnection | None = None

    def append(self, table: str, data: pa.Table, name: str) -> None:
        """Adds `data` as the load `name`, replacing a load of that name; readers see all of it or nothing."""
        place, there = self._place(table), self.exists(table)
        kinds = [_declared(field.type) for field in data.schema]
        columns = ", ".join(map(quote, [*data.column_names, LOAD]))
        values = ", ".join(f"CAST(CAST(f.value[{i}] AS VARCHAR) AS {kind})" for i, kind in enumerate(kinds))
        size = max(1, _CELLS // max(1, data.num_columns))
        try:
            with self._connect() as connection, connection.cursor() as cursor:
                if not there:
                    declared = [
                        f"{quote(column)} {kind}" for column, kind in zip(data.column_names, kinds, strict=True)
                    ]
                    cursor.execute(f"CREATE SCHEMA IF NOT EXISTS {place.rpartition('.')[0]}")
                    cursor.execute(f"CREATE TABLE IF NOT EXISTS {place} ({', '.join(declared)}, {quote(LOAD)} VARCHAR)")
                cursor.execute("BEGIN")  # what ends before the COMMIT is rolled back with its session
                cursor.execute(f"DELETE FROM {place} WHERE {quote(LOAD)} = :1", [name])
                for start in range(0, data.num_rows, size):
                    cursor.execute(
                        f"INSERT INTO {place} ({columns}) SELECT {values}, :2 "
                        "FROM TABLE(FLATTEN(INPUT => PARSE_JSON(:1))) AS f",
                        [_as_json(data.slice(start, size)), name],
                    )
                cursor.execute("COMMIT")
        except _errors() as error:
            raise SystemDown(f"{table} cannot be written: {self._line(error)}", where="warehouse") from error

    def withdraw(self, table: str, name: str) -> None:
        """Takes the load `name` away again, and the table where nothing else is in it."""
        place = self._place(table)
        if not self.exists(table):
            return
        try:
            with self._connect() as connection, connection.cursor() as cursor:
                cursor.execute(f"DELETE FROM {place} WHERE {quote(LOAD)} = :1", [name])
                if cursor.execute(f"SELECT 1 FROM {place} LIMIT 1").fetchone() is None:
                    cursor.execute(f"DROP TABLE {place}")
        except _errors() as error:
            raise SystemDown(f"{table} cannot be changed: {self._line(error)}", where="warehouse") from error

    def tables(self) -> list[str]:
        """Names of all tables and views that may be read, in lower case."""
        sql = """
            SELECT TABLE_SCHEMA AS s, TABLE_NAME AS t FROM INFORMATION_SCHEMA.TABLES
            WHERE TABLE_SCHEMA <> 'INFORMATION_SCHEMA'
        """
        found = [(row["s"], row["t"]) for row in self.query(sql).to_pylist()]
        plain = [(s, t) for s, t in found if s == s.upper() and t == t.upper()]  # others cannot be named
        return sorted(t.lower() if s == self._schema else f"{s}.{t}".lower() for s, t in plain)

    def columns(self, table: str) -> dict[str, str]:
        """Column names and types of a table, `integer` for numbers without a scale. Raises InputError for none."""
        sql = """
            SELECT COLUMN_NAME AS c, DATA_TYPE AS kind, NUMERIC_SCALE AS scale FROM INFORMATION_SCHEMA.COLUMNS
            WHERE TABLE_SCHEMA = $schema AND TABLE_NAME = $short AND COLUMN_NAME <> $load ORDER BY ORDINAL_POSITION
        """
        schema, short = self._parts(table)
        found = self.query(sql, {"schema": schema, "short": short, "load": LOAD}).to_pylist()
        if not found:
            raise self._no_table(table)
        return {row["c"]: _shown(row["kind"], row["scale"]) for row in found}

    def exists(self, table: str) -> bool:
        """Whether there is a table or view of that name."""
        sql = "SELECT 1 AS there FROM INFORMATION_SCHEMA.TABLES WHERE TABLE_SCHEMA = $schema AND TABLE_NAME = $short"
        schema, short = self._parts(table)
        return bool(self.query(sql, {"schema": schema, "short": short}).num_rows)

    def fingerprint(self, table: str) -> object:
        """What changes with the table's rows: their number and a sum of their hashes."""
        columns = ", ".join(map(quote, self.columns(table)))
        sql = f"SELECT count(*) AS n, CAST(sum(hash({columns})) AS VARCHAR) AS f FROM {table}"
        return list(self.query(sql, dialect="snowflake").to_pylist()[0].values())

    def close(self) -> None:
        """Closes the connection; the next query opens another."""
        with self._lock:
            if self._reading is not None:
                self._reading.close()
            self._reading = None

    def _parts(self, table: str) -> tuple[str, str]:
        schema, _, short = require_name(table).upper().rpartition(".")
        return schema or self._schema, short

    def _place(self, table: str) -> str:
        return ".".join(map(quote, self._parts(table)))

    def _rows(self, text: str, bound: Mapping[str, object], seconds: float | None) -> pa.Table:
        with self._lock:
            return self._asked(text, bound, seconds)

    def _plan(self, text: str, bound: Mapping[str, object]) -> None:
        with self._lock:
            self._asked(text, bound, described=True)

    def _asked(
        self, text: str, bound: Mapping[str, object], seconds: float | None = None, *, described: bool = False
    ) -> pa.Table:
        """Rows, or of one that is only described none. A session that was ended is opened once more."""
        import pyarrow as pa

        again = self._reading is not None
        try:
            if self._reading is None or self._reading.is_closed():
                self._reading = self._connect()
            with self._reading.cursor() as cursor:
                if described:
                    cursor.describe(text, list(bound.values()) or None)
                    return pa.table({})
                cursor.execute(text, list(bound.values()) or None, timeout=int(seconds or STATEMENT_SECONDS) or 1)
                return _plain(cursor)
        except _errors() as error:
            named = _named(error, self._line(error), limited=seconds is not None)
            if isinstance(named, SystemDown) and error.errno not in _CANCELLED:
                self._reading = None
                if again:
                    return self._asked(text, bound, seconds, described=described)
            raise named from error

    def _line(self, error: Exception) -> str:
        """The driver's error in one line, without what the URL or the environment holds in secret."""
        return cleaned(_line(error), self._url, *self._secrets)

    def _connect(self) -> SnowflakeConnection:
        from snowflake import connector

        logging.getLogger("snowflake.connector").setLevel(logging.CRITICAL)  # what goes wrong is raised
        settings = {
            "TIMEZONE": "UTC",
            "QUERY_TAG": "guardian",
            "STATEMENT_TIMEOUT_IN_SECONDS": STATEMENT_SECONDS,
            "CLIENT_OUT_OF_BAND_TELEMETRY_ENABLED": False,
        }
        try:
            return connector.connect(
                **self._given,
                application="guardian",
                paramstyle="numeric",
                login_timeout=_CONNECT_SECONDS,
                network_timeout=STATEMENT_SECONDS + _CONNECT_SECONDS,
                session_parameters=settings,
            )
        except _errors() as error:
            raise SystemDown(f"cannot be reached: {self._line(error)}", where="warehouse") from error


def _errors() -> Any:
    from snowflake.connector.errors import Error

    return Error


def _named(error: Any, line: str, *, limited: bool) -> GuardianError:
    """Snowflake's error, `line` in words, as ours: what a query can be faulty in, and all else."""
    from snowflake.connector.errors import ProgrammingError

    if error.errno in _CANCELLED:
        if limited:
            return InputError("took longer than it may, and was interrupted", where="query")
        return SystemDown(f"gave up a query: {line}", where="warehouse")
    if isinstance(error, ProgrammingError) and error.errno not in _LOGGED_OUT:
        return InputError(line, where="query")
    return SystemDown(line, where="warehouse")


def _line(error: Exception) -> str:
    """The message in one line, without the number of the query."""
    text = " ".join(str(error).split())
    return re.sub(r"^(\d+ \(\w+\): )(None: |[0-9a-f-]{36}: )?", r"\1", text)[:400] or type(error).__name__


def _shown(kind: str, scale: int | None) -> str:
    kind = kind.lower()
    if kind == "number":
        return "decimal" if scale else "integer"
    return kind


def _declared(kind: Any) -> str:
    """Snowflake's type for a column of an Arrow type."""
    import pyarrow as pa

    is_a = pa.types
    for test, name in (
        (is_a.is_boolean, "BOOLEAN"),
        (is_a.is_integer, "NUMBER(38, 0)"),
        (is_a.is_floating, "FLOAT"),
        (is_a.is_decimal, f"NUMBER(38, {getattr(kind, 'scale', 0)})"),
        (is_a.is_timestamp, "TIMESTAMP_NTZ"),
        (is_a.is_date, "DATE"),
    ):
        if test(kind):
            return name
    return "VARCHAR"


def _as_json(data: pa.Table) -> str:
    """Rows as lists of texts, times as UTC."""
    import pyarrow as pa

    columns = []
    for column in data.columns:
        plain = column.cast(pa.timestamp("us"), safe=False) if pa.types.is_timestamp(column.type) else column
        columns.append([_text(value) for value in plain.to_pylist()])
    return json.dumps(list(zip(*columns, strict=True)), ensure_ascii=False)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (datetime, date)):
        return str(value)
    return repr(value) if isinstance(value, float) else str(value)


def _plain(cursor: SnowflakeCursor) -> pa.Table:
    """The answer with times as UTC without a zone, whole numbers, floats, and lists, which travel as JSON."""
    import pyarrow as pa
    from snowflake.connector.constants import FIELD_ID_TO_NAME

    found = cursor.fetch_arrow_all(force_return_table=True)
    arrays = []
    for column, described in zip(found.columns, cursor.description, strict=True):
        kind = column.type
        if FIELD_ID_TO_NAME[described.type_code] in ("ARRAY", "VARIANT"):
            arrays.append(pa.array([None if each is None else json.loads(each) for each in column.to_pylist()]))
        elif pa.types.is_timestamp(kind):
            arrays.append(column.cast(pa.timestamp("us"), safe=False))
        elif pa.types.is_date(kind):
            arrays.append(column.cast(pa.date32()))
        elif pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and not described.scale):
            arrays.append(column.cast(pa.int64()))
        elif pa.types.is_decimal(kind):
            arrays.append(column.cast(pa.float64()))
        else:
            arrays.append(column)
    return pa.table(arrays, names=found.column_names)
