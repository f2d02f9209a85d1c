"""Profiles computed inside PostgreSQL: `float4send` gives the bits that a histogram's key is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tools.check_drift.counting import FLOAT32_MAX, SIGN
from tools.check_drift.inside_counts import is_time
from tools.check_drift.inside_source import Points, Source
from tools.systems.warehouse import quote

_SMALLEST = "1e-45"


class PostgresSource(Source):
    """The rows of one profile, and the statements that count them."""

    written_for = "postgres"
    finite = "x > '-Infinity' AND x < 'Infinity'"
    rounded = "round(x)"
    total = "sum(CASE WHEN abs(x - c) > 1e300 THEN sign(x) * 'Infinity' ELSE x - c END)"
    squares = """sum(CASE WHEN abs(x - c) < 1e-150 THEN 0 WHEN abs(x - c) > 1e150 THEN 'Infinity'
                              ELSE (x - c) * (x - c) END)"""
    bins = "array_agg(key) FILTER (WHERE key >= 0) AS keys, array_agg(n) FILTER (WHERE key >= 0) AS counts"
    by_text = 'v COLLATE "C"'

    def _quartile(self, k: int) -> str:
        return f"(percentile_disc(ARRAY[0.25, 0.5, 0.75]) WITHIN GROUP (ORDER BY x))[{k}]"

    def _number(self, name: str) -> str:
        """A column as float8; times as seconds since 1970."""
        column = quote(name)
        if is_time(self._types[name]):
            return f"CAST(EXTRACT(EPOCH FROM {column}) AS double precision)"
        return f"CAST({column} AS double precision)"

    def _unfolded(self, names: Sequence[str], each: Sequence[str], columns: str) -> str:
        """A row into so many, of one scan."""
        chosen = ", ".join(quote(name) for name in dict.fromkeys(names))
        listed = ", ".join(f"({one})" for one in each)
        return f"(SELECT {chosen} FROM {self._from}) AS t CROSS JOIN LATERAL (VALUES {listed}) AS v({columns})"

    def _values(self, names: Sequence[str]) -> str:
        each = [f"{i}, {self._number(name)}" for i, name in enumerate(names)]
        return f"(SELECT v.i, v.x FROM {self._unfolded(names, each, 'i, x')}) AS s"

    def _keyed(self, names: Sequence[str], centres: Mapping[str, float]) -> str:
        each = [
            f"{i}, {self._number(name)}, CAST({centres[name]!r} AS double precision)" for i, name in enumerate(names)
        ]
        # OFFSET keeps the planner from computing the bytes anew for each part of the key.
        unfolded = f"SELECT v.i, v.x, v.c, {_BYTES} AS b FROM {self._unfolded(names, each, 'i, x, c')} OFFSET 0"
        return f"(SELECT i, x, c, {_KEY} AS key FROM ({unfolded}) AS u) AS k"

    def _keyed_unsigned(self, names: Sequence[str], centres: Mapping[str, float]) -> str:
        return f"(SELECT i, x, CASE key WHEN {SIGN} THEN 0 ELSE key END AS key FROM {self._keyed(names, centres)}) AS k"

    def _beyond(self, asked: Points) -> str:
        # `width_bucket` counts from the points on; a value is beyond a point from the next one up on.
        after = [", ".join(map(repr, np.nextafter(points, np.inf).tolist())) for _, points in asked.values()]
        listed = ", ".join(f"({i}, CAST(ARRAY[{each}] AS double precision[]))" for i, each in enumerate(after))
        return f"""
            SELECT s.i, width_bucket(s.x, p.points) AS k, count(*) AS n
            FROM {self._values(list(asked))} JOIN (VALUES {listed}) AS p(i, points) ON p.i = s.i
            WHERE {self.finite} GROUP BY 1, 2
        """

    def _texts(self, names: Sequence[str]) -> str:
        each = [f"{i}, {self._text(name)}" for i, name in enumerate(names)]
        return f"(SELECT v.i, v.v FROM {self._unfolded(names, each, 'i, v')}) AS s"

    def _text(self, name: str) -> str:
        if self._is_fraction(name):
            number = f"CAST({quote(name)} AS double precision)"
            return f"CASE WHEN {number} <> 'NaN' THEN CAST({number} AS text) END"
        return f"CAST({quote(name)} AS text)"


_DISTANCE = (
    f"CASE WHEN v.x IS NULL OR v.x = 'NaN' THEN 0 WHEN abs(v.x - v.c) < {_SMALLEST} THEN 0 "
    f"ELSE LEAST(GREATEST(v.x - v.c, {-FLOAT32_MAX!r}), {FLOAT32_MAX!r}) END"
)
_BYTES = f"float4send(CAST({_DISTANCE} AS real))"
_BITS = "(get_byte(b, 0) * 2048 + get_byte(b, 1) * 8 + get_byte(b, 2) / 32)"
_KEY = (
    "CASE WHEN x IS NULL OR x = 'NaN' THEN -1 WHEN x = 'Infinity' THEN -2 WHEN x = '-Infinity' THEN -3 "
    f"ELSE {_BITS} END"
)
