"""What warehouses that are asked in another dialect than DuckDB's have in common: a query is translated and limited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, ClassVar

from policies.errors import InputError
from tools.systems.dialects import translated
from tools.systems.warehouse import quote, within

if TYPE_CHECKING:
    import pyarrow as pa

STATEMENT_SECONDS = 600
"""After so long a query is given up."""

LOAD = "_load"
"""The column that says which load of ours a row came with: a load written again replaces itself."""


class RemoteWarehouse(ABC):
    """The reading half of a warehouse; an engine says how it answers a SELECT in its own words."""

    dialect: ClassVar[str]

    def query(
        self,
        sql: str,
        params: Mapping[str, object] | None = None,
        *,
        dialect: str = "duckdb",
        most_rows: int | None = None,
        seconds: float | None = None,
    ) -> pa.Table:
        """Rows of one SELECT, written for `dialect`, with `$name` parameters bound."""
        text, bound = translated(sql, params, self.dialect, written_for=dialect, named=self._name)
        if most_rows is not None:
            text = f"SELECT * FROM ({text}) AS limited LIMIT {most_rows + 1}"
        return within(self._rows(text, bound, seconds), most_rows)

    def check(self, sql: str, params: Mapping[str, object] | None = None) -> None:
        """Plans one SELECT without running it. Raises InputError."""
        self._plan(*translated(sql, params, self.dialect, named=self._name))

    def read(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        params: Mapping[str, object] | None = None,
    ) -> pa.Table:
        """Rows of a table; `where` is a condition of ours with `$name` parameters, never text from outside."""
        chosen = ", ".join(map(quote, columns or self.columns(table)))
        return self.query(f"SELECT {chosen} FROM {table}{f' WHERE {where}' if where else ''}", params)

    def snapshot(self) -> AbstractContextManager[None]:
        """Nothing, where an engine has no snapshot of several tables over several queries."""
        return nullcontext()

    @abstractmethod
    def tables(self) -> list[str]:
        """Names of all tables and views that may be read."""

    @abstractmethod
    def columns(self, table: str) -> dict[str, str]:
        """Column names and the engine's types of a table. Raises InputError where there is none."""

    @abstractmethod
    def _rows(self, text: str, bound: Mapping[str, object], seconds: float | None) -> pa.Table:
        """The answer to a SELECT in the engine's dialect; `seconds` is the limit of somebody else's query.

        Raises InputError for a faulty query and for one beyond its limit, SystemDown for all else.
        """

    @abstractmethod
    def _plan(self, text: str, bound: Mapping[str, object]) -> None:
        """Raises what the SELECT would raise; nothing is read."""

    def _name(self, table: str) -> str | None:
        """What the engine calls a table, where that is another name."""
        return None

    def _no_table(self, table: str) -> InputError:
        there = ", ".join(self.tables()) or "none"
        return InputError(f"there is no table {table!r}; there are: {there}", where="warehouse")
