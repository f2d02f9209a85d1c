"""A Spark warehouse: the Guardian's queries, translated, run inside it; only answers travel, and no query hangs.

Tables are those of the session's catalog, or with `folder` a folder of Parquet, one folder a table, as DuckDB reads it.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

from policies.errors import GuardianError, InputError, SystemDown
from tools.systems.credentials import cleaned
from tools.systems.remote import LOAD, STATEMENT_SECONDS, RemoteWarehouse
from tools.systems.warehouse import Warehouse, require_name

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import SparkSession

_GRACE = 30.0
"""So long the jobs of a query that is given up are waited for, in seconds."""

_LOCAL = {
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.sql.shuffle.partitions": "8",
}
_CONFIGURED = {
    "spark.app.name": "guardian",
    "spark.log.level": "ERROR",
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.timestampType": "TIMESTAMP_NTZ",
    "spark.sql.runSQLOnFiles": "false",
    "spark.sql.legacy.parquet.nanosAsLong": "true",
    "spark.sql.execution.arrow.pyspark.enabled": "true",
}

_T = TypeVar("_T")


class SparkWarehouse(RemoteWarehouse):
    """Tables `schema.table` of Spark, by `spark:MASTER`, `spark://host:port` or, of Spark Connect, `sc://host:port`.

    `?folder=…` names a folder of Parquet that all of its machines see; other words behind the `?` that begin with
    `spark.` are settings of the session. Times with a zone are read as UTC without one. Raises SystemDown where Spark
    cannot be started or reached or gives up, InputError for a faulty query.
    """

    dialect = "spark"

    def __init__(self, url: str, home: Path) -> None:
        self._url = url
        address, _, asked = url.partition("?")
        given = dict(parse_qsl(asked))
        folder = given.pop("folder", None)
        if unknown := [name for name in given if not name.startswith("spark.")]:
            raise InputError(f"{unknown[0]!r} is no setting: folder, or spark.…", where="systems.warehouse")
        self.remote = address if address.startswith("sc://") else None
        self._master = address if address.startswith("spark://") else address.removeprefix("spark:") or "local[*]"
        self._settings = given
        self._files = Warehouse(home / folder) if folder is not None else None
        self._lock = threading.Lock()
        self._session: SparkSession | None = None
        self._shown: dict[str, object] = {}

    def append(self, table: str, data: pa.Table, name: str) -> None:
        """Adds `data` as the load `name`, replacing a load of that name; readers see all of it or nothing."""
        require_name(table)
        if self._files is not None:
            self._files.append(table, data, name)
            return
        from pyspark.sql import functions as F

        schema = table.rpartition(".")[0]

        def run(session: SparkSession) -> None:
            frame = session.createDataFrame(data).withColumn(LOAD, F.lit(name))
            if schema:
                session.sql(f"CREATE SCHEMA IF NOT EXISTS {schema}")
            if not session.catalog.tableExists(table):
                frame.limit(0).write.partitionBy(LOAD).format("parquet").saveAsTable(table)
            columns = ", ".join(_quoted(each) for each in frame.columns if each != LOAD)
            literal = name.replace("\\", "\\\\").replace("'", "\\'")
            chosen = f"INSERT OVERWRITE TABLE {table} PARTITION ({LOAD} = '{literal}') ({columns})"
            session.sql(f"{chosen} SELECT {columns} FROM {{rows}}", rows=frame)

        self.run(run)

    def withdraw(self, table: str, name: str) -> None:
        """Takes the load `name` away again, and the table where nothing else is in it."""
        if self._files is not None:
            self._files.withdraw(table, name)
            return
        if not self.exists(table):
            return
        literal = name.replace("\\", "\\\\").replace("'", "\\'")

        def run(session: SparkSession) -> None:
            session.sql(f"ALTER TABLE {table} DROP IF EXISTS PARTITION ({LOAD} = '{literal}')")
            if session.table(table).isEmpty():
                session.sql(f"DROP TABLE {table}")

        self.run(run)

    def tables(self) -> list[str]:
        """Names of all tables and views of the session's catalog, or of the folder."""
        if self._files is not None:
            return self._files.tables()

        def run(session: SparkSession) -> list[str]:
            schemas = [each[0] for each in session.sql("SHOW SCHEMAS").collect()]
            found = []
            for schema in schemas:
                for row in session.sql(f"SHOW TABLES IN {_quoted(schema)}").collect():
                    if not row["isTemporary"]:
                        found.append(row["tableName"] if schema == "default" else f"{schema}.{row['tableName']}")
            return sorted(found)

        return self.run(run)

    def columns(self, table: str) -> dict[str, str]:
        """Column names and Spark's types of a table. Raises InputError where there is none."""
        if not self.exists(table):
            raise self._no_table(table)
        name = self._name(table) or table
        fields = self.run(lambda session: session.table(name).schema.fields)
        return {field.name: field.dataType.simpleString() for field in fields if field.name != LOAD}

    def exists(self, table: str) -> bool:
        """Whether there is a table or view of that name."""
        require_name(table)
        if self._files is not None:
            return self._files.exists(table)
        return bool(self.run(lambda session: session.catalog.tableExists(table)))

    def fingerprint(self, table: str) -> object:
        """What changes with the table's rows: of files their names, sizes and times, else a sum of the rows' hashes."""
        require_name(table)
        if self._files is not None:
            return self._files.fingerprint(table)
        hashed = "coalesce(sum(CAST(xxhash64(*) AS DECIMAL(38, 0))), 0)"
        sql = f"SELECT concat(CAST(count(*) AS STRING), ' ', CAST({hashed} AS STRING)) AS f FROM {table}"
        return self.query(sql, dialect="spark")["f"][0].as_py()

    def close(self) -> None:
        """Lets go of the session; the next query opens another. The Spark of this process stays up."""
        with self._lock:
            if self._session is not None and self.remote is not None:
                self._session.stop()
            self._session, self._shown = None, {}

    def _rows(self, text: str, bound: Mapping[str, object], seconds: float | None) -> pa.Table:
        return self.run(lambda session: _plain(session.sql(text, args=dict(bound)).toArrow()), seconds)

    def _plan(self, text: str, bound: Mapping[str, object]) -> None:
        self.run(lambda session: session.sql(text, args=dict(bound)).schema)

    def _name(self, table: str) -> str | None:
        """The view that shows a table of the folder as it is now; None for one of the catalog. Raises InputError."""
        if self._files is None:
            return None
        if not self._files.exists(table):
            there = ", ".join(self._files.tables()) or "none"
            raise InputError(f"there is no table {table!r}; there are: {there}", where="warehouse")
        from pyspark.sql import functions as F

        view, files = f"guardian_{table.replace('.', '__')}", self._files.fingerprint(table)
        if self._shown.get(view) != files:
            pattern = str(self._files.folder(table).resolve() / "*.parquet")

            nanos = _nanoseconds(self._files.folder(table))

            def show(session: SparkSession) -> None:
                frame = session.read.option("mergeSchema", "true").parquet(pattern)
                for name in nanos:
                    time = f"CAST(timestamp_micros({_quoted(name)} DIV 1000) AS TIMESTAMP_NTZ)"
                    frame = frame.withColumn(name, F.expr(time))
                frame.createOrReplaceTempView(view)

            self.run(show)
            self._shown[view] = files
        return view

    def run(self, work: Callable[[SparkSession], _T], seconds: float | None = None) -> _T:
        """What `work` gives, in a thread of its own, whose jobs are cancelled when its time is over or at a Ctrl-C."""
        session = self._opened()
        group = f"guardian-{uuid.uuid4().hex}"
        answer: Future[_T] = Future()

        def run() -> None:
            try:
                if self.remote is not None:
                    session.addTag(group)
                else:  # a session's tag does not reach the thread that fetches Arrow; the group does
                    session.sparkContext.setJobGroup(group, "guardian")
                answer.set_result(work(session))
            except BaseException as error:
                answer.set_exception(error)

        def cancel() -> None:
            """Again and again: jobs that are only being planned cannot be cancelled yet."""
            given_up = time.monotonic() + _GRACE
            while time.monotonic() < given_up and not answer.done():
                if self.remote is not None:
                    session.interruptTag(group)
                else:
                    session.sparkContext.cancelJobGroup(group)
                wait([answer], 0.5)

        threading.Thread(target=run, name=group, daemon=True).start()
        try:
            wait([answer], seconds or STATEMENT_SECONDS)
        except KeyboardInterrupt:
            cancel()
            raise
        if not answer.done():
            cancel()
            if seconds is None:
                raise SystemDown(f"gave up a query after {STATEMENT_SECONDS} s", where="warehouse")
            raise InputError("took longer than it may, and was interrupted", where="query")
        try:
            return answer.result()
        except GuardianError:
            raise
        except Exception as error:
            raise _named(error, self._url) from error

    def _opened(self) -> SparkSession:
        with self._lock:
            if self._session is None:
                self._session = self._open()
            return self._session

    def _open(self) -> SparkSession:
        from pyspark.sql import SparkSession

        builder: Any = SparkSession.builder
        try:
            if self.remote is not None:
                session: SparkSession = builder.remote(self.remote).create()
            else:
                local = _LOCAL if self._master.startswith("local") else {}
                if local:
                    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # else its workers are any python3
                for name, value in {**_CONFIGURED, **local, **self._settings}.items():
                    builder = builder.config(name, value)
                session = builder.master(self._master).getOrCreate().newSession()
            for name, value in {**_CONFIGURED, **self._settings}.items():
                if name.startswith("spark.sql.") and session.conf.isModifiable(name):
                    session.conf.set(name, value)
        except Exception as error:
            reason = cleaned(_first_line(error), self._url)
            told = "Spark needs Java 17 or newer" if "JAVA_GATEWAY" in reason else f"Spark cannot be reached: {reason}"
            raise SystemDown(told, where="warehouse") from error
        return session


def _plain(found: pa.Table) -> pa.Table:
    """An answer with times as UTC without a zone, and decimals as floats."""
    import pyarrow as pa

    fields = []
    for field in found.schema:
        kind = field.type
        if pa.types.is_timestamp(kind):
            kind = pa.timestamp("us")
        elif pa.types.is_decimal(kind):
            kind = pa.float64()
        fields.append(pa.field(field.name, kind))
    return found.cast(pa.schema(fields))


def _nanoseconds(folder: Path) -> list[str]:
    """The columns of Parquet files whose times are nanoseconds, which Spark reads as numbers at best."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    fields = [field for file in sorted(folder.glob("*.parquet"))[:1] for field in pq.read_schema(file)]
    return [each.name for each in fields if pa.types.is_timestamp(each.type) and each.type.unit == "ns"]


def _named(error: Exception, url: str) -> GuardianError:
    """Spark's error as ours: what a query can be faulty in, and all else. It does not tell the URL's credentials."""
    from pyspark import errors

    faulty = (
        errors.AnalysisException, errors.ParseException, errors.ArithmeticException, errors.NumberFormatException,
        errors.IllegalArgumentException, errors.DateTimeException, errors.ArrayIndexOutOfBoundsException,
    )  # fmt: skip
    if isinstance(error, faulty):
        return InputError(cleaned(_first_line(error), url), where="query")
    return SystemDown(cleaned(_first_line(error), url), where="warehouse")


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
