"""Profiles computed inside PostgreSQL: `float4send` gives the bits that a histogram's key is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tools.check_drift.categorical import KEPT, CategorySummary
from tools.check_drift.counting import FLOAT32_MAX, SIGN
from tools.check_drift.inside_counts import (
    categories,
    counted,
    is_integer,
    is_number,
    is_time,
    places,
    summary,
    with_places,
)
from tools.check_drift.numeric import NumericSummary, centre_of
from tools.systems.warehouse import AnyWarehouse, quote

_FINITE = "x > '-Infinity' AND x < 'Infinity'"
_SMALLEST = "1e-45"


class PostgresSource:
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
        if is_time(self._types[name]):
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
        return {name: summary(found.get(i, {}), centres[name]) for i, name in enumerate(names)}

    def deciles(self, summaries: Mapping[str, NumericSummary]) -> dict[str, NumericSummary]:
        """The summaries with exact deciles and cuts: the engine sorts the values that share a bin with one."""
        filled = {name: each for name, each in summaries.items() if len(each.ranks)}
        names, wanted = list(filled), places(list(filled.values()))
        if not wanted:
            return {}
        listed = ", ".join(dict.fromkeys(f"{tuple(each)}" for each in wanted))
        centres = {name: summaries[name].centre for name in names}
        sql = f"""
            WITH w(i, key, place) AS (VALUES {listed}),
                 near AS (SELECT k.i, k.key, k.x, count(*) AS n
                          FROM (SELECT i, x, {_ZERO_KEY} AS key FROM {self._values(names, centres)}) AS k
                          WHERE (k.i, k.key) IN (SELECT i, key FROM w) GROUP BY k.i, k.key, k.x),
                 ordered AS (SELECT i, key, x, n, CAST(sum(n) OVER (PARTITION BY i, key ORDER BY x) AS bigint) AS upto
                             FROM near)
            SELECT w.i, w.key, w.place, o.x, o.upto, o.upto - o.n AS below
            FROM w JOIN ordered AS o ON o.i = w.i AND o.key = w.key AND o.upto >= w.place AND o.upto - o.n < w.place
        """
        return with_places(filled, wanted, self._asked(sql))

    def counted_at(self, asked: Mapping[str, tuple[NumericSummary, list[float]]]) -> dict[str, NumericSummary]:
        """The summaries with the number of finite values <= each of the given points."""
        if not asked:
            return {}
        names = list(asked)
        # `width_bucket` counts from the points on; a value is beyond a point from the next one up on.
        after = [", ".join(map(repr, np.nextafter(points, np.inf).tolist())) for _, points in asked.values()]
        listed = ", ".join(f"({i}, CAST(ARRAY[{each}] AS double precision[]))" for i, each in enumerate(after))
        sql = f"""
            SELECT s.i, width_bucket(s.x, p.points) AS k, count(*) AS n
            FROM {self._values(names)} JOIN (VALUES {listed}) AS p(i, points) ON p.i = s.i WHERE {_FINITE} GROUP BY 1, 2
        """
        return counted(asked, self._asked(sql))

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
        return categories(names, self._types, self._asked(sql))

    def _text(self, name: str) -> str:
        """A column as the text that names its categories."""
        if is_number(self._types[name]) and not is_integer(self._types[name]):
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
_ZERO_KEY = f"(CASE {_KEY} WHEN {SIGN} THEN 0 ELSE {_KEY} END)"
"""The key, with that of -0 as that of 0."""
