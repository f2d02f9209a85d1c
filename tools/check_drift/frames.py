"""Tables of any kind read column by column: pandas, Arrow, mappings of arrays, Parquet paths and globs."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.errors import InputError
from tools.check_drift.columns import Categories, Column, as_array, is_text, of_array, of_arrow, of_series

_BATCH_ROWS = 1 << 16
_PIECE_ROWS = 1 << 20
_AS_THEY_ARE: Mapping[str, bool] = {}


class _Open(threading.local):
    """The Parquet reader that this thread has open, and the part it reads."""

    part: object = None
    reader: Any = None


_open = _Open()


@dataclass(frozen=True)
class Part:
    """Some rows of a table whose columns can be read one by one, from several threads at once."""

    names: list[str]
    rows: int
    read: Callable[[str], Iterator[Column]]
    where: str = ""

    def pieces(self, name: str) -> Iterator[Column]:
        """A column's values in order, in pieces of bounded size where they come from a file.

        Raises InputError where it cannot be read.
        """
        with _reading(f"column {name!r} cannot be read", self.where):
            yield from self.read(name)


@dataclass(frozen=True)
class Streamed:
    """A table that an engine holds: `read(name)` yields a column as Arrow record batches of that, each time anew."""

    names: list[str]
    rows: int
    read: Callable[[str], Iterator[Any]]
    where: str


def parts(
    data: object, columns: Sequence[str] | None = None, coded: Mapping[str, bool] = _AS_THEY_ARE
) -> Iterator[Part]:
    """`data` in parts: all of it where it is in memory, one part a file where it is Parquet (a path, folder or glob).

    `coded` says of columns whether their numbers are codes (`tools.check_drift.columns`). Raises InputError for a
    missing file, a missing column, one that occurs twice or has another length, or a kind of table not known here.
    """
    if isinstance(data, str | Path):
        for file in _files(str(data)):
            yield _parquet_part(file, columns, coded)
        return
    kind = type(data).__module__.split(".")[0]
    if kind == "pandas":
        yield _pandas_part(data, columns, coded)
    elif kind == "pyarrow":
        yield _arrow_part(data, columns, coded)
    elif isinstance(data, Mapping):
        yield _mapping_part(data, columns, coded)
    elif isinstance(data, Streamed):
        yield _streamed_part(data, columns, coded)
    else:
        raise InputError(f"cannot profile {type(data).__name__}: give a pandas or Arrow table, or a Parquet path")


def batches(data: object, columns: Sequence[str] | None = None) -> Iterator[dict[str, Column]]:
    """Rows of `data` with all their columns together: in one piece where it is in memory, else some at a time."""
    if not isinstance(data, str | Path):
        for part in parts(data, columns):
            yield {name: next(part.pieces(name)) for name in part.names}
        return
    import pyarrow.parquet as pq

    for file in _files(str(data)):
        with _reading("cannot be read", file), pq.ParquetFile(file, pre_buffer=False) as reader:
            names = _chosen(reader.schema_arrow.names, columns)
            for batch in reader.iter_batches(batch_size=_BATCH_ROWS, columns=names):
                yield {name: of_arrow(batch.column(name)) for name in names}


def column_values(data: object, name: str) -> NDArray[np.float64]:
    """Sorted values of a numeric column, nulls left out. Raises InputError where `data` is not data or not numeric."""
    found = []
    for part in parts(data, [name]):
        for piece in part.pieces(name):
            if isinstance(piece, Categories):
                raise InputError(f"column {name!r} is not numeric")
            found.append(piece[~np.isnan(piece)].astype(np.float64))
    return np.sort(np.concatenate(found)) if found else np.empty(0)


@contextmanager
def _reading(what: str, where: str = "") -> Iterator[None]:
    """Turns what a library raises over unreadable data into an InputError of one line."""
    try:
        yield
    except (OSError, ValueError, TypeError, ArithmeticError, LookupError, NotImplementedError) as error:
        raise InputError(f"{what}: {(str(error).splitlines() or [type(error).__name__])[0]}", where=where) from error


def _chosen(present: Sequence[str], columns: Sequence[str] | None) -> list[str]:
    if twice := [name for name, count in Counter(present).items() if count > 1]:
        raise InputError(f"column {', '.join(map(repr, twice))} occurs more than once")
    if columns is None:
        return list(present)
    missing = [name for name in columns if name not in present]
    if missing:
        raise InputError(f"no column {', '.join(map(repr, missing))}; present: {', '.join(present)}")
    return list(columns)


def _files(pattern: str) -> list[str]:
    path = Path(pattern)
    if path.is_dir():
        files = sorted(map(str, path.glob("*.parquet")))
    else:
        files = [pattern] if path.exists() else sorted(glob(pattern))  # noqa: PTH207 (absolute patterns too)
    if not files:
        raise InputError("no such Parquet file", where=pattern)
    return files


def _parquet_part(file: str, columns: Sequence[str] | None, coded: Mapping[str, bool]) -> Part:
    """A Parquet file. Each thread has a reader of its own, for one file at a time: an open one keeps its buffers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with _reading("not a readable Parquet file", file):
        metadata = pq.read_metadata(file)
        schema = metadata.schema.to_arrow_schema()
    names = _chosen(schema.names, columns)
    texts = [name for name in names if is_text(schema.field(name).type)]

    def read(name: str) -> Iterator[Column]:
        if _open.part is not metadata:
            _open.reader = pq.ParquetFile(file, metadata=metadata, read_dictionary=texts, pre_buffer=False)
            _open.part = metadata
        if not metadata.num_rows:
            yield of_arrow(pa.array([], schema.field(name).type), coded=coded.get(name))
        for batch in _open.reader.iter_batches(batch_size=_PIECE_ROWS, columns=[name], use_threads=False):
            yield of_arrow(batch.column(0), coded=coded.get(name))

    return Part(names, metadata.num_rows, read, file)


def _pandas_part(data: Any, columns: Sequence[str] | None, coded: Mapping[str, bool]) -> Part:
    if not hasattr(data, "columns"):
        raise InputError("cannot profile a pandas Series: give a DataFrame")
    names = _chosen([str(name) for name in data.columns], columns)
    named = {str(name): series for name, series in data.items()}
    return Part(names, len(data), lambda name: iter([of_series(named[name], coded=coded.get(name))]))


def _arrow_part(data: Any, columns: Sequence[str] | None, coded: Mapping[str, bool]) -> Part:
    import pyarrow as pa

    if not isinstance(data, pa.Table | pa.RecordBatch):
        raise InputError(f"cannot profile Arrow {type(data).__name__}: give a Table or RecordBatch")
    names = _chosen(data.schema.names, columns)
    return Part(names, data.num_rows, lambda name: iter([of_arrow(data.column(name), coded=coded.get(name))]))


def _mapping_part(data: Mapping[Any, Any], columns: Sequence[str] | None, coded: Mapping[str, bool]) -> Part:
    names = _chosen([str(name) for name in data], columns)
    arrays: dict[str, NDArray[Any]] = {}
    for name, values in data.items():
        with _reading(f"column {str(name)!r} cannot be read"):
            arrays[str(name)] = as_array(values)
    lengths = {name: len(arrays[name]) for name in names}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
        raise InputError(f"columns of different lengths are no table: {told}")
    rows = lengths[names[0]] if names else 0
    return Part(names, rows, lambda name: iter([of_array(arrays[name], coded=coded.get(name))]))


def _streamed_part(data: Streamed, columns: Sequence[str] | None, coded: Mapping[str, bool]) -> Part:
    def read(name: str) -> Iterator[Column]:
        for batch in data.read(name):
            yield of_arrow(batch.column(0), coded=coded.get(name))

    return Part(_chosen(data.names, columns), data.rows, read, data.where)
