"""What engines that compute profiles are asked alike; each says how it writes the parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from tools.check_drift.categorical import KEPT, CategorySummary
from tools.check_drift.inside_counts import categories, counted, is_integer, is_number, places, summary, with_places
from tools.check_drift.numeric import NumericSummary, centre_of
from tools.systems.warehouse import AnyWarehouse

Points = Mapping[str, tuple[NumericSummary, list[float]]]
"""Columns that are counted at points, and those."""


class Source(ABC):
    """The rows of one profile, and the statements that count them: each is one scan whatever the number of columns."""

    written_for: ClassVar[str]
    """What the statements are written for."""
    finite: ClassVar[str]
    """Whether a value `x` is."""
    rounded: ClassVar[str]
    """`x` as a whole number."""
    total: ClassVar[str] = "sum(x - c)"
    squares: ClassVar[str] = "sum((x - c) * (x - c))"
    """Sums of distances from the centre `c`, and of their squares: infinite where they are too large."""
    bins: ClassVar[str]
    """A histogram's keys and counts; see `_binned`."""
    unsigned: ClassVar[str] = "k.x"
    """The value `k.x`, where -0 is 0."""
    by_text: ClassVar[str] = "v"
    """What categories `v` are ordered by: their code points."""

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

    def rows(self) -> int:
        """How many there are."""
        asked = self._warehouse.query(f"SELECT count(*) AS n FROM {self._from}", self._params)
        return int(asked["n"][0].as_py())

    def centres(self, names: Sequence[str]) -> dict[str, float]:
        """Each column's centre, by its quartiles."""
        quartiles = ", ".join(f"{self._quartile(k)} AS q{k}" for k in (1, 2, 3))
        asked = self._asked(f"SELECT i, {quartiles} FROM {self._values(names)} WHERE {self.finite} GROUP BY i")
        found = dict.fromkeys(names, 0.0)
        return found | {names[row["i"]]: centre_of(row["q1"], row["q2"], row["q3"]) for row in asked}

    def histograms(self, names: Sequence[str], centres: Mapping[str, float]) -> dict[str, NumericSummary]:
        """Each column's histogram, sums and extremes: a row a column."""
        sql = f"""
            WITH counted AS (
                SELECT i, key, count(*) AS n, {self.total} AS total, {self.squares} AS squares, min(x) AS low,
                       max(x) AS high, min(CASE WHEN x = {self.rounded} THEN 1 ELSE 0 END) AS whole
                FROM {self._keyed(names, centres)} GROUP BY i, key)
            SELECT i, {self.bins},
                   sum(n) FILTER (WHERE key = -1) AS nulls, sum(n) FILTER (WHERE key = -2) AS above,
                   sum(n) FILTER (WHERE key = -3) AS below,
                   sum(total) FILTER (WHERE key >= 0) AS total, sum(squares) FILTER (WHERE key >= 0) AS squares,
                   min(low) FILTER (WHERE key >= 0) AS low, max(high) FILTER (WHERE key >= 0) AS high,
                   min(whole) FILTER (WHERE key >= 0) AS whole
            FROM counted GROUP BY i
        """
        found = {row["i"]: self._binned(row) for row in self._asked(sql)}
        return {name: summary(found.get(i, {}), centres[name]) for i, name in enumerate(names)}

    def deciles(self, summaries: Mapping[str, NumericSummary]) -> dict[str, NumericSummary]:
        """The summaries with exact deciles and cuts: of their bins the values are counted in their order."""
        filled = {name: each for name, each in summaries.items() if len(each.ranks)}
        wanted = places(list(filled.values()))
        if not wanted:
            return {}
        listed = ", ".join(dict.fromkeys(f"{tuple(each)}" for each in wanted))
        bins = ", ".join(dict.fromkeys(f"({each.column}, {each.key})" for each in wanted))
        keyed = self._keyed_unsigned(list(filled), {name: each.centre for name, each in filled.items()})
        sql = f"""
            WITH b AS (SELECT * FROM (VALUES {bins}) AS b(i, key)),
                 w AS (SELECT * FROM (VALUES {listed}) AS w(i, key, place)),
                 near AS (SELECT k.i, k.key, {self.unsigned} AS x, count(*) AS n FROM {keyed}
                          JOIN b ON b.i = k.i AND b.key = k.key GROUP BY k.i, k.key, {self.unsigned}),
                 ordered AS (SELECT i, key, x, n, sum(n) OVER (PARTITION BY i, key ORDER BY x NULLS FIRST) AS upto
                             FROM near)
            SELECT w.i, w.key, w.place, o.x, o.upto, o.upto - o.n AS below
            FROM w JOIN ordered AS o ON o.i = w.i AND o.key = w.key AND o.upto >= w.place AND o.upto - o.n < w.place
        """
        return with_places(filled, wanted, self._asked(sql))

    def counted_at(self, asked: Points) -> dict[str, NumericSummary]:
        """The summaries with the number of finite values <= each of the given points."""
        return counted(asked, self._asked(self._beyond(asked))) if asked else {}

    def categories(self, names: Sequence[str]) -> dict[str, CategorySummary]:
        """Each column's most frequent categories, the number of all others, and nulls."""
        return categories(names, self._types, self._most_frequent(self._texts(names)))

    def _most_frequent(self, unfolded: str) -> list[dict[str, Any]]:
        """Of rows of a column `i` and a category `v` those that are kept, and the number of all others by `part_of`."""
        return self._asked(f"""
            WITH counted AS (SELECT i, v, count(*) AS n FROM {unfolded} GROUP BY i, v),
            placed AS (
                SELECT i, v, n, row_number() OVER (PARTITION BY i, v IS NULL ORDER BY n DESC, {self.by_text}) AS place
                FROM counted)
            SELECT i, CASE WHEN place <= {KEPT} THEN v END AS v, v IS NULL AS missing, place > {KEPT} AS rest,
                   CASE WHEN place > {KEPT} THEN substr(md5(CAST(v AS VARCHAR)), 1, 2) END AS part, sum(n) AS n
            FROM placed GROUP BY 1, 2, 3, 4, 5
        """)

    def _asked(self, sql: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self._warehouse.query(sql, self._params, dialect=self.written_for).to_pylist()
        return rows

    def _is_fraction(self, name: str) -> bool:
        return is_number(self._types[name]) and not is_integer(self._types[name])

    def _binned(self, row: dict[str, Any]) -> dict[str, Any]:
        """A row with its histogram as lists `keys` and `counts`."""
        return row

    def _keyed_unsigned(self, names: Sequence[str], centres: Mapping[str, float]) -> str:
        """As `_keyed`, by the name `k`, where the key of -0 is that of 0."""
        return self._keyed(names, centres)

    @abstractmethod
    def _quartile(self, k: int) -> str:
        """The k-th quartile of `x`, an aggregate."""

    @abstractmethod
    def _values(self, names: Sequence[str]) -> str:
        """A row a value, by the name `s`: `i` the column's place, `x` a double, of times the seconds since 1970."""

    @abstractmethod
    def _keyed(self, names: Sequence[str], centres: Mapping[str, float]) -> str:
        """As `_values`, by the name `k`, with the column's centre `c` and the `key`: -1 none, -2 and -3 infinite."""

    @abstractmethod
    def _beyond(self, asked: Points) -> str:
        """The statement that counts: `n` finite values of column `i` are beyond `k` of its points."""

    @abstractmethod
    def _texts(self, names: Sequence[str]) -> str:
        """A row a value: `i` the column's place, `v` the text that names its category; NaN is none."""
