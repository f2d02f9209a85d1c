"""Profiles computed inside an engine: a scan counts the histogram keys of all columns, and only counts travel.

A value's key is that of `numeric`: the upper 19 bits of the float32 of its distance from the centre, which PostgreSQL
can give too (`float4send`). So bins, edges and counts are those that Python computes from the same rows. A baseline
takes three scans (quartiles, keys, deciles), what is compared with it one, categories one more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from policies.errors import InputError
from tools.check_drift.bins import Summary, looks_again
from tools.check_drift.categorical import KEPT, CategorySummary, bounded
from tools.check_drift.counting import FLOAT32_MAX, sum_by_rank
from tools.check_drift.numeric import NumericSummary, centre_of, ranks_of
from tools.check_drift.profiles import Profile
from tools.systems.warehouse import AnyWarehouse, quote

_NUMBERS = ("smallint", "integer", "bigint", "real", "double precision", "numeric")
_TIMES = ("timestamp without time zone", "timestamp with time zone", "date")
_FINITE = "x > '-Infinity' AND x < 'Infinity'"
_SMALLEST = "1e-45"
_EMPTY = np.empty(0)


def computes_inside(warehouse: AnyWarehouse) -> bool:
    """Whether profiles of this warehouse are computed where its rows are."""
    return warehouse.dialect == "postgres"


def profile_inside(
    warehouse: AnyWarehouse,
    table: str,
    where: str | None,
    params: Mapping[str, object],
    columns: Sequence[str],
    *,
    categorical: Sequence[str] = (),
    like: Profile | None = None,
) -> Profile:
    """The profile of a table's rows that `where` lets through; `like` is the baseline's, as in `profiles.profile`.

    Raises InputError for a missing column, SystemDown where the engine gives up.
    """
    types = warehouse.columns(table)
    if missing := [name for name in columns if name not in types]:
        raise InputError(f"no column {', '.join(map(repr, missing))}; present: {', '.join(types)}", where=table)
    known = like.columns if like else {}
    source = _Source(warehouse, table, where, params, types)
    counted = [
        name
        for name in columns
        if name in categorical
        or types[name] not in (*_NUMBERS, *_TIMES)
        or isinstance(known.get(name), CategorySummary)
    ]
    numbers = [name for name in columns if name not in counted]
    found: dict[str, Summary] = {}
    if numbers:
        centres = {name: known[name].centre for name in numbers if isinstance(known.get(name), NumericSummary)}  # type: ignore[union-attr]
        if rest := [name for name in numbers if name not in centres]:
            centres |= source.centres(rest)
        found |= source.histograms(numbers, centres)
        summaries = {name: each for name, each in found.items() if isinstance(each, NumericSummary)}
        found |= source.deciles(summaries) if like is None else source.counted_at(_unsure(summaries, known))
    if counted:
        found |= source.categories(counted)
    rows = source.rows()
    return Profile(rows, {name: _of_kind(found[name], known.get(name)) for name in columns})


def _unsure(
    summaries: Mapping[str, NumericSummary], known: Mapping[str, Summary]
) -> dict[str, tuple[NumericSummary, list[float]]]:
    """The columns to be counted at their baseline's deciles, and those."""
    pairs = ((name, each, known.get(name)) for name, each in summaries.items())
    return {
        name: (each, like.edges.tolist())
        for name, each, like in pairs
        if isinstance(like, NumericSummary) and looks_again(like, each)
    }


def _of_kind(summary: Summary, like: Summary | None) -> Summary:
    """An all-null column says nothing of its kind; what it is compared with does."""
    if isinstance(like, NumericSummary) and isinstance(summary, CategorySummary) and summary.nulls == summary.rows:
        return NumericSummary(
            like.centre, np.empty(0, np.int64), np.empty(0, np.int64), summary.nulls, 0, 0, 0.0, 0.0, np.nan, np.nan,
            _EMPTY, _EMPTY, True,
        )  # fmt: skip
    return summary


class _Source:
    """The rows of one profile, and the statements that count them."""

    def __init__(
        self,
        warehouse: AnyWarehouse,
        table: str,
        where: str | None,
        params: Mapping[str, object],
        types: Mapping[str, str],
    ) -> None:
        self._warehouse, self._params, self._types = warehouse, params, types
        self._from = f"{table}{f' WHERE {where}' if where else ''}"

    def _asked(self, sql: str, **extra: object) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._warehouse.query(
            sql, {**self._params, **extra}, dialect="postgres"
        ).to_pylist()
        return rows

    def rows(self) -> int:
        """How many there are."""
        return int(self._asked(f"SELECT count(*) AS n FROM {self._from}")[0]["n"])

    def _number(self, name: str) -> str:
        """A column as float8; times as seconds since 1970."""
        column = quote(name)
        if self._types[name] in _TIMES:
            return f"CAST(EXTRACT(EPOCH FROM {column}) AS double precision)"
        return f"CAST({column} AS double precision)"

    def _values(self, names: Sequence[str], centres: Mapping[str, float] | None = None) -> str:
        """A row a value: `i` the column's place, `x` the value; with centres `c` and the key's bytes. One scan."""
        each = ", ".join(
            f"({i}, {self._number(name)}, CAST({(centres or {}).get(name, 0.0)!r} AS double precision))"
            for i, name in enumerate(names)
        )
        chosen = ", ".join(quote(name) for name in dict.fromkeys(names))
        lateral = f"(SELECT {chosen} FROM {self._from}) AS t CROSS JOIN LATERAL (VALUES {each}) AS v(i, x, c)"
        if centres is None:
            return f"(SELECT v.i, v.x FROM {lateral}) AS s"
        # OFFSET keeps the planner from computing the bytes anew for each part of the key.
        return f"(SELECT v.i, v.x, v.c, {_BYTES} AS b FROM {lateral} OFFSET 0) AS s"

    def centres(self, names: Sequence[str]) -> dict[str, float]:
        """Each column's centre, by its quartiles."""
        quartiles = "percentile_disc(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY x)"
        asked = self._asked(f"SELECT i, {quartiles} AS q FROM {self._values(names)} WHERE {_FINITE} GROUP BY i")
        found = dict.fromkeys(names, 0.0)
        return found | {names[row["i"]]: centre_of(*row["q"]) for row in asked}

    def histograms(self, names: Sequence[str], centres: Mapping[str, float]) -> dict[str, NumericSummary]:
        """Each column's histogram, sums and extremes: a row a column, keys and their counts as arrays."""
        sql = f"""
            WITH counted AS (
                SELECT i, {_KEY} AS key, count(*) AS n, {_TOTAL} AS total, {_SQUARES} AS squares,
                       min(x) AS low, max(x) AS high, bool_and(x = round(x)) AS whole
                FROM {self._values(names, centres)} GROUP BY i, 2)
            SELECT i, array_agg(key) FILTER (WHERE key >= 0) AS keys, array_agg(n) FILTER (WHERE key >= 0) AS counts,
                   CAST(sum(n) FILTER (WHERE key = -1) AS bigint) AS nulls,
                   CAST(sum(n) FILTER (WHERE key = -2) AS bigint) AS above,
                   CAST(sum(n) FILTER (WHERE key = -3) AS bigint) AS below,
                   sum(total) FILTER (WHERE key >= 0) AS total, sum(squares) FILTER (WHERE key >= 0) AS squares,
                   min(low) FILTER (WHERE key >= 0) AS low, max(high) FILTER (WHERE key >= 0) AS high,
                   bool_and(whole) FILTER (WHERE key >= 0) AS whole
            FROM counted GROUP BY i
        """
        found = {row["i"]: row for row in self._asked(sql)}
        return {name: _summary(found.get(i, {}), centres[name]) for i, name in enumerate(names)}

    def deciles(self, summaries: Mapping[str, NumericSummary]) -> dict[str, NumericSummary]:
        """The summaries with exact deciles: the engine sorts the values that share a bin with one."""
        names = [name for name, each in summaries.items() if len(each.ranks)]
        wanted: list[tuple[int, int, int, int]] = []  # column, key, place within the bin (from 1), values in it
        for i, name in enumerate(names):
            each = summaries[name]
            for position in (-(-k * each.finite // 10) for k in range(1, 10)):
                at = int(np.searchsorted(each.cumulative, position))
                inside = int(each.counts[at])
                wanted.append((i, int(each.ranks[at]), position - int(each.cumulative[at]) + inside, inside))
        if not wanted:
            return {}
        listed = ", ".join(f"({i}, {_raw(rank)}, {place})" for i, rank, place, _ in dict.fromkeys(wanted))
        centres = {name: summaries[name].centre for name in names}
        sql = f"""
            WITH w(i, key, place) AS (VALUES {listed}),
                 near AS (SELECT k.i, k.key, array_agg(k.x ORDER BY k.x) AS a
                          FROM (SELECT i, x, {_ZERO_KEY} AS key FROM {self._values(names, centres)}) AS k
                          WHERE (k.i, k.key) IN (SELECT i, key FROM w) GROUP BY k.i, k.key)
            SELECT w.i, w.key, w.place, near.a[w.place] AS edge,
                   (SELECT count(*) FROM unnest(near.a) AS u(x) WHERE u.x <= near.a[w.place]) AS below
            FROM w JOIN near ON near.i = w.i AND near.key = w.key
        """
        answers = {(row["i"], row["key"], row["place"]): row for row in self._asked(sql)}
        edges: dict[str, list[float]] = {name: [] for name in names}
        shares: dict[str, list[float]] = {name: [] for name in names}
        for i, rank, place, inside in wanted:
            row = answers[i, _raw(rank), place]
            name = names[i]
            if not edges[name] or row["edge"] > edges[name][-1]:
                edges[name].append(row["edge"])
                shares[name].append(row["below"] / inside)
        return {
            name: replace(summaries[name], edges=np.array(edges[name]), edge_shares=np.array(shares[name]))
            for name in names
        }

    def counted_at(self, asked: Mapping[str, tuple[NumericSummary, list[float]]]) -> dict[str, NumericSummary]:
        """The summaries with the number of finite values <= each of the given edges."""
        if not asked:
            return {}
        names = list(asked)
        edges = [(i, k, edge) for i, name in enumerate(names) for k, edge in enumerate(asked[name][1])]
        listed = ", ".join(f"({i}, {k}, CAST({edge!r} AS double precision))" for i, k, edge in edges)
        sql = f"""
            SELECT e.i, e.k, count(*) AS n
            FROM {self._values(names)} JOIN (VALUES {listed}) AS e(i, k, edge) ON e.i = s.i AND s.x <= e.edge
            WHERE {_FINITE} GROUP BY e.i, e.k
        """
        counts = {name: np.zeros(len(asked[name][1])) for name in names}
        for row in self._asked(sql):
            counts[names[row["i"]]][row["k"]] = row["n"]
        return {
            name: replace(each, like_edges=np.array(edges), like_counts=counts[name])
            for name, (each, edges) in asked.items()
        }

    def categories(self, names: Sequence[str]) -> dict[str, CategorySummary]:
        """Each column's most frequent categories, the number of all others, and nulls."""
        each = ", ".join(f"({i}, {self._text(name)})" for i, name in enumerate(names))
        chosen = ", ".join(map(quote, names))
        sql = f"""
            WITH counted AS (
                SELECT s.i, s.v, count(*) AS n
                FROM (SELECT {chosen} FROM {self._from}) AS t CROSS JOIN LATERAL (VALUES {each}) AS s(i, v)
                GROUP BY s.i, s.v),
            placed AS (
                SELECT i, v, n, row_number() OVER (PARTITION BY i, v IS NULL ORDER BY n DESC, v COLLATE "C") AS place
                FROM counted)
            SELECT i, CASE WHEN place <= {KEPT} THEN v END AS v, v IS NULL AS missing, place > {KEPT} AS rest,
                   CAST(sum(n) AS bigint) AS n
            FROM placed GROUP BY 1, 2, 3, 4
        """
        counts: dict[int, dict[str, int]] = {}
        nulls, other = dict.fromkeys(range(len(names)), 0), dict.fromkeys(range(len(names)), 0)
        for row in self._asked(sql):
            if row["missing"]:
                nulls[row["i"]] += row["n"]
            elif row["rest"]:
                other[row["i"]] += row["n"]
            else:
                of_column = counts.setdefault(row["i"], {})
                shown = f"{float(row['v']):.15g}" if self._types[names[row["i"]]] in _NUMBERS else row["v"]
                of_column[shown] = of_column.get(shown, 0) + row["n"]
        return {name: bounded(counts.get(i, {}).items(), nulls[i], other[i]) for i, name in enumerate(names)}

    def _text(self, name: str) -> str:
        """A column as the text that names its categories."""
        if self._types[name] in _NUMBERS:
            number = f"CAST({quote(name)} AS double precision)"
            return f"CASE WHEN {number} <> 'NaN' THEN CAST({number} AS text) END"
        return f"CAST({quote(name)} AS text)"


_DISTANCE = (
    f"CASE WHEN v.x IS NULL OR v.x = 'NaN' THEN 0 WHEN abs(v.x - v.c) < {_SMALLEST} THEN 0 "
    f"ELSE LEAST(GREATEST(v.x - v.c, {-FLOAT32_MAX!r}), {FLOAT32_MAX!r}) END"
)
_BYTES = f"float4send(CAST({_DISTANCE} AS real))"
_BITS = "(get_byte(b, 0) * 2048 + get_byte(b, 1) * 8 + get_byte(b, 2) / 32)"
_TOTAL = "sum(CASE WHEN abs(x - c) > 1e300 THEN sign(x) * 'Infinity' ELSE x - c END)"
_SQUARES = """sum(CASE WHEN abs(x - c) < 1e-150 THEN 0 WHEN abs(x - c) > 1e150 THEN 'Infinity'
                        ELSE (x - c) * (x - c) END)"""
_KEY = (
    "CASE WHEN x IS NULL OR x = 'NaN' THEN -1 WHEN x = 'Infinity' THEN -2 WHEN x = '-Infinity' THEN -3 "
    f"ELSE {_BITS} END"
)
_SIGN = 1 << 18
_ZERO_KEY = f"(CASE {_KEY} WHEN {_SIGN} THEN 0 ELSE {_KEY} END)"
"""The key, with that of -0 as that of 0."""


def _raw(rank: int) -> int:
    """The key of a rank: the reverse of `numeric.ranks_of`."""
    return rank - _SIGN if rank >= _SIGN else 2 * _SIGN - 1 - rank


def _summary(row: Mapping[str, Any], centre: float) -> NumericSummary:
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
        edges=_EMPTY,
        edge_shares=_EMPTY,
        integral=bool(row["whole"]) if len(ranks) else True,
    )
