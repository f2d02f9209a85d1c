"""Tables of any kind read column by column: pandas, Arrow, mappings of arrays, Parquet paths and globs."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from policies.errors import InputError

_BATCH_ROWS = 1 << 16
_PIECE_ROWS = 1 << 20


class Categories(NamedTuple):
    """A categorical column: `codes` (whole numbers of any width) into `names`, negative for null."""

    codes: NDArray[Any]
    names: list[str]


Column = NDArray[Any] | Categories
"""A numeric column (float, NaN for null) or a categorical one."""


class _Arrow(Protocol):
    type: Any

    def __len__(self) -> int: ...


class _Open(threading.local):
    """The Parquet reader that this thread has open, and the part it reads."""

    part: object = None
    reader: Any = None


_open = _Open()


@dataclass(frozen=True)
class Part:
    """Some rows of a table whose columns can be read one by one, from several threads at once.

    `pieces(name)` yields a column's values in order, in pieces of bounded size where they come from a file.
    """

    names: list[str]
    rows: int
    pieces: Callable[[str], Iterator[Column]]


def parts(data: object, columns: Sequence[str] | None = None) -> Iterator[Part]:
    """`data` in parts: all of it where it is in memory, one part a file where it is Parquet (a path, folder or glob).

    Numbers, dates (as seconds since 1970 UTC) and durations (as seconds) are numeric; strings, booleans and everything
    else are categorical. Raises InputError for a missing file, a missing column or a kind of table not known here.
    """
    if isinstance(data, str | Path):
        for file in _files(str(data)):
            yield _parquet_part(file, columns)
        return
    kind = type(data).__module__.split(".")[0]
    if kind == "pandas":
        yield _pandas_part(data, columns)
    elif kind == "pyarrow":
        yield _arrow_part(data, columns)
    elif isinstance(data, Mapping):
        arrays = {str(name): np.asarray(values) for name, values in data.items()}
        names = _chosen(list(arrays), columns)
        rows = len(arrays[names[0]]) if names else 0
        yield Part(names, rows, lambda name: iter([_array_column(arrays[name])]))
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
        with pq.ParquetFile(file, pre_buffer=False) as reader:
            names = _chosen(reader.schema_arrow.names, columns)
            for batch in reader.iter_batches(batch_size=_BATCH_ROWS, columns=names):
                yield {name: _arrow_column(batch.column(name)) for name in names}


def column_values(data: object, name: str) -> NDArray[np.float64]:
    """Sorted values of a numeric column, nulls left out. Raises InputError where `data` is not data or not numeric."""
    found = []
    for part in parts(data, [name]):
        for piece in part.pieces(name):
            if isinstance(piece, Categories):
                raise InputError(f"column {name!r} is not numeric")
            found.append(piece[~np.isnan(piece)].astype(np.float64))
    return np.sort(np.concatenate(found)) if found else np.empty(0)


def _chosen(present: Sequence[str], columns: Sequence[str] | None) -> list[str]:
    if columns is None:
        return list(present)
    missing = [name for name in columns if name not in present]
    if missing:
        raise InputError(f"no column {', '.join(map(repr, missing))}; present: {', '.join(present)}")
    return list(columns)


def _files(pattern: str) -> list[str]:
    path = Path(pattern)
    files = sorted(map(str, path.glob("*.parquet"))) if path.is_dir() else sorted(glob(pattern)) or [pattern]  # noqa: PTH207 (absolute patterns too)
    if not files or not Path(files[0]).exists():
        raise InputError("no such Parquet file", where=pattern)
    return files


def _parquet_part(file: str, columns: Sequence[str] | None) -> Part:
    """A Parquet file. Each thread has a reader of its own, for one file at a time: an open one keeps its buffers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_metadata(file)
        schema = metadata.schema.to_arrow_schema()
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"not a readable Parquet file: {error}", where=file) from error
    names = _chosen(schema.names, columns)
    texts = [name for name in names if _is_text(schema.field(name).type)]

    def pieces(name: str) -> Iterator[Column]:
        if _open.part is not metadata:
            _open.reader = pq.ParquetFile(file, metadata=metadata, read_dictionary=texts, pre_buffer=False)
            _open.part = metadata
        if not metadata.num_rows:
            yield _arrow_column(pa.array([], schema.field(name).type))
        for batch in _open.reader.iter_batches(batch_size=_PIECE_ROWS, columns=[name], use_threads=False):
            yield _arrow_column(batch.column(0))

    return Part(names, metadata.num_rows, pieces)


def _pandas_part(data: Any, columns: Sequence[str] | None) -> Part:
    if not hasattr(data, "columns"):
        raise InputError("cannot profile a pandas Series: give a DataFrame")
    named = {str(name): series for name, series in data.items()}
    names = _chosen(list(named), columns)
    return Part(names, len(data), lambda name: iter([_series_column(named[name])]))


def _series_column(series: Any) -> Column:
    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "fiubmM":
        return _array_column(series.to_numpy())
    if hasattr(series, "cat"):
        return Categories(series.cat.codes.to_numpy(), [str(name) for name in series.cat.categories])
    import pyarrow as pa

    try:
        return _arrow_column(pa.Array.from_pandas(series))
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        return _arrow_column(pa.array(_texts(series), pa.string()))


def _texts(values: Iterable[Any]) -> list[str | None]:
    """Values of mixed kinds as text; None and NaN are null."""
    return [None if v is None or (isinstance(v, float) and math.isnan(v)) else str(v) for v in values]


def _array_column(array: NDArray[Any]) -> Column:
    import pyarrow as pa

    kind = array.dtype.kind
    if array.ndim != 1:
        return _arrow_column(pa.array(_texts(array.tolist()), pa.string()))
    if kind == "f" and array.dtype.itemsize in (4, 8):
        return array
    if kind in "fiu":
        return array.astype(np.float64)
    if kind == "b":
        return Categories(array.view(np.int8), ["false", "true"])
    if kind in "mM":
        seconds = array.astype(f"{kind}8[us]").astype(np.int64).astype(np.float64) / 1e6
        return np.where(np.isnat(array), np.nan, seconds)
    try:
        return _arrow_column(pa.array(array.tolist()))
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return _arrow_column(pa.array(_texts(array.tolist()), pa.string()))


def _arrow_part(data: Any, columns: Sequence[str] | None) -> Part:
    import pyarrow as pa

    if not isinstance(data, pa.Table | pa.RecordBatch):
        raise InputError(f"cannot profile Arrow {type(data).__name__}: give a Table or RecordBatch")
    names = _chosen(data.schema.names, columns)
    return Part(names, data.num_rows, lambda name: iter([_arrow_column(data.column(name))]))


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _arrow_column(column: _Arrow) -> Column:
    import pyarrow as pa
    import pyarrow.compute as pc

    array = cast(Any, column)
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = array.unify_dictionaries().combine_chunks() if array.num_chunks else pa.array([], array.type)
    kind = array.type
    if pa.types.is_dictionary(kind) and not _is_text(kind.value_type):
        return _arrow_column(array.dictionary_decode())
    if pa.types.is_dictionary(kind):
        codes = pc.fill_null(array.indices, -1) if array.null_count else array.indices
        return Categories(codes.to_numpy(zero_copy_only=False), [str(n) for n in array.dictionary.to_pylist()])
    if pa.types.is_null(kind):
        return np.full(len(array), np.nan)
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _seconds(pc.cast(array, pa.timestamp("us"), safe=False))
    if pa.types.is_duration(kind):
        return _seconds(pc.cast(array, pa.duration("us"), safe=False))
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        if kind not in (pa.float32(), pa.float64()):
            array = pc.cast(array, pa.float64(), safe=False)
        return cast(NDArray[Any], array.to_numpy(zero_copy_only=False))
    if not _is_text(kind):
        try:
            array = pc.cast(array, pa.string())
        except pa.ArrowNotImplementedError:
            array = pa.array([None if each is None else str(each) for each in array.to_pylist()], pa.string())
    return _arrow_column(pc.dictionary_encode(array))


def _seconds(array: Any) -> NDArray[np.float64]:
    import pyarrow.compute as pc

    values = pc.cast(array, "int64").to_numpy(zero_copy_only=False)
    return np.asarray(values, dtype=np.float64) / 1e6
