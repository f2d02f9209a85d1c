"""Tables too large to be read: streamed column by column, or a sample of them by a hash of their ids."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from tools.check_drift.frames import Streamed
from tools.systems.warehouse import AnyWarehouse, Streams, quote

if TYPE_CHECKING:
    import pyarrow as pa

MOST_ROWS = 1_000_000
"""Rows of a window or a baseline that are read; of more all are counted where they are, and what needs rows gets a
sample of about as many."""


def count(warehouse: AnyWarehouse, table: str, where: str | None, params: Mapping[str, object]) -> int:
    """Rows of a table that `where` lets through."""
    found = warehouse.query(f"SELECT count(*) AS n FROM {table}{_where(where)}", params)
    return int(found["n"][0].as_py())


def sampled(
    warehouse: AnyWarehouse, table: str, keys: Sequence[str], where: str | None, params: Mapping[str, object]
) -> tuple[str | None, dict[str, object]]:
    """The condition for about `MOST_ROWS` of the rows that `where` lets through, the same each time; all of fewer.

    Rows are taken by a hash of the first of `keys` that the table has and the row holds: whole ids. Where it has none
    all are.
    """
    rows = count(warehouse, table, where, params)
    there = warehouse.columns(table)
    texts = [f"CAST({quote(each)} AS VARCHAR)" for each in keys if each in there]
    if not texts or rows <= MOST_ROWS:
        return where, dict(params)
    chosen = f"md5(coalesce({', '.join(texts)}, '')) < $sampled_below"
    below = f"{int(MOST_ROWS / rows * 16**8):08x}"
    return (f"({where}) AND {chosen}" if where else chosen), {**params, "sampled_below": below}


def streamed(
    warehouse: Streams, table: str, names: Sequence[str], where: str | None, params: Mapping[str, object]
) -> Streamed:
    """A table's columns, read some rows at a time."""

    def read(name: str) -> Iterator[pa.RecordBatch]:
        return warehouse.stream(f"SELECT {quote(name)} FROM {table}{_where(where)}", params)

    return Streamed(list(names), count(warehouse, table, where, params), read, table)


def _where(where: str | None) -> str:
    return f" WHERE {where}" if where else ""
