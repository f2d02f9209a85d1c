"""A BigQuery warehouse: the Guardian's queries, translated, run inside it; only answers travel, and no query hangs."""

from __future__ import annotations

import io
import os
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import TimeoutError as TooLate
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

from policies.errors import GuardianError, InputError, SystemDown
from tools.systems.remote import LOAD, STATEMENT_SECONDS, RemoteWarehouse
from tools.systems.warehouse import require_name

if TYPE_CHECKING:
    import pyarrow as pa
    from google.cloud.bigquery import Client, SchemaField, Table

_CONNECT_SECONDS = 10.0
"""So long a call that fails is tried again."""
_CALL_SECONDS = 60.0
_STAGED = "_guardian_"
"""How the names of tables begin that a load passes through."""
_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_GIVEN_UP = ("stopped", "timeout")
_NAMES = {"float": "double", "numeric": "decimal", "bignumeric": "decimal"}


class BigQueryWarehouse(RemoteWarehouse):
    """Tables `dataset.table` of a project, by `bigquery://project/dataset?location=…`; `dataset` is that of the others.

    Credentials are those that Google's client finds by itself. Times with a zone are read as UTC without one, and
    written as TIMESTAMP. Raises SystemDown where BigQuery does not answer, refuses or gives up, InputError for a faulty
    query.
    """

    dialect = "bigquery"

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options = dict(parse_qsl(parts.query))
        if unknown := [name for name in options if name != "location"]:
            raise InputError(f"{unknown[0]!r} is no setting; allowed: location", where="systems.warehouse")
        dataset = parts.path.strip("/")
        if "@" in parts.netloc or not (parts.netloc and _PLAIN.fullmatch(dataset)):
            wanted = "bigquery://project/dataset?location=…, without credentials"
            raise InputError(f"is not the address of a BigQuery dataset: {wanted}", where="systems.warehouse")
        self._project, self._dataset, self._location = parts.netloc, dataset, options.get("location")
        self._lock = threading.Lock()
        self._opened: Client | None = None

    def append(self, table: str, data: pa.Table, name: str) -> None:
        """Adds `data` as the load `name`, replacing a load of that name; readers see all of it or nothing.

        The rows are loaded into a table of their own, and one statement puts them in the place of the load.
        """
        kinds = {field.name: _declared(field.type) for field in data.schema}
        with self._faults_named(f"{table} cannot be written"):
            if self._found(table) is None:
                self._make(table, kinds)
            if data.num_rows == 0:
                self._run(f"DELETE FROM {self._place(table)} WHERE {LOAD} = @name", {"name": name})
                return
            staged = f"{self._parts(table)[0]}.{_STAGED}{secrets.token_hex(8)}"
            try:
                self._stage(staged, data, kinds)
                columns = ", ".join(map(_quoted, [*kinds, LOAD]))
                rows = f"(SELECT *, @name AS {LOAD} FROM {self._place(staged)})"
                self._run(
                    f"MERGE {self._place(table)} AS t USING {rows} AS s ON FALSE "
                    f"WHEN NOT MATCHED BY TARGET THEN INSERT ({columns}) VALUES ({columns}) "
                    f"WHEN NOT MATCHED BY SOURCE AND t.{LOAD} = @name THEN DELETE",
                    {"name": name},
                )
            finally:
                with suppress(*_errors()):  # it ends by itself
                    self._client().delete_table(f"{self._project}.{staged}", not_found_ok=True, **_kept())

    def withdraw(self, table: str, name: str) -> None:
        """Takes the load `name` away again, and the table where nothing else is in it."""
        with self._faults_named(f"{table} cannot be changed"):
            if self._found(table) is None:
                return
            place = self._place(table)
            self._run(f"DELETE FROM {place} WHERE {LOAD} = @name", {"name": name})
            if self._run(f"SELECT 1 AS there FROM {place} LIMIT 1", {}).num_rows == 0:
                self._client().delete_table(self._named(table), not_found_ok=True, **_kept())

    def tables(self) -> list[str]:
        """Names of all tables and views of the project, without their dataset where it is the URL's."""
        found = []
        with self._faults_named("its tables cannot be listed"):
            for dataset in [each.dataset_id for each in self._client().list_datasets(**_kept())]:
                for each in self._client().list_tables(f"{self._project}.{dataset}", **_kept()):
                    if _PLAIN.fullmatch(each.table_id) and not each.table_id.startswith(_STAGED):
                        found.append(each.table_id if dataset == self._dataset else f"{dataset}.{each.table_id}")
        return sorted(found)

    def columns(self, table: str) -> dict[str, str]:
        """Column names and types of a table. Raises InputError where there is none."""
        with self._faults_named(f"{table} cannot be described"):
            found = self._found(table)
        if found is None:
            raise self._no_table(table)
        return {each.name: _shown(each) for each in found.schema if each.name != LOAD}

    def exists(self, table: str) -> bool:
        """Whether there is a table or view of that name."""
        with self._faults_named(f"{table} cannot be described"):
            return self._found(table) is not None

    def fingerprint(self, table: str) -> object:
        """What changes with the table's rows: their number and when it was changed; of a view a sum of their hashes."""
        with self._faults_named(f"{table} cannot be described"):
            found = self._found(table)
        if found is not None and found.table_type == "TABLE":
            buffered = found.streaming_buffer.estimated_rows if found.streaming_buffer else 0
            return [found.num_rows, str(found.modified), buffered]
        hashed = "CAST(SUM(CAST(FARM_FINGERPRINT(TO_JSON_STRING(t)) AS NUMERIC)) AS STRING)"
        sql = f"SELECT COUNT(*) AS n, {hashed} AS f FROM {require_name(table)} AS t"
        return list(self.query(sql, dialect="bigquery").to_pylist()[0].values())

    def close(self) -> None:
        """Closes the connection; the next query opens another."""
        with self._lock:
            if self._opened is not None:
                self._opened.close()
            self._opened = None

    def _parts(self, table: str) -> tuple[str, str]:
        dataset, _, short = require_name(table).rpartition(".")
        return dataset or self._dataset, short

    def _named(self, table: str) -> str:
        return ".".join((self._project, *self._parts(table)))

    def _place(self, table: str) -> str:
        return ".".join(map(_quoted, self._parts(table)))

    def _found(self, table: str) -> Table | None:
        from google.api_core.exceptions import NotFound

        try:
            return self._client().get_table(self._named(table), **_kept())
        except NotFound:
            return None

    def _make(self, table: str, kinds: Mapping[str, _Kind]) -> None:
        """Makes a table, and its dataset where there is none."""
        from google.api_core.exceptions import NotFound
        from google.cloud import bigquery

        client = self._client()
        made = bigquery.Table(self._named(table), schema=[*_fields(kinds), bigquery.SchemaField(LOAD, "STRING")])
        made.clustering_fields = [LOAD]
        try:
            client.create_table(made, exists_ok=True, **_kept())
        except NotFound:
            dataset = bigquery.Dataset(f"{self._project}.{self._parts(table)[0]}")
            dataset.location = self._location
            client.create_dataset(dataset, exists_ok=True, **_kept())
            client.create_table(made, exists_ok=True, **_kept())

    def _stage(self, staged: str, data: pa.Table, kinds: Mapping[str, _Kind]) -> None:
        """Loads rows into a new table that ends within the hour."""
        import pyarrow as pa
        import pyarrow.parquet as pq
        from google.cloud import bigquery

        arrays = [
            column.cast(kind.arrow, safe=False) for column, kind in zip(data.columns, kinds.values(), strict=True)
        ]
        written = io.BytesIO()
        pq.write_table(pa.table(arrays, names=data.column_names), written, compression="snappy")
        place = bigquery.Table(f"{self._project}.{staged}", schema=_fields(kinds))
        place.expires = datetime.now(UTC) + timedelta(hours=1)
        client = self._client()
        client.create_table(place, **_kept())
        asked = bigquery.LoadJobConfig(
            source_format="PARQUET",
            schema=_fields(kinds),
            column_name_character_map="STRICT",
            job_timeout_ms=int(1000 * STATEMENT_SECONDS),
        )
        size = written.tell()
        job = client.load_table_from_file(
            written, place, rewind=True, size=size, num_retries=2, job_config=asked, timeout=_CALL_SECONDS
        )
        job.result(retry=_kept()["retry"], timeout=STATEMENT_SECONDS)

    def _rows(self, text: str, bound: Mapping[str, object], seconds: float | None) -> pa.Table:
        return self._asked(text, bound, seconds)

    def _plan(self, text: str, bound: Mapping[str, object]) -> None:
        self._asked(text, bound, dry_run=True)

    def _asked(
        self, text: str, bound: Mapping[str, object], seconds: float | None = None, *, dry_run: bool = False
    ) -> pa.Table:
        """Rows of one query; of one that is only planned none."""
        try:
            return self._run(text, bound, seconds, dry_run=dry_run)
        except _errors() as error:
            raise _fault(error, limited=seconds is not None) from error

    def _run(
        self, text: str, bound: Mapping[str, object], seconds: float | None = None, *, dry_run: bool = False
    ) -> pa.Table:
        import pyarrow as pa
        from google.cloud import bigquery

        limit = seconds or STATEMENT_SECONDS
        config = bigquery.QueryJobConfig(
            default_dataset=f"{self._project}.{self._dataset}",
            query_parameters=[_parameter(name, value) for name, value in bound.items()],
            job_timeout_ms=max(1, int(1000 * limit)),
            labels={"by": "guardian"},
            dry_run=dry_run,
        )
        kept = _kept()
        job = self._client().query(text, job_config=config, job_retry=None, **kept)
        if dry_run:
            return pa.table({})
        try:
            rows = job.result(retry=kept["retry"], timeout=limit, job_retry=None)
            return _plain(rows.to_arrow(create_bqstorage_client=False))
        except (TooLate, KeyboardInterrupt):
            with suppress(*_errors()):  # it is given up by BigQuery too
                job.cancel(**kept)
            raise

    @contextmanager
    def _faults_named(self, what: str) -> Iterator[None]:
        """Google's errors as SystemDown: of what is not asked by somebody else."""
        try:
            yield
        except _errors() as error:
            raise SystemDown(f"{what}: {_line(error)}", where="warehouse") from error

    def _client(self) -> Client:
        from google.api_core.client_options import ClientOptions
        from google.auth.credentials import AnonymousCredentials
        from google.cloud.bigquery import Client

        with self._lock:
            if self._opened is None:
                emulator = os.environ.get("BIGQUERY_EMULATOR_HOST")
                self._opened = Client(
                    project=self._project,
                    location=self._location,
                    credentials=AnonymousCredentials() if emulator else None,
                    client_options=ClientOptions(api_endpoint=emulator) if emulator else None,
                )
            return self._opened


class _Kind(NamedTuple):
    """BigQuery's type, and Arrow's that is sent for it."""

    name: str
    arrow: Any


def _kept() -> dict[str, Any]:
    """The deadlines of one call."""
    from google.cloud.bigquery import DEFAULT_RETRY

    return {"retry": DEFAULT_RETRY.with_timeout(_CONNECT_SECONDS), "timeout": _CALL_SECONDS}


def _errors() -> tuple[type[Exception], ...]:
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError
    from requests import RequestException

    return GoogleAPIError, GoogleAuthError, RequestException, TooLate


def _fault(error: Exception, *, limited: bool) -> GuardianError:
    """Google's error as ours: what a query can be faulty in, and all else."""
    from google.api_core.exceptions import BadRequest, NotFound
    from requests import Timeout

    late = isinstance(error, (TooLate, Timeout)) or isinstance(getattr(error, "cause", None), Timeout)
    if late or _reason(error) in _GIVEN_UP:
        if limited:
            return InputError("took longer than it may, and was interrupted", where="query")
        return SystemDown(f"gave up a query: {_line(error)}", where="warehouse")
    if isinstance(error, (BadRequest, NotFound)):
        return InputError(_line(error), where="query")
    return SystemDown(_line(error), where="warehouse")


def _reason(error: Exception) -> str:
    said = getattr(error, "errors", None) or [{}]
    return str(said[0].get("reason", "")) if isinstance(said[0], dict) else ""


def _line(error: Exception) -> str:
    """The message in one line, without the request's address and the job's number."""
    error = getattr(error, "cause", None) or error
    text = str(getattr(error, "message", "") or error or type(error).__name__)
    text = re.sub(r"^(GET|POST|PUT|DELETE|PATCH) https?://\S+: ", "", text).partition("\n\nLocation:")[0]
    return " ".join(text.split())[:400] or type(error).__name__


def _parameter(name: str, value: object) -> Any:
    """A query's parameter. Times are texts, which BigQuery compares with a TIMESTAMP and with a DATETIME."""
    from google.cloud.bigquery import ArrayQueryParameter, ScalarQueryParameter

    if isinstance(value, list):
        return ArrayQueryParameter(name, _kind_of(value[0]) if value else "STRING", value)
    plain = str(value) if isinstance(value, date) else value
    return ScalarQueryParameter(name, _kind_of(value), plain)


def _kind_of(value: object) -> str:
    for kind, name in ((bool, "BOOL"), (int, "INT64"), (float, "FLOAT64")):
        if isinstance(value, kind):
            return name
    return "STRING"


def _fields(kinds: Mapping[str, _Kind]) -> list[SchemaField]:
    from google.cloud.bigquery import SchemaField

    return [SchemaField(name, kind.name) for name, kind in kinds.items()]


def _declared(kind: Any) -> _Kind:
    """BigQuery's type for a column of an Arrow type."""
    import pyarrow as pa

    is_a = pa.types
    for test, declared in (
        (is_a.is_boolean, _Kind("BOOLEAN", pa.bool_())),
        (is_a.is_integer, _Kind("INTEGER", pa.int64())),
        (is_a.is_floating, _Kind("FLOAT", pa.float64())),
        (is_a.is_decimal, _Kind("BIGNUMERIC", kind)),
        (is_a.is_timestamp, _Kind("TIMESTAMP", pa.timestamp("us", "UTC"))),
        (is_a.is_date, _Kind("DATE", pa.date32())),
    ):
        if test(kind):
            return declared
    return _Kind("STRING", pa.string())


def _shown(field: SchemaField) -> str:
    kind = field.field_type.lower()
    kind = _NAMES.get(kind, kind)
    return f"array<{kind}>" if field.mode == "REPEATED" else kind


def _quoted(name: str) -> str:
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


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
