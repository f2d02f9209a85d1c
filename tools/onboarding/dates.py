"""Text that looks like dates or times and cannot be read as such for certain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

MOST = 0.5
"""Share of a column's values from which what they look like is what it holds."""

WRITE = "write 2024-05-31 or 2024-05-31 13:45:00"

_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0?[1-9]|1[0-2])", r"(?:0?[1-9]|[12]\d|3[01])"
_NAMED = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*\.?"
_DATES = (
    rf"{_YEAR}[-/.]\d\d?[-/.]\d\d?",
    rf"{_DAY}[-/.]{_DAY}[-/.](?:{_YEAR}|\d\d)",
    rf"{_YEAR}[-/]{_MONTH}",
    rf"{_MONTH}[-/]{_YEAR}",
    rf"{_YEAR}-?[WQ]\d\d?(?:-?\d)?",
    rf"{_YEAR}\d\d\d\dT\d{{4,6}}(?:\.\d+)?(?:Z|[+-]\d\d:?\d\d)?",
    rf"{_DAY}(?:st|nd|rd|th)?[-\s./]+{_NAMED}[-\s.,/]*(?:{_YEAR}|\d\d)",
    rf"{_DAY}\.?\s+[^\W\d]{{3,12}}\.?\s+{_YEAR}",
    rf"{_NAMED}[-\s.]*{_DAY}(?:st|nd|rd|th)?[-\s,]+{_YEAR}",
    rf"{_NAMED}\s+{_DAY}\s+\d\d?:\d\d(?::\d\d)?(?:\s+\w+)?\s+{_YEAR}",
    rf"{_NAMED}[-\s.]*{_YEAR}",
    rf"{_YEAR}[-\s./]+{_NAMED}[-\s./]*{_DAY}",
)
_TIMELY = re.compile(
    rf"(?:[^\W\d]{{2,10}}\.?,?\s+)?(?:{'|'.join(_DATES)})(?:[T\s,:]+\d\d?(?:[:.h]\d\d|\s*[ap]\.?m).*)?", re.IGNORECASE
)
_ZONE = re.compile(r"\d\s*(?!(?:AM|PM|UTC|GMT|Z)$)([A-Z]{2,5}|\[?[A-Z][A-Za-z_]+/[A-Za-z_/+-]+\d*\]?)$")


def unread(present: pd.Series[Any]) -> str:
    """What keeps text that looks like times from being read as them; empty where most of it looks like none.

    Names of zones are not read: CET is Berlin's winter, and to some people its summer too.
    """
    sample = present.iloc[:: max(1, len(present) // 1000)]
    timely = sample[sample.str.fullmatch(_TIMELY)]
    if len(timely) < MOST * len(sample):
        return ""
    example = timely.iloc[0]
    if zone := _ZONE.search(example):
        name = zone[1].strip("[]")
        why = f"names the zone {name}, which is not read: write its offset from UTC (+01:00), or all times in UTC"
        return f"looks like a time, but {example!r} {why}"
    return f"looks like a time, but {example!r} cannot be read for certain: {WRITE}"
