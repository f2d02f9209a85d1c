"""A warehouse that remembers what it was asked, for people who want to see the queries of a check."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from tools.systems.warehouse import AnyWarehouse, Streams, quote

if TYPE_CHECKING:
    import pyarrow as pa


class RecordingWarehouse:
    """Passes everything on to `inner` and keeps each query with the dialect it was written for, once."""

    def __init__(self, inner: AnyWarehouse) -> None:
        self._inner = inner
        self.asked: dict[str, str] = {}

    @property
    def dialect(self) -> str:
        """The inner warehouse's."""
        return self._inner.dialect

    def query(
        self,
        sql: str,
        params: Mapping[str, object] | None = None,
        *,
        dialect: str = "duckdb",
        most_rows: int | None = None,
        seconds: float | None = None,
    ) -> pa.Table:
        """Rows of one SELECT."""
        self.asked[sql] = dialect
        return self._inner.query(sql, params, dialect=dialect, most_rows=most_rows, seconds=seconds)

    def stream(self, sql: str, params: Mapping[str, object] | None = None) -> Iterator[pa.RecordBatch]:
        """Rows of one SELECT, some at a time."""
        assert isinstance(self._inner, Streams)
        self.asked[sql] = "duckdb"
        return self._inner.stream(sql, params)

    def check(self, sql: str, params: Mapping[str, object] | None = None) -> None:
        """Plans one SELECT."""
        self._inner.check(sql, params)

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Mapping[str, object] | None = None,
    ) -> pa.Table:
        """Rows of a table."""
        chosen = ", ".join(map(quote, columns)) if columns else "*"
        self.asked[f"SELECT {chosen} FROM {table}{f' WHERE {where}' if where else ''}"] = "duckdb"
        return self._inner.read(table, columns, where, params)

    def append(self, table: str, data: pa.Table, name: str) -> object:
        """Adds rows."""
        return self._inner.append(table, data, name)

    def withdraw(self, table: str, name: str) -> None:
        """Takes a load away."""
        self._inner.withdraw(table, name)

    def tables(self) -> list[str]:
        """Names of all tables."""
        return self._inner.tables()

    def columns(self, table: str) -> dict[str, str]:
        """Columns of a table."""
        return self._inner.columns(table)

    def exists(self, table: str) -> bool:
        """Whether a table is there."""
        return self._inner.exists(table)

    def fingerprint(self, table: str) -> object:
        """What changes with the table's rows."""
        return self._inner.fingerprint(table)

    def snapshot(self) -> AbstractContextManager[None]:
        """The inner warehouse's."""
        return self._inner.snapshot()

    def close(self) -> None:
        """Closes the inner warehouse."""
        self._inner.close()
