"""What engines that compute profiles have in common: what they are asked for, and what is made of their counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tools.check_drift import numeric
from tools.check_drift.categorical import PARTS, CategorySummary, bounded
from tools.check_drift.columns import category_name
from tools.check_drift.counting import SIGN, sum_by_rank
from tools.check_drift.numeric import NumericSummary, ranks_of

INTEGERS = ("smallint", "integer", "bigint", "tinyint", "int")  # PostgreSQL's names, Spark's and ours of Snowflake's
NUMBERS = (*INTEGERS, "real", "double precision", "numeric", "float", "double", "decimal")
TIMES = (
    "timestamp without time zone", "timestamp with time zone", "date", "timestamp", "timestamp_ntz", "timestamp_ltz",
    "timestamp_tz", "datetime",
)  # fmt: skip
EMPTY = np.empty(0)


class Place(NamedTuple):
    """Where a value is that a baseline needs: the column, the bin's key, and the place within the bin (from 1)."""

    column: int
    key: int
    place: int


def is_number(kind: str) -> bool:
    """Whether an engine's type holds numbers."""
    return kind.partition("(")[0] in NUMBERS


def is_integer(kind: str) -> bool:
    """Whether an engine's type holds whole numbers."""
    return kind in INTEGERS


def is_time(kind: str) -> bool:
    """Whether an engine's type holds times."""
    return kind in TIMES


def places(summaries: Sequence[NumericSummary]) -> list[Place]:
    """The places of all columns' deciles and cuts."""
    wanted = []
    for i, each in enumerate(summaries):
        bins, within = numeric.places(each)
        keys = [_raw(rank) for rank in each.ranks[bins].tolist()]
        wanted += [Place(i, key, place) for key, place in zip(keys, within.tolist(), strict=True)]
    return wanted


def with_places(
    summaries: Mapping[str, NumericSummary], wanted: Iterable[Place], rows: Iterable[Mapping[str, Any]]
) -> dict[str, NumericSummary]:
    """The summaries with what was found at the places: `x`, and `upto` and `below`, the bin's values <= and < that."""
    answers = {(row["i"], row["key"], row["place"]): row for row in rows}
    found: dict[int, list[Mapping[str, Any]]] = {}
    for place in wanted:
        found.setdefault(place.column, []).append(answers[place])
    return {
        name: numeric.with_places(
            each,
            np.array([row["x"] for row in found[i]]),
            *(np.array([row[side] for row in found[i]], dtype=np.int64) for side in ("upto", "below")),
        )
        for i, (name, each) in enumerate(summaries.items())
    }


def counted(
    asked: Mapping[str, tuple[NumericSummary, list[float]]], rows: Iterable[Mapping[str, Any]]
) -> dict[str, NumericSummary]:
    """The summaries counted at their points: `n` values of column `i` are beyond `k` of them."""
    beyond = [np.zeros(len(points) + 1) for _, points in asked.values()]
    for row in rows:
        beyond[row["i"]][row["k"]] = row["n"]
    return {
        name: replace(each, cuts=np.array(points), cut_counts=np.cumsum(n[:-1]))
        for (name, (each, points)), n in zip(asked.items(), beyond, strict=True)
    }


def categories(
    names: Sequence[str], types: Mapping[str, str], rows: Iterable[Mapping[str, Any]]
) -> dict[str, CategorySummary]:
    """Columns' categories: `n` rows of column `i` have the text `v`, are `missing`, or belong to the `rest`, and there
    to a `part`: that of a fraction is not known, which each engine writes in its own way.
    """
    counts: dict[int, dict[str, int]] = {}
    nulls, other = dict.fromkeys(range(len(names)), 0), dict.fromkeys(range(len(names)), 0)
    parts: dict[int, list[int]] = {}
    for row in rows:
        n = int(row["n"])
        kind = types[names[row["i"]]]
        fraction = is_number(kind) and not is_integer(kind)
        if row["missing"]:
            nulls[row["i"]] += n
        elif row["rest"]:
            other[row["i"]] += n
            if not fraction:
                parts.setdefault(row["i"], [0] * PARTS)[int(row["part"], 16)] += n
        else:
            of_column = counts.setdefault(row["i"], {})
            shown = category_name(float(row["v"])) if fraction else row["v"]
            of_column[shown] = of_column.get(shown, 0) + n
    return {
        name: bounded(counts.get(i, {}).items(), nulls[i], other[i], parts.get(i, ())) for i, name in enumerate(names)
    }


def _raw(rank: int) -> int:
    """The key of a rank: the reverse of `numeric.ranks_of`."""
    return rank - SIGN if rank >= SIGN else 2 * SIGN - 1 - rank


def summary(row: Mapping[str, Any], centre: float) -> NumericSummary:
    """What was counted of one column; of no rows where there is none."""
    keys, counts = (np.array(row.get(name) or [], dtype=np.int64) for name in ("keys", "counts"))
    ranks, counts = sum_by_rank(ranks_of(keys), counts)
    return NumericSummary(
        centre=centre,
        ranks=ranks,
        counts=counts,
        nulls=int(row.get("nulls") or 0),
        pos_inf=int(row.get("above") or 0),
        neg_inf=int(row.get("below") or 0),
        total=float(row.get("total") or 0.0),
        squares=float(row.get("squares") or 0.0),
        minimum=float(row["low"]) if len(ranks) else float("nan"),
        maximum=float(row["high"]) if len(ranks) else float("nan"),
        edges=EMPTY,
        edge_shares=EMPTY,
        integral=bool(row["whole"]) if len(ranks) else True,
    )
