"""Profiles computed inside Snowflake, which has no float32: a histogram's key is reckoned from a float64.

Powers of two and their quotients are exact, so the key is that of the float32's bits. The statements are written in
DuckDB's SQL and translated; each is one scan whatever the number of columns: UNPIVOT unfolds a row into its values.
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
from tools.systems.warehouse import AnyWarehouse, quote


class SnowflakeSource:
    """The rows of one profile, and the statements that count them."""

    _quantile = "quantile_disc"

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
        rows: list[dict[str, Any]] = self._warehouse.query(sql, self._params).to_pylist()
        return rows

    def rows(self) -> int:
        """How many there are."""
        return int(self._asked(f"SELECT count(*) AS n FROM {self._from}")[0]["n"])

    def _number(self, name: str) -> str:
        """A column as a double (a bare one would be taken for a boolean); times as seconds since 1970."""
        return f"epoch({quote(name)})" if is_time(self._types[name]) else f"CAST(({quote(name)}) AS DOUBLE)"

    def _unfolded(self, values: Sequence[str]) -> str:
        """A row a value of equal types: `i` its place among `values`, and `x`."""
        named = ", ".join(f"{value} AS C{i}" for i, value in enumerate(values))  # upper case: they become texts
        listed = ", ".join(f"C{i}" for i in range(len(values)))
        return f"""SELECT CAST(substr(n, 2) AS INTEGER) AS i, x
            FROM (SELECT {named} FROM {self._from}) AS t UNPIVOT INCLUDE NULLS (x FOR n IN ({listed}))"""

    def _values(self, names: Sequence[str]) -> str:
        return f"({self._unfolded([self._number(name) for name in names])}) AS s"

    def _keyed(self, names: Sequence[str], centres: Mapping[str, float]) -> str:
        """A row a value: `i` the column's place, the value `x`, its column's centre `c` and the `key`."""
        listed = ", ".join(f"({i}, {_double(centres[name])})" for i, name in enumerate(names))
        joined = f"SELECT s.i, s.x, p.c FROM {self._values(names)} JOIN (VALUES {listed}) AS p(i, c) ON p.i = s.i"
        return f"(SELECT i, x, c, {_KEY} AS key FROM ({_MAGNITUDES.format(joined=joined)}) AS m) AS k"

    def centres(self, names: Sequence[str]) -> dict[str, float]:
        """Each column's centre, by its quartiles."""
        quartiles = ", ".join(
            f"{self._quantile}(x, {share}) AS q{share:.0%}".rstrip("%") for share in (0.25, 0.5, 0.75)
        )
        asked = self._asked(f"SELECT i, {quartiles} FROM {self._values(names)} WHERE {_FINITE} GROUP BY i")
        found = dict.fromkeys(names, 0.0)
        return found | {names[row["i"]]: centre_of(row["q25"], row["q50"], row["q75"]) for row in asked}

    def histograms(self, names: Sequence[str], centres: Mapping[str, float]) -> dict[str, NumericSummary]:
        """Each column's histogram, sums and extremes: a row a column, keys and their counts as a text."""
        sql = f"""
            WITH counted AS (
                SELECT i, key, count(*) AS n, {_TOTAL} AS total, {_SQUARES} AS squares,
                       min(x) AS low, max(x) AS high, min(CASE WHEN x = floor(x) THEN 1 ELSE 0 END) AS whole
                FROM {self._keyed(names, centres)} GROUP BY i, key)
            SELECT i, string_agg(CAST(key AS VARCHAR) || ':' || CAST(n AS VARCHAR), ',')
                       FILTER (WHERE key >= 0) AS bins,
                   sum(n) FILTER (WHERE key = -1) AS nulls, sum(n) FILTER (WHERE key = -2) AS above,
                   sum(n) FILTER (WHERE key = -3) AS below,
                   sum(total) FILTER (WHERE key >= 0) AS total, sum(squares) FILTER (WHERE key >= 0) AS squares,
                   min(low) FILTER (WHERE key >= 0) AS low, max(high) FILTER (WHERE key >= 0) AS high,
                   min(whole) FILTER (WHERE key >= 0) AS whole
            FROM counted GROUP BY i
        """
        found = {}
        for row in self._asked(sql):
            bins = [each.split(":") for each in row["bins"].split(",")] if row["bins"] else []
            found[row["i"]] = row | {"keys": [int(key) for key, _ in bins], "counts": [int(n) for _, n in bins]}
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
            WITH b AS (SELECT * FROM (VALUES {bins}) AS b(i, key)),
                 w AS (SELECT * FROM (VALUES {listed}) AS w(i, key, place)),
                 near AS (SELECT k.i, k.key, {_UNSIGNED} AS x, count(*) AS n FROM {self._keyed(names, centres)}
                          JOIN b ON b.i = k.i AND b.key = k.key GROUP BY k.i, k.key, {_UNSIGNED}),
                 ordered AS (SELECT i, key, x, n, sum(n) OVER (PARTITION BY i, key ORDER BY x NULLS FIRST) AS upto
                             FROM near)
            SELECT w.i, w.key, w.place, o.x, o.upto, o.upto - o.n AS below
            FROM w JOIN ordered AS o ON o.i = w.i AND o.key = w.key AND o.upto >= w.place AND o.upto - o.n < w.place
        """
        return with_places(filled, wanted, self._asked(sql))

    def counted_at(self, asked: Mapping[str, tuple[NumericSummary, list[float]]]) -> dict[str, NumericSummary]:
        """The summaries with the number of finite values <= each of the given points."""
        if not asked:
            return {}
        beyond = []
        for i, (_, points) in enumerate(asked.values()):
            steps = "".join(f" WHEN s.x <= {_double(point)} THEN {k}" for k, point in enumerate(points))
            beyond.append(f" WHEN {i} THEN CASE{steps} ELSE {len(points)} END")
        sql = f"""
            SELECT i, k, count(*) AS n
            FROM (SELECT s.i, CASE s.i{"".join(beyond)} END AS k FROM {self._values(list(asked))} WHERE {_FINITE}) AS t
            GROUP BY i, k
        """
        return counted(asked, self._asked(sql))

    def categories(self, names: Sequence[str]) -> dict[str, CategorySummary]:
        """Each column's most frequent categories, the number of all others, and nulls.

        Fractions are counted as numbers, since their texts are not exact there, all else as texts.
        """
        fractions = {i for i, name in enumerate(names) if self._is_fraction(name)}
        rows: list[dict[str, Any]] = []
        for chosen in (sorted(fractions), [i for i in range(len(names)) if i not in fractions]):
            if chosen:
                values = [self._category(names[i]) for i in chosen]
                rows += [row | {"i": chosen[row["i"]]} for row in self._asked(self._counted(values))]
        return categories(names, self._types, rows)

    def _counted(self, values: Sequence[str]) -> str:
        return f"""
            WITH counted AS (SELECT i, x, count(*) AS n FROM ({self._unfolded(values)}) AS s GROUP BY i, x),
            placed AS (
                SELECT i, x, n, row_number() OVER (PARTITION BY i, x IS NULL ORDER BY n DESC, x) AS place FROM counted)
            SELECT i, CASE WHEN place <= {KEPT} THEN x END AS v, x IS NULL AS missing, place > {KEPT} AS rest,
                   sum(n) AS n
            FROM placed GROUP BY 1, 2, 3, 4
        """

    def _is_fraction(self, name: str) -> bool:
        return is_number(self._types[name]) and not is_integer(self._types[name])

    def _category(self, name: str) -> str:
        """A column as what names its categories: NaN is none."""
        if not self._is_fraction(name):
            return f"CAST({quote(name)} AS VARCHAR)"
        number = self._number(name)
        return f"CASE WHEN {number} <> {_NAN} THEN {number} END"


def _double(value: float) -> str:
    return f"CAST('{value!r}' AS DOUBLE)"


_NAN, _INFINITY, _BELOW = (f"CAST('{text}' AS DOUBLE)" for text in ("NaN", "inf", "-inf"))
_FINITE = f"s.x > {_BELOW} AND s.x < {_INFINITY}"
_UNSIGNED = f"CASE WHEN k.x = 0 THEN {_double(0.0)} ELSE k.x END"
_TOTAL = f"sum(CASE WHEN abs(x - c) > {_double(1e300)} THEN sign(x) * {_INFINITY} ELSE x - c END)"
_SQUARES = f"""sum(CASE WHEN abs(x - c) < {_double(1e-150)} THEN 0 WHEN abs(x - c) > {_double(1e150)} THEN {_INFINITY}
                        ELSE (x - c) * (x - c) END)"""

_NORMAL = _double(2.0**-126)
"""The smallest float32 whose exponent's bits are not 0."""
_HALF = _double(2.0**-14)
"""Half of a float32's last bit, where its upper ten bits of fraction are whole numbers: rounding is to even."""
_LARGEST = _double(FLOAT32_MAX)

_MAGNITUDES = f"""
    SELECT i, x, c, d, CASE WHEN a < {_NORMAL} THEN floor(a * pow(2.0, 136) + {_HALF})
                            ELSE (e + 126) * 1024 + floor(a / pow(2.0, e - 10) + {_HALF}) END AS m
    FROM (SELECT *, CASE WHEN pow(2.0, guess) > a THEN guess - 1 WHEN pow(2.0, guess + 1) <= a THEN guess + 1
                         ELSE guess END AS e
          FROM (SELECT *, abs(d) AS a,
                       floor(ln(CASE WHEN abs(d) < {_NORMAL} THEN {_NORMAL} ELSE abs(d) END) / ln(2.0)) AS guess
                FROM (SELECT i, x, c, CASE WHEN x IS NULL OR x = {_NAN} THEN {_double(0.0)}
                                           WHEN x - c > {_LARGEST} THEN {_LARGEST}
                                           WHEN x - c < -{_LARGEST} THEN -{_LARGEST} ELSE x - c END AS d
                      FROM ({{joined}}) AS j) AS u) AS v) AS w"""
"""Of each value its distance `d` from the centre, and `m`, the exponent's eight bits and ten of the fraction's of `d`
as a float32."""

_KEY = f"""CAST(CASE WHEN x IS NULL OR x = {_NAN} THEN -1 WHEN x = {_INFINITY} THEN -2 WHEN x = {_BELOW} THEN -3
                WHEN d < 0 AND m > 0 THEN m + {SIGN} ELSE m END AS INTEGER)"""
