"""What a column of text or of any Arrow type holds: numbers, times, truth values, or names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from policies.errors import InputError
from tools.onboarding.commas import without_commas
from tools.onboarding.dates import MOST, WRITE, unread

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["number", "time", "boolean", "text", "empty"]

MOSTLY = 0.95
"""Share of a text column's values that must be numbers for the others to count as missing."""

_TRUE = {"true", "yes", "y", "t"}
_FALSE = {"false", "no", "n", "f"}
_MISSING = {"", "na", "n/a", "nan", "null", "none", "-", "?", "nil", "#n/a"}

_EPOCHS = (("seconds", 1e6), ("milliseconds", 1e3), ("microseconds", 1.0))
"""Units in which times are counted, each in microseconds."""
_CENTURY = (946_684_800e6, 4_102_444_800e6)
"""From 2000 to 2100, in microseconds since 1970."""
_DAYS = (19_900_101, 21_001_231)
"""Whole numbers between which a day may be written as 20260131."""


@dataclass(frozen=True)
class Typed:
    """A column as it will be stored.

    `values` is a series of float64 (number), datetime64[us] in UTC without a zone (time), or object text with None
    (boolean as `true` and `false`, and text). `whole`: all its numbers are whole. `note`: what was changed, for people.
    `unread`: of text that looks like times, why it is not read as them.
    """

    name: str
    kind: Kind
    values: pd.Series[Any]
    distinct: int
    nulls: int
    whole: bool = False
    note: str = ""
    unread: str = ""


def typed(name: str, column: Any) -> Typed:
    """The type of an Arrow column, by all of its values. Raises InputError for times that contradict each other."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise InputError(f"column {name!r} holds {kind}, which is no number, time or text; leave it out", where="data")
    series = column.to_pandas()
    if pa.types.is_null(kind) or series.isna().all():
        return Typed(name, "empty", series.astype(object), 0, len(series))
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return _time(name, series)
    if pa.types.is_boolean(kind):
        return _text(name, series.map({True: "true", False: "false"}), "boolean")
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _number(name, series.astype(np.float64))
    return _of_text(name, series.astype(str).where(series.notna(), None))


def as_time(name: str, column: Typed) -> Typed:
    """A column that is the time: whole numbers are days such as 20260131, or seconds or milliseconds since 1970."""

    if column.kind == "time":
        return column
    example = column.values.dropna()
    if column.kind == "number" and column.whole:
        days = _days(column)
        if (written := days.notna() | column.values.isna()).all():
            return Typed(name, "time", days, column.distinct, column.nulls)
        example = column.values[~written]
        largest = float(column.values.abs().max())
        for _, microseconds in _EPOCHS:
            if 1e14 / microseconds < largest < 1e16 / microseconds:
                times = (column.values * microseconds).astype("Int64").astype("datetime64[us]")
                return Typed(name, "time", times, column.distinct, column.nulls)
    if column.unread:
        raise InputError(column.unread, where=f"column {name}")
    first = None if example.empty else example.iloc[0]
    shown = "" if first is None else f", say {f'{first:.15g}' if column.kind == 'number' else repr(first)}"
    raise InputError(f"holds no times{shown}; write them as 2024-05-31 13:45:00", where=f"column {name}")


def time_in_numbers(column: Typed) -> str | None:
    """Of whole numbers that are all times of this century, or all days such as 20260131: which. None for others."""
    if column.kind != "number" or not column.whole:
        return None
    low, high = column.values.min(), column.values.max()
    if _DAYS[0] <= low and high <= _DAYS[1] and (_days(column).notna() | column.values.isna()).all():
        return "days such as 20260131"
    for unit, microseconds in _EPOCHS:
        if _CENTURY[0] <= low * microseconds and high * microseconds < _CENTURY[1]:
            return f"{unit} since 1970"
    return None


def _days(column: Typed) -> pd.Series[Any]:
    """Whole numbers such as 20260131 as the days that they write; no time for those that write none."""
    import pandas as pd

    likely = column.values.where(column.values.between(*_DAYS)).astype("Int64").astype("string")
    return pd.to_datetime(likely, format="%Y%m%d", errors="coerce").astype("datetime64[us]")


def _of_text(name: str, text: pd.Series[Any]) -> Typed:
    stripped = text.str.strip()
    missing = stripped.isna() | stripped.str.lower().isin(_MISSING)
    present = stripped[~missing]
    if present.empty:
        return Typed(name, "empty", text.where(~missing, None), 0, len(text))
    written, commas = without_commas(stripped, present)
    found = _as_numbers(name, written, missing)
    if found is not None:
        return replace(found, note="; ".join(filter(None, [commas, found.note])))
    words = set(present.str.lower().unique()) if present.nunique() <= 8 else set()
    if words and words <= _TRUE | _FALSE and words & _TRUE and words & _FALSE:
        truth = stripped.str.lower().map({**dict.fromkeys(_TRUE, "true"), **dict.fromkeys(_FALSE, "false")})
        return _text(name, truth.where(~missing, None), "boolean")
    times = _as_times(name, stripped, missing)
    if times is not None:
        return times
    # Only an empty cell is surely missing in a column of names; "none" and "-" may be names.
    named = _text(name, stripped.where(stripped.notna() & (stripped != ""), None), "text")
    return replace(named, note=f"{commas}; taken as text" if commas else "", unread=unread(present))


def _as_numbers(name: str, text: pd.Series[Any], missing: pd.Series[Any]) -> Typed | None:
    """The column as numbers; as text, with a note, where half of it or more are numbers and too many are not."""
    import pandas as pd

    present = text[~missing]
    sample = pd.to_numeric(present.iloc[:: max(1, len(present) // 1000)], errors="coerce")
    if sample.notna().mean() < 0.5:
        return None
    numbers = pd.to_numeric(text.where(~missing), errors="coerce").astype(np.float64)
    odd = present[numbers[~missing].isna()]
    shown, what = ", ".join(map(repr, odd.unique()[:3].tolist())), "number" if len(odd) == 1 else "numbers"
    if len(odd) > (1 - MOSTLY) * len(present):
        mixed = f"{_are(len(odd))} no {what} ({shown}) and the others are: taken as text"
        return replace(_text(name, text.where(text.notna() & (text != ""), None), "text"), note=mixed)
    return _number(name, numbers, f"{_are(len(odd))} no {what} ({shown}): taken as missing" if len(odd) else "")


def _as_times(name: str, text: pd.Series[Any], missing: pd.Series[Any]) -> Typed | None:
    import pandas as pd

    present = text[~missing]
    dated = present.iloc[:: max(1, len(present) // 1000)].str.match(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")
    if dated.mean() < MOST:
        return None
    written, note = _year_first(present)
    written = written.str.replace(r"(?<=\d)\s*(?:UTC|GMT)$", "Z", regex=True)
    times = pd.to_datetime(written, format="ISO8601", errors="coerce", utc=True)
    odd = present[times.isna()]
    if len(odd) > (1 - MOST) * len(present):
        return None
    if len(odd) > (1 - MOSTLY) * len(present):
        told = f"looks like a time, but {len(odd):,} of its values, say {odd.iloc[0]!r}, cannot be read: {WRITE}"
        return replace(_text(name, text.where(text.notna() & (text != ""), None), "text"), unread=told)
    zoned = written[times.notna()].str.contains(r"(?:\d[+-]\d{2}:?\d{2}|Z)$", regex=True)
    if zoned.any() and not zoned.all():
        raise InputError(
            f"{int(zoned.sum()):,} of its times name an offset from UTC and {int((~zoned).sum()):,} do not; "
            "write all of them with one, or all in UTC without",
            where=f"column {name}",
        )
    if len(odd):
        what = "time" if len(odd) == 1 else "times"
        note = f"{_are(len(odd))} no {what} ({odd.iloc[0]!r}): taken as missing"
    elif zoned.any() and written.str.extract(r"([+-]\d{2}:?\d{2}|Z)$")[0].nunique() > 1:
        note = "its offset from UTC changes on the way: all times are brought to UTC"
    return _time(name, times.reindex(text.index), note)


def _year_first(present: pd.Series[Any]) -> tuple[pd.Series[Any], str]:
    """Dates such as 31/05/2024 or 5.31.2024 with the year first; which of the two is the day, all of them decide."""
    parts = present.str.extract(r"^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})(.*)$")
    parts = parts[parts[0].notna()]
    if len(parts) < MOST * len(present):
        return present, ""
    first, second = parts[0].astype(int), parts[1].astype(int)
    month_first = second.max() > 12 >= first.max()
    day, month = (second, first) if month_first else (first, second)
    ambiguous = max(first.max(), second.max()) <= 12
    note = "its dates are read with the day first; write 2024-05-31 where that is wrong" if ambiguous else ""
    written = parts[2] + "-" + month.map("{:02d}".format) + "-" + day.map("{:02d}".format) + parts[3]
    return written.reindex(present.index).fillna(present), note


def _are(count: int) -> str:
    """`1 of its values is`, `5 of its values are`."""
    return f"{count:,} of its values {'is' if count == 1 else 'are'}"


def _number(name: str, values: pd.Series[Any], note: str = "") -> Typed:
    infinite = int(np.isinf(values).sum())
    if infinite:
        values = values.where(~np.isinf(values))
        note = note or f"{_are(infinite)} infinite: taken as missing"
    present = values.dropna()
    if present.empty:
        return Typed(name, "empty", values, 0, len(values), note=note)
    whole = bool((present == np.rint(present)).all())
    return Typed(name, "number", values, int(present.nunique()), len(values) - len(present), whole, note)


def _time(name: str, values: pd.Series[Any], note: str = "") -> Typed:
    import pandas as pd

    times = pd.to_datetime(values, utc=True, errors="coerce").dt.tz_localize(None).astype("datetime64[us]")
    return Typed(name, "time", times, int(times.nunique()), int(times.isna().sum()), note=note)


def _text(name: str, values: pd.Series[Any], kind: Kind) -> Typed:
    values = values.astype(object)
    values = values.where(values.notna(), None)
    return Typed(name, kind, values, int(values.nunique()), int(values.isna().sum()))
