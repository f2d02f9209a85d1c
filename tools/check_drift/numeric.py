"""Numeric columns as mergeable histograms with relative precision and no bin edges to choose.

A finite value x becomes the float32 of (x - centre); the upper 19 bits of its pattern (sign, exponent, ten bits of
mantissa) are its key. Keys ordered by value are called ranks: x <= y implies rank(x) <= rank(y), because subtraction,
rounding to float32 and truncation are all monotone. Counting keys therefore gives a histogram whose bins are at most
1/1024 of a value's distance from the centre wide, at about 3 ns a value. Integers within 2048 of the centre have a bin
of their own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_SHIFT = 13
_SIGN = np.int64(1 << (31 - _SHIFT))
_INF = 0x7F800000 >> _SHIFT
_SMALLEST = 0x00800000
_BLOCK = 16384
_DENSE = 32768
_FLOAT32_MAX = float(np.finfo(np.float32).max)

QUANTILES = tuple(i / 10 for i in range(1, 10))


@dataclass(frozen=True)
class NumericSummary:
    """What is kept of a numeric column.

    `ranks` (ascending) and `counts` are the histogram of the `finite` values around `centre`. `total` and `squares`
    are the sums of (x - centre) and its square. `edges` are the exact deciles (inverted CDF, duplicates merged) where
    the column was profiled in one piece, and `edge_shares` the share of each edge's histogram bin that is <= the edge;
    both are empty otherwise, and deciles then fall on bin boundaries. `integral`: all finite values are whole numbers.
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

    @property
    def finite(self) -> int:
        """Number of finite values."""
        return int(self.counts.sum())

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
        mean = self.total / self.finite
        return float(np.sqrt(max(self.squares / self.finite - mean * mean, 0.0)))

    def quantile(self, q: float) -> float:
        """The q-quantile (inverted CDF) to within its histogram bin, NaN for no finite values."""
        if not self.finite:
            return float("nan")
        at = int(np.searchsorted(np.cumsum(self.counts), q * self.finite - 1e-9))
        value = self.centre + float(upper_values(self.ranks[at : at + 1])[0])
        return min(max(value, self.minimum), self.maximum)

    def __add__(self, other: NumericSummary) -> NumericSummary:
        """Summary of both columns' values; exact where the centres agree, else to within a bin of `other`."""
        other = recentred(other, self.centre)
        ranks, counts = _sum_by_rank(
            np.concatenate([self.ranks, other.ranks]), np.concatenate([self.counts, other.counts])
        )
        return NumericSummary(
            centre=self.centre,
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
        )


_NONE: Floats = np.empty(0)


def summarise(values: NDArray[Any], *, centre: float | None = None, exact_edges: bool = True) -> NumericSummary:
    """Summary of an array of numbers, shape (rows,); NaN is null. `centre`: the baseline's, to be compared with it."""
    if values.dtype not in (np.float64, np.float32):
        values = values.astype(np.float64)
    if centre is None:
        centre = choose_centre(values)
    keys, total, squares, minimum, maximum = _keys(values, centre)
    integral = is_integral(values)
    raw, counts = _count(keys)
    magnitude = raw & (_SIGN - 1)
    nulls = int(counts[magnitude > _INF].sum())
    infinite = magnitude == _INF
    pos_inf, neg_inf = int(counts[infinite & (raw < _SIGN)].sum()), int(counts[infinite & (raw >= _SIGN)].sum())
    held = magnitude < _INF
    ranks, counts = _sum_by_rank(ranks_of(raw[held]), counts[held])
    edges = edge_shares = _NONE
    if exact_edges and len(ranks):
        edges, edge_shares = _exact_edges(values, keys, ranks, counts)
    return NumericSummary(
        centre, ranks, counts, nulls, pos_inf, neg_inf, total, squares, minimum, maximum, edges, edge_shares, integral
    )


def is_integral(values: NDArray[Any]) -> bool:
    """True where all finite values are whole numbers; stops at the first block that has another."""
    steps = [slice(0, 256), *(slice(i, i + _BLOCK) for i in range(256, len(values), _BLOCK))]
    for step in steps:
        block = values[step]
        with np.errstate(invalid="ignore"):
            differs = block != np.rint(block)
        if differs.any() and bool((differs & np.isfinite(block)).any()):
            return False
    return True


def choose_centre(values: NDArray[Any]) -> float:
    """0 where it lies within two interquartile ranges of the median of a sample, else that median.

    A far-off centre would waste the relative precision: around 1000 ± 1, bins around 0 would be one unit wide.
    """
    sample = values[:: max(1, len(values) // 2048)]
    sample = sample[np.isfinite(sample)]
    if not len(sample):
        return 0.0
    low, middle, high = np.quantile(sample, [0.25, 0.5, 0.75], method="inverted_cdf")
    if abs(middle) <= 2 * (high - low):
        return 0.0
    return float(np.float32(np.clip(middle, -_FLOAT32_MAX, _FLOAT32_MAX)))


def ranks_of(raw: Ints) -> Ints:
    """Keys in the order of their values: negative values (sign bit set) reversed, below the others."""
    ranks = np.where(raw >= _SIGN, 2 * _SIGN - 1 - raw, raw + _SIGN)
    return np.where(raw == _SIGN, _SIGN, ranks)


def lower_values(ranks: Ints) -> Floats:
    """Smallest float32 of each rank's bin, relative to the centre; closer than 1e-38 to it counts as on it."""
    negative = ranks < _SIGN
    magnitude = np.where(negative, _SIGN - 1 - ranks, ranks - _SIGN)
    bits = np.where(negative, ((magnitude + 1) << _SHIFT) - 1, magnitude << _SHIFT)
    bits = np.where(bits < _SMALLEST, 0, bits)
    return np.where(negative, -1.0, 1.0) * bits.astype(np.uint32).view(np.float32).astype(np.float64)


def upper_values(ranks: Ints) -> Floats:
    """Largest float32 of each rank's bin, relative to the centre."""
    return -lower_values(2 * _SIGN - 1 - ranks)


def middle_values(ranks: Ints) -> Floats:
    """Midpoint of each rank's bin, relative to the centre."""
    return (lower_values(ranks) + upper_values(ranks)) / 2


def rank_of_value(values: Floats, centre: float) -> Ints:
    """Rank of finite values around a centre."""
    with np.errstate(over="ignore"):
        shifted = np.clip(values - centre, -_FLOAT32_MAX, _FLOAT32_MAX).astype(np.float32)
    return ranks_of((shifted.view(np.uint32) >> _SHIFT).astype(np.int64))


def recentred(summary: NumericSummary, centre: float) -> NumericSummary:
    """The same summary around another centre: each bin's count moves to the bin that holds its midpoint."""
    if summary.centre == centre:
        return summary
    moved = rank_of_value(middle_values(summary.ranks) + summary.centre, centre)
    ranks, counts = _sum_by_rank(moved, summary.counts)
    shift = summary.centre - centre
    total = summary.total + shift * summary.finite
    squares = summary.squares + 2 * shift * summary.total + shift * shift * summary.finite
    return NumericSummary(
        centre, ranks, counts, summary.nulls, summary.pos_inf, summary.neg_inf,
        total, squares, summary.minimum, summary.maximum, _NONE, _NONE, summary.integral and shift == round(shift),
    )  # fmt: skip


def _keys(values: NDArray[Any], centre: float) -> tuple[Ints, float, float, float, float]:
    """Keys in row order, with the sums of the centred values and their squares, minimum and maximum (finite only)."""
    keys = np.empty(len(values), dtype=np.int64)
    buffer = np.empty(min(_BLOCK, len(values)), dtype=np.float32)
    total = squares = 0.0
    minimum, maximum = np.inf, -np.inf
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        centred = buffer[: len(block)]
        with np.errstate(over="ignore", invalid="ignore"):
            np.subtract(block, centre, out=centred, dtype=np.float64, casting="unsafe")
            square = float(np.dot(centred, centred))
        if np.isfinite(square):
            total += float(centred.sum(dtype=np.float64))
            squares += square
            minimum, maximum = min(minimum, block.min()), max(maximum, block.max())
        else:
            kept = block[np.isfinite(block)].astype(np.float64)
            if len(kept):
                # A finite value beyond the range of float32 must not be counted as infinite.
                finite = np.isfinite(block)
                centred[finite] = np.clip(kept - centre, -_FLOAT32_MAX, _FLOAT32_MAX)
                with np.errstate(over="ignore"):
                    total += float((kept - centre).sum())
                    squares += float(((kept - centre) ** 2).sum())
                minimum, maximum = min(minimum, kept.min()), max(maximum, kept.max())
        np.right_shift(centred.view(np.uint32), _SHIFT, out=keys[start : start + len(block)], casting="unsafe")
    if minimum > maximum:
        minimum = maximum = np.nan
    return keys, total, squares, float(minimum), float(maximum)


def _count(keys: Ints) -> tuple[Ints, Ints]:
    """Distinct keys and their counts: by sorting for few rows, by a dense table for many."""
    if len(keys) < _DENSE:
        raw, counts = np.unique(keys, return_counts=True)
        return raw, counts.astype(np.int64)
    table = np.bincount(keys)
    raw = np.flatnonzero(table)
    return raw, table[raw]


def _sum_by_rank(ranks: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Ascending distinct ranks with summed counts."""
    if not len(ranks):
        return ranks, counts
    order = np.argsort(ranks, kind="stable")
    ranks, counts = ranks[order], counts[order]
    starts = np.flatnonzero(np.concatenate([[True], ranks[1:] != ranks[:-1]]))
    return ranks[starts], np.add.reduceat(counts, starts)


def _exact_edges(values: NDArray[Any], keys: Ints, ranks: Ints, counts: Ints) -> tuple[Floats, Floats]:
    """Exact deciles: only the values that share a histogram bin with a decile are looked at again."""
    cumulative = np.cumsum(counts)
    finite = int(cumulative[-1])
    # ceil(q n) without the noise of q n: the inverted CDF's order statistic, counted from 1.
    wanted = [-(-i * finite // 10) for i in range(1, 10)]
    at = np.searchsorted(cumulative, wanted)
    table = np.zeros(2 * int(_SIGN), dtype=bool)
    bins = ranks[np.unique(at)]
    table[np.where(bins < _SIGN, 2 * _SIGN - 1 - bins, bins - _SIGN)] = True
    if np.any(bins == _SIGN):
        table[_SIGN] = True
    chosen = table[keys]
    near = np.sort(values[chosen].astype(np.float64))
    # Bins hold disjoint, ordered values, so those of one bin are a contiguous stretch of `near`.
    ends = np.cumsum(counts[np.unique(at)])
    starts = dict(zip(np.unique(at).tolist(), (ends - counts[np.unique(at)]).tolist(), strict=True))
    edges: list[float] = []
    shares: list[float] = []
    for position, bin_index in zip(wanted, at.tolist(), strict=True):
        start, inside = starts[bin_index], int(counts[bin_index])
        stretch = near[start : start + inside]
        edge = float(stretch[position - int(cumulative[bin_index]) + inside - 1])
        if not edges or edge > edges[-1]:
            edges.append(edge)
            shares.append(float(np.searchsorted(stretch, edge, side="right")) / inside)
    return np.array(edges), np.array(shares)
