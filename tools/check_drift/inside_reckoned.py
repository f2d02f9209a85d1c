"""Profiles computed inside Snowflake and BigQuery, which have no float32: a key is reckoned from a float64.

Powers of two and their quotients are exact, so the key is that of the float32's bits. The statements are written in
DuckDB's SQL and translated: UNPIVOT unfolds a row into its values.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tools.check_drift.categorical import CategorySummary
from tools.check_drift.counting import FLOAT32_MAX, SIGN
from tools.check_drift.inside_counts import categories, is_time
from tools.check_drift.inside_source import Points, Source
from tools.systems.warehouse import quote


def _double(value: float) -> str:
    return f"CAST('{value!r}' AS DOUBLE)"


_NAN, _INFINITY, _BELOW = (f"CAST('{text}' AS DOUBLE)" for text in ("NaN", "inf", "-inf"))


class SnowflakeSource(Source):
    """The rows of one profile, and the statements that count them."""

    written_for = "duckdb"
    finite = f"x > {_BELOW} AND x < {_INFINITY}"
    rounded = "floor(x)"
    total = f"sum(CASE WHEN abs(x - c) > {_double(1e300)} THEN sign(x) * {_INFINITY} ELSE x - c END)"
    squares = f"""sum(CASE WHEN abs(x - c) < {_double(1e-150)} THEN 0
                           WHEN abs(x - c) > {_double(1e150)} THEN {_INFINITY} ELSE (x - c) * (x - c) END)"""
    bins = "string_agg(CAST(key AS VARCHAR) || ':' || CAST(n AS VARCHAR), ',') FILTER (WHERE key >= 0) AS bins"
    unsigned = f"CASE WHEN k.x = 0 THEN {_double(0.0)} ELSE k.x END"
    quantile: ClassVar[str] = "quantile_disc"

    def _quartile(self, k: int) -> str:
        return f"{self.quantile}(x, {k / 4})"

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
        listed = ", ".join(f"({i}, {_double(centres[name])})" for i, name in enumerate(names))
        joined = f"SELECT s.i, s.x, p.c FROM {self._values(names)} JOIN (VALUES {listed}) AS p(i, c) ON p.i = s.i"
        return f"(SELECT i, x, c, {_KEY} AS key FROM ({_MAGNITUDES.format(joined=joined)}) AS m) AS k"

    def _binned(self, row: dict[str, Any]) -> dict[str, Any]:
        bins = [each.split(":") for each in row["bins"].split(",")] if row["bins"] else []
        return row | {"keys": [int(key) for key, _ in bins], "counts": [int(n) for _, n in bins]}

    def _beyond(self, asked: Points) -> str:
        beyond = []
        for i, (_, points) in enumerate(asked.values()):
            steps = "".join(f" WHEN s.x <= {_double(point)} THEN {k}" for k, point in enumerate(points))
            beyond.append(f" WHEN {i} THEN CASE{steps} ELSE {len(points)} END")
        counted = f"SELECT s.i, CASE s.i{''.join(beyond)} END AS k FROM {self._values(list(asked))} WHERE {self.finite}"
        return f"SELECT i, k, count(*) AS n FROM ({counted}) AS t GROUP BY i, k"

    def categories(self, names: Sequence[str]) -> dict[str, CategorySummary]:
        """As elsewhere; fractions are counted as numbers, since their texts are not exact there, all else as texts."""
        fractions = {i for i, name in enumerate(names) if self._is_fraction(name)}
        rows: list[dict[str, Any]] = []
        for chosen in (sorted(fractions), [i for i in range(len(names)) if i not in fractions]):
            if chosen:
                found = self._most_frequent(self._texts([names[i] for i in chosen]))
                rows += [row | {"i": chosen[row["i"]]} for row in found]
        return categories(names, self._types, rows)

    def _texts(self, names: Sequence[str]) -> str:
        unfolded = self._unfolded([self._category(name) for name in names])
        return f"(SELECT i, x AS v FROM ({unfolded}) AS u) AS s"

    def _category(self, name: str) -> str:
        if not self._is_fraction(name):
            return f"CAST({quote(name)} AS VARCHAR)"
        number = self._number(name)
        return f"CASE WHEN {number} <> {_NAN} THEN {number} END"


class BigQuerySource(SnowflakeSource):
    """The same; quartiles are approximate."""

    quantile = "approx_quantile"


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
