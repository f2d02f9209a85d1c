"""Columns of any kind as numbers or categories: NumPy arrays, lists, pandas Series, Arrow arrays.

Numbers, dates (as seconds since 1970 UTC) and durations (as seconds) are numeric; strings, booleans, what pandas or
Arrow hold as categories, and everything else are categorical. `coded` says otherwise where it is known from elsewhere:
True for numbers that are names of categories, False for categories of numbers that are numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

_EXACT = 2.0**53
"""Floats up to this far from zero hold whole numbers exactly."""


class Categories(NamedTuple):
    """A categorical column: `codes` (whole numbers of any width) into `names`, negative for null."""

    codes: NDArray[Any]
    names: list[str]


Column = NDArray[Any] | Categories
"""A numeric column (float, NaN for null) or a categorical one."""


def category_name(value: object) -> str:
    """How a category is called: whole numbers without a point, other numbers to 15 digits, booleans in lower case."""
    if isinstance(value, bool | np.bool_):
        return str(bool(value)).lower()
    if isinstance(value, float | np.floating | Decimal):
        number = float(value)
        return str(int(number)) if number.is_integer() and abs(number) <= _EXACT else f"{number:.15g}"
    return str(value).encode("utf-8", "backslashreplace").decode()  # half of a surrogate pair is no text


def as_array(values: Any) -> NDArray[Any]:
    """Values as a NumPy array, what is masked as null. Raises TypeError for a single value."""
    if isinstance(values, np.ma.MaskedArray) and values.mask.any():
        values = values.tolist()  # None where it is masked
    try:
        array = np.asarray(values)
    except ValueError:  # lists of unequal length
        array = np.empty(len(values), dtype=object)
        array[:] = values
    if not array.ndim:
        raise TypeError("it is a single value, and must be a list or an array")
    return array


def of_array(array: NDArray[Any], *, coded: bool | None = None) -> Column:
    """A NumPy array's column."""
    import pyarrow as pa

    kind = array.dtype.kind
    if array.ndim != 1 or kind == "c":
        return of_arrow(pa.array(_texts(array.tolist()), pa.string()))
    if kind in "fiu" and coded:
        return of_arrow(pa.array(array if array.dtype.itemsize <= 8 else array.astype(np.float64)), coded=True)
    if kind == "f" and array.dtype.itemsize in (4, 8):
        return array
    if kind in "fiu":
        return array.astype(np.float64)
    if kind == "b":
        return Categories(array.view(np.int8), ["false", "true"])
    if kind in "mM":
        unit, of = np.datetime_data(array.dtype)
        if unit not in _A_SECOND or of != 1:
            unit = "s" if unit in ("Y", "M", "W", "D", "h", "m", "s") else "us"
        seconds = array.astype(f"{kind}8[{unit}]").astype(np.int64).astype(np.float64) / _A_SECOND[unit]
        return _numbers(np.where(np.isnat(array), np.nan, seconds), coded=coded)
    return _of_objects(array.tolist(), coded=coded)


def of_series(series: Any, *, coded: bool | None = None) -> Column:
    """A pandas Series' column."""
    import pyarrow as pa

    if isinstance(series.dtype, np.dtype) and series.dtype.kind in "fiubmM":
        return of_array(series.to_numpy(), coded=coded)
    if hasattr(series, "cat"):
        if coded is False and series.cat.categories.dtype.kind in "fiu":
            return of_array(series.astype(np.float64).to_numpy())
        return Categories(series.array.codes, [category_name(name) for name in series.array.categories.tolist()])
    try:
        array = pa.Array.from_pandas(series)
    except (pa.ArrowException, TypeError, OverflowError, UnicodeError):
        return _of_objects(series.tolist(), coded=coded)
    return of_arrow(array, coded=coded)


def of_arrow(column: Any, *, coded: bool | None = None) -> Column:
    """An Arrow array's column, chunked or not."""
    import pyarrow as pa
    import pyarrow.compute as pc

    array = column
    if isinstance(array, pa.ChunkedArray):
        array = array.chunk(0) if array.num_chunks == 1 else array.combine_chunks()
        if isinstance(array, pa.ChunkedArray):
            array = array.unify_dictionaries().combine_chunks() if array.num_chunks else pa.array([], array.type)
    kind = array.type
    if pa.types.is_dictionary(kind):
        number = pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)
        return of_arrow(array.dictionary_decode()) if number and coded is False else _categories(array)
    if pa.types.is_null(kind):
        return np.full(len(array), np.nan)
    if pa.types.is_date(kind):
        array = pc.cast(array, pa.timestamp("ms"))
    if pa.types.is_temporal(array.type) and hasattr(array.type, "unit") and not pa.types.is_time(kind):
        return _numbers(_seconds(array), coded=coded)
    if pa.types.is_integer(kind) and coded:
        return _categories(pc.dictionary_encode(array))
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        if kind not in (pa.float32(), pa.float64()):
            array = pc.cast(array, pa.float64(), safe=False)
        return _numbers(cast(NDArray[Any], array.to_numpy(zero_copy_only=False)), coded=coded)
    if not is_text(kind):
        array = _as_text(array)
    return _categories(pc.dictionary_encode(array))


def is_text(kind: Any) -> bool:
    """Whether an Arrow type holds text."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _numbers(values: NDArray[Any], *, coded: bool | None) -> Column:
    """Numbers, or where they are codes the categories they name."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return _categories(pc.dictionary_encode(pa.array(values, from_pandas=True))) if coded else values


def _categories(array: Any) -> Categories:
    """An Arrow dictionary array's; a null in the dictionary is one in the column."""
    import pyarrow.compute as pc

    codes = pc.fill_null(array.indices, -1) if array.indices.null_count else array.indices
    codes = codes.to_numpy(zero_copy_only=False)
    names = array.dictionary.to_pylist()
    if array.dictionary.null_count:
        codes = np.where(np.array([name is None for name in names])[codes], -1, codes)
    return Categories(codes, [category_name(name) for name in names])


def _of_objects(values: Sequence[Any], *, coded: bool | None) -> Column:
    """Python objects: what Arrow makes of them; numbers beyond it as floats, all else as text."""
    import pyarrow as pa

    try:
        return of_arrow(pa.array(values, from_pandas=True), coded=coded)
    except (pa.ArrowException, TypeError, OverflowError, UnicodeError):
        pass
    if all(
        value is None or (isinstance(value, int | float | Decimal) and not isinstance(value, bool)) for value in values
    ):
        return _numbers(np.array([math.nan if value is None else float(value) for value in values]), coded=coded)
    return of_arrow(pa.array(_texts(values), pa.string()))


def _texts(values: Iterable[Any]) -> list[str | None]:
    """Values of mixed kinds as text; None and NaN are null."""
    return [None if v is None or (isinstance(v, float) and math.isnan(v)) else category_name(v) for v in values]


def _as_text(array: Any) -> Any:
    """An Arrow array of another type as text."""
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.cast(array, pa.string())
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid):
        values = (v.decode("utf-8", "backslashreplace") if isinstance(v, bytes) else v for v in array.to_pylist())
        return pa.array(_texts(values), pa.string())


def _seconds(array: Any) -> NDArray[np.float64]:
    import pyarrow.compute as pc

    unit, values = array.type.unit, pc.cast(array, "int64")
    if unit == "ns":  # which float64 cannot tell apart today
        unit, values = "us", pc.divide(values, 1000)
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64) / _A_SECOND[unit]


_A_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6}
