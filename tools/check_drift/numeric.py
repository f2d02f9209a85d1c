"""Numeric columns as mergeable histograms with relative precision and no bin edges to choose.

A finite value x becomes the float32 of (x - centre); the upper 19 bits of its pattern (sign, exponent, ten bits of
mantissa) are its key. Keys ordered by value are called ranks: x <= y implies rank(x) <= rank(y), because subtraction,
rounding to float32 and truncation are all monotone. Counting keys therefore gives a histogram whose bins are at most
1/1024 of a value's distance from the centre wide, at about 3 ns a value. Integers within 2048 of the centre have a bin
of their own.

Where a column has many rows far from the centre and close together, one bin would hold them all. A baseline therefore
cuts each bin that holds more than `LEAF` of its rows at exact values, and what is compared with it is counted there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.check_drift.counting import FLOAT32_MAX, SHIFT, SIGN, Floats, Ints, count, select, sum_by_rank

_SMALLEST = 0x00800000
_BLOCK = 1 << 16

BIN_WIDTH = 1 / 1024
"""Width of a histogram bin, at most, as a share of its distance from the centre."""

OWN_BIN = 2048.0
"""Integers up to this far from the centre have a histogram bin of their own."""

LEAF = 1 / 200
"""Share of a baseline's finite values that a bin of several values may hold uncut."""

QUANTILES = tuple(i / 10 for i in range(1, 10))


@dataclass(frozen=True)
class Deciles:
    """Edges; the share of each edge's histogram bin that is <= the edge; that bin's rank; number of values <= each.

    `of_one_value`: whether an edge's bin can hold nothing else; `of_one_whole`: the same where all are whole numbers.
    """

    edges: Floats
    shares: Floats
    ranks: Ints
    up_to: Floats
    of_one_value: NDArray[np.bool_]
    of_one_whole: NDArray[np.bool_]

    @classmethod
    def around(cls, centre: float, edges: Floats, shares: Floats, ranks: Ints, up_to: Floats) -> Deciles:
        """Those of a histogram of this centre; an edge just below the centre is in the centre's bin."""
        alone = (edges == centre) | (edges == np.nextafter(centre, -np.inf))
        return cls(edges, shares, ranks, up_to, alone, alone | (np.abs(edges - centre) <= OWN_BIN))


@dataclass(frozen=True)
class NumericSummary:
    """What is kept of a numeric column.

    `ranks` (ascending) and `counts` are the histogram of the `finite` values around `centre`. `total` and `squares`
    are the sums of (x - centre) and its square. `integral`: all finite values are whole numbers.

    `edges` are the exact deciles (inverted CDF, duplicates merged; before them the float below the minimum where that
    is one) of a baseline, and `edge_shares` the share of each edge's histogram bin that is <= the edge; both are empty
    for what was added up or profiled to be compared, and deciles then fall on bin boundaries.

    `cuts` are values at which the finite values were counted exactly, `cut_counts` the number <= each: a baseline's
    within bins that hold much, and the baseline's `points` in what it mattered to count at them. Where summaries add up
    they last if both have the same.
    """

    centre: float
    ranks: Ints
    counts: Ints
    nulls: int
    pos_inf: int
    neg_inf: int
    total: float
    squares: float
    minimum: float
    maximum: float
    edges: Floats
    edge_shares: Floats
    integral: bool = False
    cuts: Floats = field(default_factory=lambda: _NONE)
    cut_counts: Floats = field(default_factory=lambda: _NONE)

    @cached_property
    def cumulative(self) -> Ints:
        """Number of finite values up to each rank's end."""
        return np.cumsum(self.counts)

    @cached_property
    def finite(self) -> int:
        """Number of finite values."""
        return int(self.cumulative[-1]) if len(self.counts) else 0

    @cached_property
    def deciles(self) -> Deciles:
        """The deciles of the finite values, none for no values."""
        if len(self.edges):
            ranks = rank_of_value(self.edges, self.centre)
            return Deciles.around(self.centre, self.edges, self.edge_shares, ranks, self.up_to(ranks, self.edge_shares))
        ends = np.concatenate([upper_values(self.ranks) + self.centre, self.cuts])
        counts = np.concatenate([self.cumulative, self.cut_counts])
        order = np.lexsort([ends, counts])
        at = np.unique(np.searchsorted(counts[order], [-(-i * self.finite // 10) for i in range(1, 10)]))
        at = order[at[at < len(order)]]
        ranks = np.concatenate([self.ranks, rank_of_value(self.cuts, self.centre)])[at]
        below, through = self.around(ranks)
        edges, shares, counts = ends[at], (counts[at] - below) / np.maximum(through - below, 1), counts[at]
        if len(ranks) and ranks[0] == self.ranks[0]:
            edges, shares = np.append(_below(self.minimum), edges), np.append(0.0, shares)
            ranks, counts = np.append(ranks[0], ranks), np.append(0.0, counts)
        return Deciles.around(self.centre, edges, shares, ranks, counts)

    @cached_property
    def point_counts(self) -> Floats:
        """Number of finite values <= each of `points`."""
        counts = np.concatenate([self.deciles.up_to if len(self.edges) else _NONE, self.cut_counts])
        return counts[np.unique(np.concatenate([self.edges, self.cuts]), return_index=True)[1]]

    @cached_property
    def points(self) -> Floats:
        """Where what is compared with this baseline may have to be counted: its deciles and its cuts."""
        return np.union1d(self.edges, self.cuts) if len(self.cuts) else self.edges

    def up_to(self, ranks: Ints, shares: Floats) -> Floats:
        """Number of finite values below each rank's bin and the share of those in it."""
        below, through = self.around(ranks)
        return np.asarray(below + shares * (through - below), dtype=np.float64)

    def between(self, up_to: Floats | Ints) -> Floats:
        """Number of values between the deciles up to which there are `up_to` finite ones; nulls last."""
        ends = np.empty(len(up_to) + 2)
        ends[0], ends[-1] = 0.0, self.finite + self.neg_inf + self.pos_inf
        ends[1:-1] = up_to + self.neg_inf
        counts = np.empty(len(ends))
        counts[:-1], counts[-1] = ends[1:] - ends[:-1], self.nulls
        return counts

    @cached_property
    def by_decile(self) -> Floats:
        """Number of values between its own deciles; nulls last."""
        return self.between(self.deciles.up_to)

    def within(self, ranks: Ints) -> Ints:
        """Number of values in each rank's bin."""
        below, through = self.around(ranks)
        return through - below

    def around(self, ranks: Ints) -> tuple[Ints, Ints]:
        """Number of finite values below each rank's bin, and up to its end."""
        if not self.finite:
            return np.zeros_like(ranks), np.zeros_like(ranks)
        places = self.ranks.searchsorted(np.concatenate([ranks, ranks + 1]))
        held = np.where(places > 0, self.cumulative[places - 1], 0)
        return held[: len(ranks)], held[len(ranks) :]

    @property
    def rows(self) -> int:
        """Number of values, nulls and infinities included."""
        return self.finite + self.nulls + self.pos_inf + self.neg_inf

    @property
    def mean(self) -> float:
        """Mean of the finite values, NaN for none."""
        return self.centre + self.total / self.finite if self.finite else float("nan")

    @property
    def std(self) -> float:
        """Population standard deviation of the finite values, NaN for none."""
        if not self.finite:
            return float("nan")
        if self.minimum == self.maximum:  # where rounding would leave something
            return 0.0
        mean = self.total / self.finite
        return float(np.sqrt(max(self.squares / self.finite - mean * mean, 0.0)))

    def quantile(self, q: float) -> float:
        """The q-quantile (inverted CDF) to within its histogram bin, NaN for no finite values."""
        if not self.finite:
            return float("nan")
        rank = int(self.ranks[self.cumulative.searchsorted(q * self.finite - 1e-9)])
        value = self.centre + upper_value(rank)
        if self.integral:
            value = float(np.floor(value))
        return min(max(value, self.minimum), self.maximum)

    def __add__(self, other: NumericSummary) -> NumericSummary:
        """Summary of both columns' values; exact where the centres agree, else to within a bin of `other`."""
        centre = self.centre if self.finite else other.centre
        other = recentred(other, centre)
        ranks, counts = sum_by_rank(
            np.concatenate([self.ranks, other.ranks]), np.concatenate([self.counts, other.counts])
        )
        alike = np.array_equal(self.cuts, other.cuts)
        return NumericSummary(
            centre=centre,
            ranks=ranks,
            counts=counts,
            nulls=self.nulls + other.nulls,
            pos_inf=self.pos_inf + other.pos_inf,
            neg_inf=self.neg_inf + other.neg_inf,
            total=self.total + other.total,
            squares=self.squares + other.squares,
            minimum=float(np.fmin(self.minimum, other.minimum)),
            maximum=float(np.fmax(self.maximum, other.maximum)),
            edges=_NONE,
            edge_shares=_NONE,
            integral=self.integral and other.integral,
            cuts=self.cuts if alike else _NONE,
            cut_counts=self.cut_counts + other.cut_counts if alike else _NONE,
        )


_NONE: Floats = np.empty(0)


def summarise(values: NDArray[Any], *, centre: float | None = None, exact_edges: bool = True) -> NumericSummary:
    """Summary of an array of numbers, shape (rows,); NaN is null. `centre`: the baseline's, to be compared with it."""
    if values.dtype not in (np.float64, np.float32):
        values = values.astype(np.float64)
    if centre is None:
        centre = choose_centre(values)
    ranks, counts, tally = count(values, centre)
    known = len(ranks) > 0
    found = NumericSummary(
        centre, ranks, counts, tally.nulls, tally.pos_inf, tally.neg_inf, tally.total, tally.squares,
        tally.minimum if known else np.nan, tally.maximum if known else np.nan, _NONE, _NONE, tally.integral,
    )  # fmt: skip
    return with_deciles(found, [values]) if exact_edges else found


def with_deciles(summary: NumericSummary, pieces: Iterable[NDArray[Any]]) -> NumericSummary:
    """The summary with exact deciles and cuts, from another look at its values, which may come in pieces.

    Only the values that share a histogram bin with a decile, or with many others, are kept and sorted.
    """
    if not len(summary.ranks):
        return summary
    at, wanted = places(summary)
    bins = np.unique(at)
    near, up_to = _ascending(select(piece, summary.centre, summary.ranks[bins]) for piece in pieces)
    # Bins hold disjoint, ordered values, so those of one bin are a contiguous stretch of `near`.
    ahead = (np.cumsum(summary.counts[bins]) - summary.counts[bins])[np.searchsorted(bins, at)]
    found = np.searchsorted(up_to, ahead + wanted)
    return with_places(summary, near[found], up_to[found] - ahead, np.append(0, up_to)[found] - ahead)


def places(summary: NumericSummary) -> tuple[Ints, Ints]:
    """The order statistics a baseline needs: the histogram bin of each, and its place among the values there, from 1.

    The nine deciles first: ceil(q n) without the noise of q n, the inverted CDF's. Then, of each bin that holds more
    than `LEAF` and may hold several values, the first, the last, and those that cut it into parts of no more.
    """
    deciles = np.array([-(-i * summary.finite // 10) for i in range(1, 10)])
    bins = np.searchsorted(summary.cumulative, deciles)
    at, wanted = [bins], [deciles - (summary.cumulative - summary.counts)[bins]]
    most = max(int(summary.finite * LEAF), 1)
    for i in np.flatnonzero((summary.counts > most) & ~_of_one_value(summary)).tolist():
        inside = int(summary.counts[i])
        parts = -(-inside // most)
        wanted.append(np.maximum(-(-np.arange(parts + 1) * inside // parts), 1))
        at.append(np.full(parts + 1, i))
    return np.concatenate(at), np.concatenate(wanted)


def with_places(summary: NumericSummary, values: Floats, up_to: Ints, below: Ints) -> NumericSummary:
    """The summary with the values found at its `places`; of their bins `up_to` values are <= each, `below` are <."""
    at, _ = places(summary)
    edges, first = np.unique(values[:9], return_index=True)
    edge_shares = up_to[first] / summary.counts[at[first]]
    if edges[0] == summary.minimum:
        edges, edge_shares = np.append(_below(summary.minimum), edges), np.append(0.0, edge_shares)
    before = (summary.cumulative - summary.counts)[at]
    cuts = np.concatenate([values[9:], np.nextafter(values[9:], -np.inf)])  # a value of many rows has a part of its own
    counts = np.concatenate([(before + up_to)[9:], (before + below)[9:]])
    cuts, first = np.unique(cuts, return_index=True)
    return replace(
        summary, edges=edges, edge_shares=edge_shares, cuts=cuts, cut_counts=counts[first].astype(np.float64)
    )


def _below(value: float) -> float:
    """The float below a value. Where a tenth of the values share the least one, what is less has a bin of its own."""
    return float(np.nextafter(value, -np.inf))


def _of_one_value(summary: NumericSummary) -> NDArray[np.bool_]:
    """Of each histogram bin whether it can hold one value only: that of the centre's, and of small whole numbers."""
    reach = OWN_BIN if summary.integral else 0.0
    first, last = rank_of_value(np.array([-reach, reach]), 0.0)
    held: NDArray[np.bool_] = (summary.ranks >= first) & (summary.ranks <= last)
    return held


def _ascending(pieces: Iterable[Floats]) -> tuple[Floats, Ints]:
    """Distinct values, and how many there are up to each: many equal ones take no memory."""
    parts = [np.unique(piece, return_counts=True) for piece in pieces]
    values, where = np.unique(np.concatenate([each[0] for each in parts]), return_inverse=True)
    counts = np.bincount(where, weights=np.concatenate([each[1] for each in parts]), minlength=len(values))
    return values, np.cumsum(counts).astype(np.int64)


def counted_at(summary: NumericSummary, points: Floats, pieces: Iterable[NDArray[Any]]) -> NumericSummary:
    """The summary with exact counts at a baseline's `points`, from another look at its values, in pieces."""
    counts = np.full(len(points), -float(summary.neg_inf))
    for piece in pieces:
        for start in range(0, len(piece), _BLOCK):
            counts += _up_to(piece[start : start + _BLOCK], points)
    return replace(summary, cuts=points, cut_counts=counts)


def _up_to(block: NDArray[Any], points: Floats) -> Ints:
    """Number of values <= each point."""
    if len(points) <= len(QUANTILES):  # comparing is quicker than a search while it is nine times
        return np.array([np.count_nonzero(block <= point) for point in points])
    places = np.bincount(np.searchsorted(points, block), minlength=len(points) + 1)
    return np.cumsum(places[: len(points)])


def choose_centre(values: NDArray[Any]) -> float:
    """0 where it lies within two interquartile ranges of the median of a sample, else that median.

    A far-off centre would waste the relative precision: around 1000 ± 1, bins around 0 would be one unit wide.
    """
    sample = values[:: max(1, len(values) // 2048)]
    sample = sample[np.isfinite(sample)]
    if not len(sample):
        return 0.0
    low, middle, high = np.quantile(sample, [0.25, 0.5, 0.75], method="inverted_cdf")
    return centre_of(low, middle, high)


def exact_centre(values: NDArray[Any]) -> float:
    """The centre by the quartiles of all values, whatever their order: the same on every engine."""
    present = values[np.isfinite(values)]
    if not len(present):
        return 0.0
    places = [-(-len(present) * i // 4) - 1 for i in (1, 2, 3)]
    low, middle, high = np.partition(present, places)[places]
    return centre_of(float(low), float(middle), float(high))


def centre_of(low: float, middle: float, high: float) -> float:
    """The centre for a column with these quartiles."""
    if abs(middle) <= 2 * (high - low):
        return 0.0
    return float(np.float32(np.clip(middle, -FLOAT32_MAX, FLOAT32_MAX)))


def ranks_of(raw: Ints) -> Ints:
    """Keys in the order of their values: negative values (sign bit set) reversed, below the others."""
    ranks = np.where(raw >= SIGN, 2 * SIGN - 1 - raw, raw + SIGN)
    return np.where(raw == SIGN, SIGN, ranks)


def lower_values(ranks: Ints) -> Floats:
    """Smallest float32 of each rank's bin, relative to the centre; closer than 1e-38 to it counts as on it."""
    negative = ranks < SIGN
    magnitude = np.where(negative, SIGN - 1 - ranks, ranks - SIGN)
    bits = np.where(negative, ((magnitude + 1) << SHIFT) - 1, magnitude << SHIFT)
    bits = np.where(bits < _SMALLEST, 0, bits)
    return np.where(negative, -1.0, 1.0) * bits.astype(np.uint32).view(np.float32).astype(np.float64)


def upper_values(ranks: Ints) -> Floats:
    """Largest float32 of each rank's bin, relative to the centre."""
    return -lower_values(2 * SIGN - 1 - ranks)


def upper_value(rank: int) -> float:
    """Largest float32 of one rank's bin, relative to the centre."""
    bits = ((rank - SIGN + 1) << SHIFT) - 1 if rank >= SIGN else (SIGN - 1 - rank) << SHIFT
    value = float(struct.unpack("f", struct.pack("I", bits))[0]) if bits >= _SMALLEST else 0.0
    return value if rank >= SIGN else -value


def middle_values(ranks: Ints) -> Floats:
    """Midpoint of each rank's bin, relative to the centre."""
    places = (ranks - SIGN).astype(np.int32)
    bits = (places ^ (places >> 31)) << SHIFT
    bits |= 1 << (SHIFT - 1)
    bits |= places & np.int32(-0x80000000)
    middles = bits.view(np.float32).astype(np.float64)
    middles[bits & 0x7FFFFFFF < _SMALLEST] = 0.0
    return middles


def rank_of_value(values: Floats, centre: float) -> Ints:
    """Rank of finite values around a centre."""
    with np.errstate(over="ignore"):
        shifted = np.clip(values - centre, -FLOAT32_MAX, FLOAT32_MAX).astype(np.float32)
    return ranks_of((shifted.view(np.uint32) >> SHIFT).astype(np.int64))


def recentred(summary: NumericSummary, centre: float) -> NumericSummary:
    """The same summary around another centre: each bin's count moves to the bin that holds its midpoint."""
    if summary.centre == centre:
        return summary
    moved = rank_of_value(middle_values(summary.ranks) + summary.centre, centre)
    ranks, counts = sum_by_rank(moved, summary.counts)
    shift = summary.centre - centre
    total = summary.total + shift * summary.finite
    squares = summary.squares + 2 * shift * summary.total + shift * shift * summary.finite
    return NumericSummary(
        centre, ranks, counts, summary.nulls, summary.pos_inf, summary.neg_inf,
        total, squares, summary.minimum, summary.maximum, _NONE, _NONE, summary.integral and shift == round(shift),
    )  # fmt: skip
