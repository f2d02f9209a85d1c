"""The outcome column: which task it sets a model, and its values as they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from policies.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from tools.onboarding.columns import Typed

MOST_CLASSES = 50
FEWEST_OF_A_CLASS = 20
_WHOLE_CLASSES = 10
_POSITIVE = ("true", "1", "yes", "y", "positive", "pos", "bad", "fraud", "churn", "churned", "up", "default", "spam")


@dataclass(frozen=True)
class Outcomes:
    """The target by task: booleans (binary), names (multiclass) or float64 (regression); nulls are not yet known.

    `positive` and `negative` are the texts of the two values of a binary target.
    """

    task: Literal["binary", "multiclass", "regression"]
    values: pd.Series[Any]
    positive: str | None = None
    negative: str | None = None
    note: str = ""


def outcomes(
    column: Typed, task: Literal["binary", "multiclass", "regression"] | None, positive: str | None
) -> Outcomes:
    """What the column foretells. Raises InputError where nothing can be learned from it, or not the `task` asked."""
    where = f"column {column.name}"
    if column.kind == "empty":
        raise InputError("the outcome has no value in any row", where=where)
    if column.distinct == 1:
        only = _names(column).dropna().iloc[0]
        raise InputError(f"the outcome is {only} in every row; there is nothing to foretell", where=where)
    if column.kind == "time":
        raise InputError("the outcome is a time; foretell a number, say the days until then", where=where)
    wanted = task or _task(column)
    if wanted == "regression":
        return _regression(column, where)
    names = _names(column)
    counts = names.value_counts()
    rare = counts[counts < FEWEST_OF_A_CLASS]
    if wanted == "binary":
        if column.distinct != 2:
            raise InputError(f"a binary outcome has two values, this one {column.distinct:,}", where=where)
        if len(rare):
            few = f"only {int(rare.iloc[0]):,} rows are {rare.index[0]!r}; {FEWEST_OF_A_CLASS} are needed"
            raise InputError(few, where=where)
        return _binary(names, counts, positive, where)
    if column.distinct > MOST_CLASSES:
        raise InputError(
            f"has {column.distinct:,} classes; up to {MOST_CLASSES} can be watched. Is another column the target?",
            where,
        )
    note = f"class {rare.index[0]!r} has only {int(rare.iloc[0]):,} rows" if len(rare) else ""
    return Outcomes("multiclass", names, note=note)


def _task(column: Typed) -> Literal["binary", "multiclass", "regression"]:
    if column.distinct == 2:
        return "binary"
    if column.kind == "number" and not (column.whole and column.distinct <= _WHOLE_CLASSES):
        return "regression"
    return "multiclass"


def _regression(column: Typed, where: str) -> Outcomes:
    if column.kind != "number":
        example = column.values.dropna().iloc[0]
        raise InputError(f"holds {example!r}; a regression foretells numbers", where=where)
    return Outcomes("regression", column.values)


def _names(column: Typed) -> pd.Series[Any]:
    names = column.values.map(lambda value: f"{value:.15g}" if isinstance(value, float) else str(value), "ignore")
    names = names.astype(object)
    return names.where(column.values.notna(), None)


def _binary(names: pd.Series[Any], counts: pd.Series[Any], positive: str | None, where: str) -> Outcomes:
    """The positive value: the one named, else the one that sounds like it, else the rarer."""
    values = [str(each) for each in counts.index]
    note = ""
    if positive is not None:
        found = [value for value in values if value.lower() == positive.lower()] or [
            value for value in values if value in _same(positive)
        ]
        if not found:
            raise InputError(f"{positive!r} is none of its values, {' and '.join(map(repr, values))}", "--positive")
        chosen = found[0]
    else:
        sounding = [value for value in values if value.lower() in _POSITIVE]
        chosen = sounding[0] if len(sounding) == 1 else values[-1]
        if len(sounding) != 1:
            note = f"{chosen!r}, the rarer value, counts as the positive outcome; say otherwise with --positive"
    negative = next(value for value in values if value != chosen)
    truth = names.map({chosen: True, negative: False}).astype(object)
    return Outcomes("binary", truth.where(names.notna(), None), chosen, negative, note)


def _same(positive: str) -> set[str]:
    """How a value of the file reads once its column is one of truth values or numbers."""
    same = {"yes": "true", "y": "true", "t": "true", "no": "false", "n": "false", "f": "false"}
    return {same.get(positive.lower(), positive), positive.removesuffix(".0")}
