"""Text of numbers with commas: 1.234,50 as in German, 1,234.50 as in English."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tools.onboarding.dates import MOST

if TYPE_CHECKING:
    import pandas as pd

_FIGURES = r"[-+]?[\d.,]*\d[\d.,]*"
_DIVIDED = r"[-+]?(?:\d+|[1-9]\d{0,2}(?:\.\d{3})+)?(?:,\d*)?"
_GROUPED = r"[-+]?(?:\d+|[1-9]\d{0,2}(?:,\d{3})+)?(?:\.\d*)?"


def without_commas(text: pd.Series[Any], present: pd.Series[Any]) -> tuple[pd.Series[Any], str]:
    """Numbers with commas as they are written without, and a note on how they were read; other text as it is.

    All of a column's numbers decide whether a comma divides off the fraction or groups thousands. Where that is open
    (1,234) or they contradict each other, they stay, and the note says so.
    """
    sample = present.iloc[:: max(1, len(present) // 1000)]
    if sample.str.fullmatch(_FIGURES).mean() < MOST:
        return text, ""
    figures = present[present.str.fullmatch(_FIGURES)]
    commas = figures.str.contains(",", regex=False)
    divided, grouped = figures.str.fullmatch(_DIVIDED), figures.str.fullmatch(_GROUPED)
    if not commas.any() or (divided | grouped)[commas].mean() < MOST:
        return text, ""
    example = figures[commas].iloc[0]
    if divided.all() == grouped.all():
        return text, f"numbers such as {example!r} cannot be read for certain: write 1234.5"
    read = figures.str.replace("." if divided.all() else ",", "", regex=False).str.replace(",", ".", regex=False)
    return read.reindex(text.index).fillna(text), f"numbers such as {example!r} are read as {read[commas].iloc[0]}"
