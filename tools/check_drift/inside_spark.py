"""Profiles computed inside Spark: a histogram's key is reckoned from the float32's exponent and fraction.

Powers of two and their quotients are exact in float64, so the key is that of the bits. A statement is one scan whatever
the number of columns: each row is unfolded into its values (`stack`), and they are counted where they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tools.check_drift.counting import FLOAT32_MAX, SIGN
from tools.check_drift.inside_counts import is_time
from tools.check_drift.inside_source import Points, Source
from tools.systems.dialects import rewritten
from tools.systems.warehouse import quote

_INFINITY = "CAST('Infinity' AS DOUBLE)"
_ACCURACY = 10_000
"""Of quartiles: ranks are exact up to so many rows, then right to one in so many."""


class SparkSource(Source):
    """The rows of one profile, and the statements that count them."""

    written_for = "spark"
    finite = f"x > -{_INFINITY} AND x < {_INFINITY}"
    rounded = "rint(x)"
    bins = "collect_list(key) FILTER (WHERE key >= 0) AS keys, collect_list(n) FILTER (WHERE key >= 0) AS counts"

    def _quartile(self, k: int) -> str:
        return f"percentile_approx(x, array(0.25D, 0.5D, 0.75D), {_ACCURACY})[{k - 1}]"

    def _number(self, name: str) -> str:
        """A column as a double; times as seconds since 1970."""
        if is_time(self._types[name]):
            return f"(CAST(unix_micros(CAST({_quoted(name)} AS TIMESTAMP)) AS DOUBLE) / 1E6D)"
        return f"CAST({_quoted(name)} AS DOUBLE)"

    def _unfolded(self, names: Sequence[str], each: Sequence[str], columns: str) -> str:
        """A row into so many, of one scan; the source's columns as Spark writes them."""
        chosen = ", ".join(quote(name) for name in dict.fromkeys(names))
        rows = rewritten(f"SELECT {chosen} FROM {self._from}", "spark")
        return f"SELECT stack({len(names)}, {', '.join(each)}) AS ({columns}) FROM ({rows}) AS t"

    def _values(self, names: Sequence[str]) -> str:
        each = [f"{i}, {self._number(name)}" for i, name in enumerate(names)]
        return f"({self._unfolded(names, each, 'i, x')}) AS s"

    def _keyed(self, names: Sequence[str], centres: Mapping[str, float]) -> str:
        each = [f"{i}, {self._number(name)}, {_double(centres[name])}" for i, name in enumerate(names)]
        parts = _PARTS.format(unfolded=self._unfolded(names, each, "i, x, c"))
        return f"(SELECT i, x, c, {_KEY} AS key FROM ({parts}) AS p) AS k"

    def _beyond(self, asked: Points) -> str:
        listed = [", ".join(map(_double, points)) for _, points in asked.values()]
        points = ", ".join(f"({i}, array({each}))" for i, each in enumerate(listed))
        return f"""
            SELECT s.i, size(filter(p.points, p -> p < s.x)) AS k, count(*) AS n
            FROM {self._values(list(asked))} JOIN (SELECT * FROM VALUES {points} AS p(i, points)) AS p ON p.i = s.i
            WHERE {self.finite} GROUP BY 1, 2
        """

    def _texts(self, names: Sequence[str]) -> str:
        each = [f"{i}, {self._text(name)}" for i, name in enumerate(names)]
        return f"({self._unfolded(names, each, 'i, v')}) AS s"

    def _text(self, name: str) -> str:
        if self._is_fraction(name):
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
