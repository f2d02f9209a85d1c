"""What engines that compute profiles have in common: what they are asked for, and what is made of their counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from tools.check_drift.categorical import CategorySummary, bounded
from tools.check_drift.counting import SIGN, sum_by_rank
from tools.check_drift.numeric import NumericSummary, ranks_of

NUMBERS = (
    "smallint", "integer", "bigint", "real", "double precision", "numeric",  # PostgreSQL's names
    "tinyint", "int", "float", "double", "decimal",  # Spark's
)  # fmt: skip
TIMES = ("timestamp without time zone", "timestamp with time zone", "date", "timestamp", "timestamp_ntz")
EMPTY = np.empty(0)


class Place(NamedTuple):
    """Where a decile is: the column, the bin's key, the place within the bin (from 1), and the values in it."""

    column: int
    key: int
    place: int
    inside: int


def is_number(kind: str) -> bool:
    """Whether an engine's type holds numbers."""
    return kind.partition("(")[0] in NUMBERS


def is_time(kind: str) -> bool:
    """Whether an engine's type holds times."""
    return kind in TIMES


def places(summaries: Sequence[NumericSummary]) -> list[Place]:
    """The places of all columns' deciles."""
    wanted = []
    for i, each in enumerate(summaries):
        for position in (-(-k * each.finite // 10) for k in range(1, 10)):
            at = int(np.searchsorted(each.cumulative, position))
            inside = int(each.counts[at])
            wanted.append(Place(i, _raw(int(each.ranks[at])), position - int(each.cumulative[at]) + inside, inside))
    return wanted


def with_deciles(
    summaries: Mapping[str, NumericSummary], wanted: Iterable[Place], rows: Iterable[Mapping[str, Any]]
) -> dict[str, NumericSummary]:
    """The summaries with what was found at the places: `edge` the value, `below` the bin's values up to it."""
    names = list(summaries)
    answers = {(row["i"], row["key"], row["place"]): row for row in rows}
    edges: dict[str, list[float]] = {name: [] for name in names}
    shares: dict[str, list[float]] = {name: [] for name in names}
    for i, key, place, inside in wanted:
        row = answers[i, key, place]
        name = names[i]
        if not edges[name] or row["edge"] > edges[name][-1]:
            edges[name].append(row["edge"])
            shares[name].append(row["below"] / inside)
    return {
        name: replace(each, edges=np.array(edges[name]), edge_shares=np.array(shares[name]))
        for name, each in summaries.items()
    }


def categories(
    names: Sequence[str], types: Mapping[str, str], rows: Iterable[Mapping[str, Any]]
) -> dict[str, CategorySummary]:
    """Columns' categories: `n` rows of column `i` have the text `v`, are `missing`, or belong to the `rest`."""
    counts: dict[int, dict[str, int]] = {}
    nulls, other = dict.fromkeys(range(len(names)), 0), dict.fromkeys(range(len(names)), 0)
    for row in rows:
        if row["missing"]:
            nulls[row["i"]] += row["n"]
        elif row["rest"]:
            other[row["i"]] += row["n"]
        else:
            of_column = counts.setdefault(row["i"], {})
            shown = f"{float(row['v']):.15g}" if is_number(types[names[row["i"]]]) else row["v"]
            of_column[shown] = of_column.get(shown, 0) + row["n"]
    return {name: bounded(counts.get(i, {}).items(), nulls[i], other[i]) for i, name in enumerate(names)}


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
