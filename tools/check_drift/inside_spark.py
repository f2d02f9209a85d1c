"""Profiles computed inside Spark: a histogram's key is reckoned from the float32's exponent and fraction.

Powers of two and their quotients are exact in float64, so the key is that of the bits. A statement is one scan whatever
the number of columns: each row is unfolded into its values (`stack`), and they are counted where they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

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
from tools.systems.dialects import rewritten
from tools.systems.warehouse import AnyWarehouse, quote

_INFINITY = "CAST('Infinity' AS DOUBLE)"
_FINITE = f"x > -{_INFINITY} AND x < {_INFINITY}"
_ACCURACY = 10_000
"""Of quartiles: ranks are exact up to so many rows, then right to one in so many."""


class SparkSource:
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

    def _asked(self, sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._warehouse.query(sql, self._params, dialect="spark").to_pylist()
        return rows

    def _rows(self, names: Sequence[str]) -> str:
        """The source's columns, as Spark writes them."""
        chosen = ", ".join(quote(name) for name in dict.fromkeys(names))
        return rewritten(f"SELECT {chosen} FROM {self._from}", "spark")

    def rows(self) -> int:
        """How many there are."""
        asked = self._warehouse.query(f"SELECT count(*) AS n FROM {self._from}", self._params)
        return int(asked["n"][0].as_py())

    def _number(self, name: str) -> str:
        """A column as a double; times as seconds since 1970."""
        if is_time(self._types[name]):
            return f"(CAST(unix_micros(CAST({_quoted(name)} AS TIMESTAMP)) AS DOUBLE) / 1E6D)"
        return f"CAST({_quoted(name)} AS DOUBLE)"

    def _values(self, names: Sequence[str], centres: Mapping[str, float] | None = None) -> str:
        """A row a value: `i` the column's place, `x` the value; with centres also `c` and the `key`. One scan."""
        each = ", ".join(
            f"{i}, {self._number(name)}, {_double((centres or {}).get(name, 0.0))}" for i, name in enumerate(names)
        )
        unfolded = f"SELECT stack({len(names)}, {each}) AS (i, x, c) FROM ({self._rows(names)}) AS t"
        if centres is None:
            return f"({unfolded}) AS s"
        return f"(SELECT i, x, c, {_KEY} AS key FROM ({_PARTS.format(unfolded=unfolded)}) AS p) AS s"

    def centres(self, names: Sequence[str]) -> dict[str, float]:
        """Each column's centre, by its quartiles."""
        quartiles = f"percentile_approx(x, array(0.25D, 0.5D, 0.75D), {_ACCURACY})"
        asked = self._asked(f"SELECT i, {quartiles} AS q FROM {self._values(names)} WHERE {_FINITE} GROUP BY i")
        found = dict.fromkeys(names, 0.0)
        return found | {names[row["i"]]: centre_of(*row["q"]) for row in asked}

    def histograms(self, names: Sequence[str], centres: Mapping[str, float]) -> dict[str, NumericSummary]:
        """Each column's histogram, sums and extremes: a row a column, keys and their counts as arrays."""
        sql = f"""
            WITH counted AS (
                SELECT i, key, count(*) AS n, sum(x - c) AS total, sum((x - c) * (x - c)) AS squares,
                       min(x) AS low, max(x) AS high, bool_and(x = rint(x)) AS whole
                FROM {self._values(names, centres)} GROUP BY i, key)
            SELECT i, collect_list(key) FILTER (WHERE key >= 0) AS keys,
                   collect_list(n) FILTER (WHERE key >= 0) AS counts,
                   sum(n) FILTER (WHERE key = -1) AS nulls, sum(n) FILTER (WHERE key = -2) AS above,
                   sum(n) FILTER (WHERE key = -3) AS below,
                   sum(total) FILTER (WHERE key >= 0) AS total, sum(squares) FILTER (WHERE key >= 0) AS squares,
                   min(low) FILTER (WHERE key >= 0) AS low, max(high) FILTER (WHERE key >= 0) AS high,
                   bool_and(whole) FILTER (WHERE key >= 0) AS whole
            FROM counted GROUP BY i
        """
        found = {row["i"]: row for row in self._asked(sql)}
        return {name: summary(found.get(i, {}), centres[name]) for i, name in enumerate(names)}

    def deciles(self, summaries: Mapping[str, NumericSummary]) -> dict[str, NumericSummary]:
        """The summaries with exact deciles and cuts: of their bins the values are counted in their order."""
        filled = {name: each for name, each in summaries.items() if len(each.ranks)}
        names, wanted = list(filled), places(list(filled.values()))
        if not wanted:
            return {}
        listed = ", ".join(dict.fromkeys(f"{tuple(each)}" for each in wanted))
        bins = ", ".join(dict.fromkeys(f"({each.column}, {each.key})" for each in wanted))
        centres = {name: each.centre for name, each in filled.items()}
        sql = f"""
            WITH b AS (SELECT * FROM VALUES {bins} AS b(i, key)),
                 w AS (SELECT * FROM VALUES {listed} AS w(i, key, place)),
                 near AS (SELECT k.i, k.key, k.x, count(*) AS n FROM (SELECT * FROM {self._values(names, centres)}) AS k
                          LEFT SEMI JOIN b ON b.i = k.i AND b.key = k.key GROUP BY k.i, k.key, k.x),
                 ordered AS (SELECT i, key, x, n, sum(n) OVER (PARTITION BY i, key ORDER BY x) AS upto FROM near)
            SELECT w.i, w.key, w.place, o.x, o.upto, o.upto - o.n AS below
            FROM w JOIN ordered AS o ON o.i = w.i AND o.key = w.key AND o.upto >= w.place AND o.upto - o.n < w.place
        """
        return with_places(filled, wanted, self._asked(sql))

    def counted_at(self, asked: Mapping[str, tuple[NumericSummary, list[float]]]) -> dict[str, NumericSummary]:
        """The summaries with the number of finite values <= each of the given points."""
        if not asked:
            return {}
        listed = [", ".join(map(_double, points)) for _, points in asked.values()]
        points = ", ".join(f"({i}, array({each}))" for i, each in enumerate(listed))
        sql = f"""
            SELECT s.i, size(filter(p.points, p -> p < s.x)) AS k, count(*) AS n
            FROM {self._values(list(asked))} JOIN (SELECT * FROM VALUES {points} AS p(i, points)) AS p ON p.i = s.i
            WHERE {_FINITE} GROUP BY 1, 2
        """
        return counted(asked, self._asked(sql))

    def categories(self, names: Sequence[str]) -> dict[str, CategorySummary]:
        """Each column's most frequent categories, the number of all others, and nulls."""
        each = ", ".join(f"{i}, {self._text(name)}" for i, name in enumerate(names))
        sql = f"""
            WITH counted AS (
                SELECT i, v, count(*) AS n
                FROM (SELECT stack({len(names)}, {each}) AS (i, v) FROM ({self._rows(names)}) AS t) AS s GROUP BY i, v),
            placed AS (
                SELECT i, v, n, row_number() OVER (PARTITION BY i, v IS NULL ORDER BY n DESC, v) AS place FROM counted)
            SELECT i, CASE WHEN place <= {KEPT} THEN v END AS v, v IS NULL AS missing, place > {KEPT} AS rest,
                   sum(n) AS n
            FROM placed GROUP BY 1, 2, 3, 4
        """
        return categories(names, self._types, self._asked(sql))

    def _text(self, name: str) -> str:
        """A column as the text that names its categories."""
        if is_number(self._types[name]) and not is_integer(self._types[name]):
            number = f"CAST({_quoted(name)} AS DOUBLE)"
            return f"CASE WHEN NOT isnan({number}) THEN CAST({number} AS STRING) END"
        return f"CAST({_quoted(name)} AS STRING)"


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _double(value: float) -> str:
    return f"CAST('{value!r}' AS DOUBLE)"


_PARTS = f"""
    SELECT *, CASE WHEN pow(2D, guess) > a THEN guess - 1 WHEN pow(2D, guess + 1) <= a THEN guess + 1
                   ELSE guess END AS e
    FROM (SELECT *, abs(f) AS a, floor(log2(abs(f))) AS guess
          FROM (SELECT i, x, c, CAST(CAST(least(greatest(x - c, {_double(-FLOAT32_MAX)}), {_double(FLOAT32_MAX)})
                                          AS FLOAT) AS DOUBLE) AS f
                FROM ({{unfolded}}) AS u) AS v) AS w"""
"""Of each value `f`, the float32 of its distance from the centre, its size `a`, and the exponent `e` of two in that."""

_MAGNITUDE = """CASE WHEN a < pow(2D, -126) THEN floor(a * pow(2D, 136))
                     ELSE (e + 127) * 1024 + floor(a / pow(2D, e) * 1024D) - 1024 END"""
"""Eight bits of exponent and the upper ten of the fraction; closer to zero than 2^-126 the exponent's are 0."""

_KEY = f"""CASE WHEN x IS NULL OR isnan(x) THEN -1 WHEN x = {_INFINITY} THEN -2 WHEN x = -{_INFINITY} THEN -3
                WHEN f < -pow(2D, -136) THEN {_MAGNITUDE} + {SIGN} ELSE {_MAGNITUDE} END"""
