"""Counting the keys of an array of numbers: the pass over the data that a numeric summary costs.

Works in blocks that stay in the processor's cache; extremes, signs and what is not finite are read off the bit
patterns, so that each value is fetched from memory once. Buffers are kept for each thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHIFT = 13
SIGN = 1 << (31 - SHIFT)
"""Rank of zero: keys of negative values are counted down from it, the others up."""

FLOAT32_MAX = float(np.finfo(np.float32).max)

_INF = 0x7F800000 >> SHIFT
_BLOCK = 1 << 17  # stays in the second cache; shorter ones hand the interpreter's lock over too often between threads
_ROWS = 1 << 20


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.keys: Ints = np.empty(0, dtype=np.int64)
        self.double = np.empty(_BLOCK, dtype=np.float64)
        self.single = np.empty(_BLOCK, dtype=np.float32)

    def keys_for(self, rows: int) -> Ints:
        if len(self.keys) < rows:
            self.keys = np.empty(rows, dtype=np.int64)
        return self.keys[:rows]


_buffers = _Buffers()


@dataclass
class Extent:
    """The centred single-precision values met so far: lowest and highest finite one, and whether any was not finite."""

    low: float = np.inf
    high: float = -np.inf
    odd: bool = False

    def widen(self, low: float, high: float) -> None:
        """Takes in the extremes of a block."""
        self.low, self.high = min(self.low, low), max(self.high, high)

    def stretches(self) -> Iterator[slice]:
        """The keys that can occur: of negative values, then of the others. -0.0 is among the negative."""
        if self.odd:
            yield from (slice(SIGN, 2 * SIGN), slice(0, SIGN))
            return
        if self.low <= 0:
            yield slice(_key(self.high) if self.high < 0 else SIGN, max(_key(-abs(self.low)), SIGN) + 1)
        if self.high >= 0:
            yield slice(_key(self.low) if self.low > 0 else 0, _key(self.high) + 1)


def _key(value: float) -> int:
    return int(np.float32(value).view(np.uint32)) >> SHIFT


@dataclass
class Tally:
    """Sums of the centred finite values and of their squares, and the extremes (infinite where there are none)."""

    total: float = 0.0
    squares: float = 0.0
    minimum: float = np.inf
    maximum: float = -np.inf

    def add(self, centred: Floats, minimum: float, maximum: float) -> None:
        """Takes in finite values and the extremes of what they were before they were centred."""
        with np.errstate(over="ignore"):
            self.total += float(np.add.reduce(centred))
            self.squares += float(np.einsum("i,i->", centred, centred))  # a dot product would start BLAS's threads
        self.minimum, self.maximum = min(self.minimum, minimum), max(self.maximum, maximum)


def count(values: NDArray[Any], centre: float) -> tuple[Ints, Ints, tuple[int, int, int], Tally]:
    """Ascending ranks that occur, their counts, the numbers of (nulls, +inf, -inf), and the tally."""
    tally = Tally()
    found = [_count_piece(values[at : at + _ROWS], centre, tally) for at in range(0, max(len(values), 1), _ROWS)]
    odd = (sum(each[2][0] for each in found), sum(each[2][1] for each in found), sum(each[2][2] for each in found))
    if len(found) == 1:
        return found[0][0], found[0][1], odd, tally
    ranks, counts = sum_by_rank(
        np.concatenate([each[0] for each in found]), np.concatenate([each[1] for each in found])
    )
    return ranks, counts, odd, tally


def select(values: NDArray[Any], centre: float, ranks: Ints) -> Floats:
    """The values whose rank is among `ranks`."""
    wanted = np.zeros(2 * SIGN, dtype=bool)
    wanted[np.where(ranks < SIGN, 2 * SIGN - 1 - ranks, ranks - SIGN)] = True
    wanted[SIGN] = wanted[0]  # -0.0 is zero
    chosen = []
    for at in range(0, len(values), _ROWS):
        piece = values[at : at + _ROWS]
        keys = _buffers.keys_for(len(piece))
        _fill(keys, piece, centre, None)
        chosen.append(piece[wanted[keys]].astype(np.float64))
    return np.concatenate(chosen) if chosen else np.empty(0)


def sum_by_rank(ranks: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Ascending distinct ranks with summed counts."""
    if not len(ranks):
        return ranks, counts
    order = np.argsort(ranks, kind="stable")
    ranks, counts = ranks[order], counts[order]
    starts = np.flatnonzero(np.concatenate([[True], ranks[1:] != ranks[:-1]]))
    return ranks[starts], np.add.reduceat(counts, starts)


def _count_piece(values: NDArray[Any], centre: float, tally: Tally) -> tuple[Ints, Ints, tuple[int, int, int]]:
    keys = _buffers.keys_for(len(values))
    extent = _fill(keys, values, centre, tally)
    table = np.bincount(keys)
    at: list[Ints] = []
    amounts: list[Ints] = []
    odd = [0, 0, 0]
    for stretch in extent.stretches():
        part = table[stretch]
        negative = stretch.start >= SIGN
        base = stretch.start - (SIGN if negative else 0)
        held = part[: max(_INF - base, 0)]
        beyond = part[max(_INF - base, 0) :]
        if len(beyond):
            infinite = int(beyond[0]) if base <= _INF else 0
            odd[2 if negative else 1] += infinite
            odd[0] += int(beyond.sum()) - infinite
        magnitudes = np.flatnonzero(held != 0)
        counts = held[magnitudes]
        if negative:
            at.append(SIGN - 1 - base - magnitudes[::-1])
            amounts.append(counts[::-1])
            if held[:1].any() and not base:
                at[-1][-1] = SIGN  # -0.0 is zero
        else:
            at.append(SIGN + base + magnitudes)
            amounts.append(counts)
    ranks = np.concatenate(at) if at else np.empty(0, dtype=np.int64)
    counts = np.concatenate(amounts) if amounts else np.empty(0, dtype=np.int64)
    if (ranks[1:] == ranks[:-1]).any():
        ranks, counts = sum_by_rank(ranks, counts)
    return ranks, counts, (odd[0], odd[1], odd[2])


def _fill(keys: Ints, values: NDArray[Any], centre: float, tally: Tally | None) -> Extent:
    """Writes the keys of `values` in row order."""
    extent = Extent()
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        single = _buffers.single[: len(block)]
        with np.errstate(over="ignore", invalid="ignore"):
            if centre or block.dtype != np.float64:
                double = np.subtract(block, centre, out=_buffers.double[: len(block)], dtype=np.float64)
            else:
                double = block
            np.copyto(single, double, casting="same_kind")
        low, high = float(block.min()), float(block.max())
        if low - centre >= -FLOAT32_MAX and high - centre <= FLOAT32_MAX:  # neither holds where there is a NaN
            extent.widen(low - centre, high - centre)
            if tally is not None:
                tally.add(double, low, high)
        else:
            _keep_finite(single, double)
            extent.odd = True
            kept = np.isfinite(double)
            if tally is not None and kept.any():
                tally.add(double[kept], float(block[kept].min()), float(block[kept].max()))
        np.right_shift(single.view(np.uint32), SHIFT, out=keys[start : start + len(block)], casting="unsafe")
    return extent


def _keep_finite(single: NDArray[np.float32], double: Floats) -> None:
    """A finite value beyond the range of single precision must not be counted as infinite."""
    beyond = np.isinf(single) & np.isfinite(double)
    single[beyond] = np.copysign(np.float32(FLOAT32_MAX), single[beyond])
