"""BigQuery's REST API v2 on loopback, as far as the adapter speaks it; its SQL runs in DuckDB, translated by sqlglot.

A project is a database of its own, empty until something is made in it. What BigQuery has and DuckDB does otherwise is
refused or minded where it is known (`_for_duckdb`): it is a fake, and says nothing of the real service's own rules.
"""

from __future__ import annotations

import base64
import json
import re
import tempfile
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TooLate
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import pyarrow as pa

_KINDS = {
    "INTEGER": "BIGINT", "FLOAT": "DOUBLE", "BOOLEAN": "BOOLEAN", "STRING": "VARCHAR", "TIMESTAMP": "TIMESTAMPTZ",
    "DATETIME": "TIMESTAMP", "DATE": "DATE", "NUMERIC": "DECIMAL(38, 9)", "BIGNUMERIC": "DECIMAL(38, 9)",
}  # fmt: skip
_SHOWN = {"BIGINT": "INTEGER", "DOUBLE": "FLOAT", "VARCHAR": "STRING", "TIMESTAMP WITH TIME ZONE": "TIMESTAMP",
          "TIMESTAMP": "DATETIME", "DECIMAL(38,9)": "NUMERIC"}  # fmt: skip
_FUNCTIONS = {"ieee_divide", "farm_fingerprint", "to_json_string"}
"""Of those that sqlglot does not know, what BigQuery has and these macros do."""
_MACROS = """
    CREATE MACRO main.ieee_divide(a, b) AS CAST(a AS DOUBLE) / CAST(b AS DOUBLE);
    CREATE MACRO main.farm_fingerprint(t) AS CAST(CAST(hash(t) AS HUGEINT) - 9223372036854775808 AS BIGINT);
    CREATE MACRO main.to_json_string(t) AS CAST(to_json(t) AS VARCHAR);
    CREATE SCHEMA google;
"""


class Refused(Exception):
    """An answer in Google's words."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        status = {400: "INVALID_ARGUMENT", 403: "PERMISSION_DENIED", 404: "NOT_FOUND", 409: "ALREADY_EXISTS"}.get(code)
        each = {"message": message, "domain": "global", "reason": reason}
        self.code, self.each = code, each
        self.body = {"error": {"code": code, "message": message, "errors": [each], "status": status}}


@dataclass
class _Job:
    cursor: duckdb.DuckDBPyConnection
    asked: dict[str, Any]
    answer: Future[pa.Table] = field(default_factory=Future)


@dataclass
class _Project:
    database: duckdb.DuckDBPyConnection
    jobs: dict[str, _Job] = field(default_factory=dict)
    changed: dict[tuple[str, str], int] = field(default_factory=dict)
    uploads: dict[str, tuple[dict[str, Any], bytearray]] = field(default_factory=dict)


@dataclass
class BigQueryServer:
    """A running service. `asked` are its calls, `queries` their texts, `refusals` answers to give first, and `page` the
    most rows of a page; where it is `patient` no job times out by itself."""

    url: str = ""
    page: int = 1000
    patient: bool = False
    asked: list[str] = field(default_factory=list)
    queries: list[str] = field(default_factory=list)
    refusals: deque[Refused] = field(default_factory=deque)
    projects: dict[str, _Project] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def project(self, name: str) -> _Project:
        """The project of a name, made when it is first heard of."""
        with self.lock:
            if name not in self.projects:
                database = duckdb.connect(":memory:")
                database.execute("SET TimeZone = 'UTC'")
                database.execute(_MACROS)
                self.projects[name] = _Project(database)
            return self.projects[name]

    def answer(self, method: str, path: str, options: dict[str, str], body: dict[str, Any]) -> dict[str, Any]:
        """The answer to a call below `/bigquery/v2`. Raises Refused."""
        self.asked.append(f"{method} {path}")
        if self.refusals:
            raise self.refusals.popleft()
        _, name, *rest = path.strip("/").split("/")
        project, where = self.project(name), {"projectId": name}
        match (method, *rest):
            case ("POST", "jobs"):
                return self._asked(project, body)
            case ("GET", "queries", job):
                return self._page(project.jobs[job], {**where, "jobId": job}, options)
            case ("GET", "jobs", job):
                return _resource(project.jobs[job], {**where, "jobId": job})
            case ("POST", "jobs", job, "cancel"):
                project.jobs[job].cursor.interrupt()
                return {"job": _resource(project.jobs[job], {**where, "jobId": job})}
            case ("GET", "datasets"):
                sql = "SELECT schema_name FROM duckdb_schemas() WHERE database_name = 'memory' AND NOT internal"
                found = [each for (each,) in _rows(project, sql) if each != "google"]
                return {"datasets": [{"datasetReference": {**where, "datasetId": each}} for each in sorted(found)]}
            case ("POST", "datasets"):
                _rows(project, f"CREATE SCHEMA {_quoted(body['datasetReference']['datasetId'])}")
                return body
            case ("GET", "datasets", dataset, "tables"):
                sql = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = $1"
                return {
                    "tables": [
                        {"tableReference": {**where, "datasetId": dataset, "tableId": each}, "type": kind}
                        for each, kind in _rows(project, sql, [dataset])
                    ]
                }
            case ("POST", "datasets", dataset, "tables"):
                _make(project, dataset, body)
                return body
            case ("GET", "datasets", dataset, "tables", table):
                return _described(project, where, dataset, table)
            case ("DELETE", "datasets", dataset, "tables", table):
                _described(project, where, dataset, table)
                _rows(project, f"DROP TABLE {_quoted(dataset)}.{_quoted(table)}")
                return {}
        raise Refused(404, "notFound", f"Not found: {method} {path}")

    def _asked(self, project: _Project, body: dict[str, Any]) -> dict[str, Any]:
        """A query's job, which runs on."""
        asked, reference = body["configuration"], {"location": "US", **body["jobReference"]}
        query = asked["query"]
        self.queries.append(query["query"])
        assert query["useLegacySql"] is False
        sql = _for_duckdb(query["query"])
        bound = {each["name"]: _value(each) for each in query.get("queryParameters", [])}
        cursor = project.database.cursor()
        try:
            cursor.execute(f"SET search_path = '{query['defaultDataset']['datasetId']},main'")
        except duckdb.CatalogException:
            cursor.execute("SET search_path = 'google,main'")
        if asked.get("dryRun"):
            _run(cursor, f"EXPLAIN {sql}", bound)
            return {"jobReference": reference, "status": {"state": "DONE"}, "configuration": asked}
        job = project.jobs[reference["jobId"]] = _Job(cursor, asked)

        def run() -> None:
            seconds = 60 if self.patient else int(asked["jobTimeoutMs"]) / 1000
            timer = threading.Timer(seconds, cursor.interrupt)
            timer.start()
            try:
                found = _run(cursor, sql, bound)
                for place in re.findall(r"^(?:MERGE|DELETE FROM) `(\w+)`\.`(\w+)`", query["query"]):
                    project.changed[place] = time.time_ns() // 1_000_000
                job.answer.set_result(found)
            except Exception as error:
                job.answer.set_exception(error)
            finally:
                timer.cancel()

        threading.Thread(target=run, daemon=True).start()
        return _resource(job, reference)

    def _page(self, job: _Job, reference: dict[str, str], options: dict[str, str]) -> dict[str, Any]:
        """Rows of a query, some at a time; none where it does not end soon."""
        assert options.get("formatOptions.useInt64Timestamp", "True") == "True"
        try:
            found = job.answer.result(int(options.get("timeoutMs", "1000")) / 1000)
        except TooLate:
            return {"jobComplete": False, "jobReference": reference}
        start = int(options.get("pageToken", "0"))
        end = start + min(self.page, int(options.get("maxResults", self.page)))
        columns = [_cells(column) for column in found.slice(start, end - start).columns]
        said: dict[str, Any] = {
            "jobComplete": True,
            "jobReference": reference,
            "totalRows": str(found.num_rows),
            "schema": {"fields": [_field(each) for each in found.schema]},
            "rows": [{"f": [{"v": cell} for cell in row]} for row in zip(*columns, strict=True)],
        }
        return said | ({"pageToken": str(end)} if end < found.num_rows else {})

    def load(self, project: _Project, name: str, asked: dict[str, Any], data: bytes) -> dict[str, Any]:
        """A load job that is done, well or not."""
        load = asked["configuration"]["load"]
        assert load["sourceFormat"] == "PARQUET"
        place = load["destinationTable"]
        job = _Job(project.database.cursor(), asked["configuration"])
        reference = {"projectId": name, "jobId": asked["jobReference"]["jobId"], "location": "US"}
        project.jobs[reference["jobId"]] = job
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "load.parquet"
            file.write_bytes(data)
            where = f"{_quoted(place['datasetId'])}.{_quoted(place['tableId'])}"
            try:
                job.answer.set_result(_run(job.cursor, f"INSERT INTO {where} BY NAME FROM '{file}'", {}))
            except Refused as error:
                job.answer.set_exception(error)
        return _resource(job, reference)


def _resource(job: _Job, reference: dict[str, str]) -> dict[str, Any]:
    status: dict[str, Any] = {"state": "DONE" if job.answer.done() else "RUNNING"}
    if job.answer.done() and isinstance(error := job.answer.exception(), Refused):
        status |= {"errorResult": error.each, "errors": [error.each]}
    return {"jobReference": reference, "status": status, "configuration": job.asked}


def _for_duckdb(text: str) -> str:
    """BigQuery's SQL as DuckDB's. Raises Refused for what would run here and not there."""
    import sqlglot
    from sqlglot import exp

    try:
        tree = sqlglot.parse_one(text, read="bigquery")
    except sqlglot.errors.SqlglotError as error:
        raise Refused(400, "invalidQuery", f"Syntax error: {error}") from error
    for node in list(tree.walk()):
        foreign = isinstance(node, exp.Anonymous) and node.name.lower() not in _FUNCTIONS
        if isinstance(node, (exp.PercentileCont, exp.PercentileDisc)):
            foreign = node.find_ancestor(exp.Window) is None
        if foreign or isinstance(node, exp.Filter) or (isinstance(node, exp.Join) and node.method == "ASOF"):
            raise Refused(400, "invalidQuery", f"Function not found or syntax error: {node.sql('bigquery')[:80]}")
        if isinstance(node, exp.Bracket) and isinstance(node.this, exp.ApproxQuantiles):
            asked = node.this
            share = float(node.expressions[0].name) / float(asked.expression.name)
            each = exp.Anonymous(this="quantile_disc", expressions=[asked.this, exp.Literal.number(share)])
            node.replace(each)
        elif isinstance(node, exp.Literal) and not node.is_string and not node.name.isdigit():
            node.replace(exp.cast(node.copy(), "double"))  # and no decimal
        elif isinstance(node, exp.DataType) and node.this in (exp.DataType.Type.DECIMAL, exp.DataType.Type.BIGDECIMAL):
            node.replace(exp.DataType.build("decimal(38, 9)"))
    return tree.sql(dialect="duckdb", identify=True)


def _run(cursor: duckdb.DuckDBPyConnection, sql: str, bound: dict[str, Any]) -> pa.Table:
    """What a statement gives, or nothing. Raises Refused with BigQuery's reasons."""
    named = {name: value for name, value in bound.items() if f"${name}" in sql}
    try:
        found = cursor.sql(sql, params=named or None)
        return pa.table({}) if found is None else found.to_arrow_table()
    except duckdb.CatalogException as error:
        line = _line(error)
        if "Table" in line:
            raise Refused(404, "notFound", f"Not found: {line}") from error
        raise Refused(400, "invalidQuery", line) from error
    except duckdb.InterruptException as error:
        raise Refused(400, "stopped", "Job execution was cancelled: Job timed out") from error
    except duckdb.Error as error:
        raise Refused(400, "invalidQuery", f"{_line(error)}\n\nLocation: US\nJob ID: 1\n") from error


def _rows(project: _Project, sql: str, bound: list[Any] | None = None) -> list[tuple[Any, ...]]:
    try:
        return project.database.cursor().execute(sql, bound).fetchall()
    except duckdb.CatalogException as error:
        if "already exists" in str(error):
            raise Refused(409, "duplicate", f"Already Exists: {_line(error)}") from error
        raise Refused(404, "notFound", f"Not found: {_line(error)}") from error


def _make(project: _Project, dataset: str, body: dict[str, Any]) -> None:
    name = body["tableReference"]["tableId"]
    for each in body["schema"]["fields"]:
        if re.search(r"""[!"$()*,./;?@\[\\\]^`{}~]""", each["name"]):
            raise Refused(400, "invalid", f'Invalid field name "{each["name"]}".')
    columns = ", ".join(f"{_quoted(each['name'])} {_KINDS[each['type']]}" for each in body["schema"]["fields"])
    _rows(project, f"CREATE TABLE {_quoted(dataset)}.{_quoted(name)} ({columns})")
    project.changed[dataset, name] = time.time_ns() // 1_000_000


def _described(project: _Project, where: dict[str, str], dataset: str, table: str) -> dict[str, Any]:
    sql = "SELECT column_name, data_type FROM duckdb_columns() WHERE schema_name = $1 AND table_name = $2"
    fields = [
        {"name": name, "type": _SHOWN.get(kind, kind), "mode": "NULLABLE"}
        for name, kind in _rows(project, sql, [dataset, table])
    ]
    if not fields:
        raise Refused(404, "notFound", f"Not found: Table {where['projectId']}:{dataset}.{table}")
    counted = _rows(project, f"SELECT count(*) FROM {_quoted(dataset)}.{_quoted(table)}")[0][0]
    view = _rows(project, "SELECT 1 FROM duckdb_views() WHERE schema_name = $1 AND view_name = $2", [dataset, table])
    return {
        "tableReference": {**where, "datasetId": dataset, "tableId": table},
        "type": "VIEW" if view else "TABLE",
        "schema": {"fields": fields},
        "numRows": str(0 if view else counted),
        "lastModifiedTime": str(project.changed.get((dataset, table), 0)),
    }


def _field(each: pa.Field) -> dict[str, Any]:
    kind, mode = each.type, "NULLABLE"
    if pa.types.is_list(kind):
        kind, mode = kind.value_type, "REPEATED"
    is_a = pa.types
    tests = {
        "BOOLEAN": is_a.is_boolean(kind), "INTEGER": is_a.is_integer(kind) or str(kind) == "decimal128(38, 0)",
        "FLOAT": is_a.is_floating(kind), "NUMERIC": is_a.is_decimal(kind), "DATE": is_a.is_date(kind),
        "TIMESTAMP": is_a.is_timestamp(kind) and kind.tz is not None, "DATETIME": is_a.is_timestamp(kind),
    }  # fmt: skip
    name = next((name for name, there in tests.items() if there), "STRING")
    return {"name": each.name, "type": name, "mode": mode}


def _cells(column: pa.ChunkedArray) -> list[Any]:
    if pa.types.is_timestamp(column.type) and column.type.tz is not None:  # microseconds since 1970
        return [None if each is None else str(each) for each in column.cast(pa.int64()).to_pylist()]
    none = [] if pa.types.is_list(column.type) else None  # an array that is null is an empty one
    return [none if each is None else _cell(each) for each in column.to_pylist()]


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        if None in value:
            raise Refused(400, "invalidQuery", "Array cannot have a null element; error in writing field")
        return [{"v": _cell(each)} for each in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(repr(value), repr(value))
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _value(parameter: dict[str, Any]) -> Any:
    """A query's parameter."""
    kind, held = parameter["parameterType"], parameter["parameterValue"]
    if kind["type"] == "ARRAY":
        each = kind["arrayType"]
        return [_value({"parameterType": each, "parameterValue": value}) for value in held["arrayValues"]]
    read: Any = {"INT64": int, "FLOAT64": float, "BOOL": lambda text: str(text).lower() == "true"}.get(
        kind["type"], str
    )
    return None if held.get("value") is None else read(held["value"])


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


class _Handler(BaseHTTPRequestHandler):
    service: BigQueryServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._do()

    def do_POST(self) -> None:
        self._do()

    def do_DELETE(self) -> None:
        self._do()

    def do_PUT(self) -> None:
        """A part of a resumable upload: 308 says where to go on."""
        options = parse_qs(urlsplit(self.path).query)
        name = urlsplit(self.path).path.split("/")[5]
        project = self.service.project(name)
        asked, held = project.uploads[options["upload_id"][0]]
        held += self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers["Content-Range"].endswith("/*"):
            self._say(308, {}, {"Range": f"bytes=0-{len(held) - 1}"})
        else:
            self._say(200, self.service.load(project, name, asked, bytes(held)))

    def _do(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        options = {name: values[0] for name, values in parse_qs(parts.query).items()}
        try:
            if parts.path.startswith("/upload/"):
                self._upload(parts.path.split("/")[5], options["uploadType"], body)
                return
            path = parts.path.removeprefix("/bigquery/v2")
            self._say(200, self.service.answer(self.command, path, options, json.loads(body) if body else {}))
        except Refused as error:
            self._say(error.code, error.body)

    def _upload(self, name: str, kind: str, body: bytes) -> None:
        project = self.service.project(name)
        self.service.asked.append(f"POST upload {kind}")
        if kind == "resumable":
            number = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()
            project.uploads[number] = (json.loads(body), bytearray())
            self._say(200, {}, {"Location": f"{self.service.url}{self.path}&upload_id={number}"})
            return
        mark = b"--" + self.headers.get_boundary("").encode()
        if mark == b"--":
            mark = b"--" + re.findall(r'boundary="?([^";]+)', self.headers["Content-Type"])[0].encode()
        parts = [part.partition(b"\r\n\r\n")[2] for part in body.split(mark)[1:3]]
        asked = json.loads(parts[0])
        self._say(200, self.service.load(project, name, asked, parts[1].removesuffix(b"\r\n")))

    def _say(self, status: int, said: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(said).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json; charset=UTF-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@contextmanager
def running_bigquery() -> Iterator[BigQueryServer]:
    """A service while the context lasts."""
    service = BigQueryServer()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"service": service}))
    server.daemon_threads = True
    service.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for project in service.projects.values():
            project.jobs.clear()
            project.database.close()
