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
_NEGATIVE = 0x80000000
_BLOCK = 8192  # stays in the cache, and below the length from which OpenBLAS spreads a dot product over threads
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
    """Bit patterns of the centred single-precision values met so far, lowest and highest read as both kinds of int."""

    low: int = 0xFFFFFFFF
    high: int = 0
    signed_low: int = 0x7FFFFFFF
    signed_high: int = -0x80000000

    def widen(self, bits: NDArray[np.uint32]) -> bool:
        """Takes in a block; whether all of it is finite."""
        signed = bits.view(np.int32)
        low, high = int(bits.min()), int(bits.max())
        signed_low, signed_high = int(signed.min()), int(signed.max())
        self.low, self.high = min(self.low, low), max(self.high, high)
        self.signed_low, self.signed_high = min(self.signed_low, signed_low), max(self.signed_high, signed_high)
        return signed_high < 0x7F800000 and high < 0xFF800000

    def stretches(self) -> Iterator[slice]:
        """The keys that can occur: of negative values, then of the others."""
        if self.high >= _NEGATIVE:
            yield slice((self.signed_low & 0xFFFFFFFF) >> SHIFT, (self.high >> SHIFT) + 1)
        if self.low < _NEGATIVE:
            yield slice(self.low >> SHIFT, (self.signed_high >> SHIFT) + 1)


@dataclass
class Tally:
    """Sums of the centred finite values and of their squares, and the extremes (infinite where there are none)."""

    total: float = 0.0
    squares: float = 0.0
    minimum: float = np.inf
    maximum: float = -np.inf


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
        bits = single.view(np.uint32)
        if not extent.widen(bits):
            _keep_finite(single, double)
            extent.widen(bits)
            if tally is not None:
                kept = np.isfinite(double)
                _add(tally, double[kept], block[kept])
        elif tally is not None:
            _add(tally, double, block)
        np.right_shift(bits, SHIFT, out=keys[start : start + len(block)], casting="unsafe")
    return extent


def _keep_finite(single: NDArray[np.float32], double: Floats) -> None:
    """A finite value beyond the range of single precision must not be counted as infinite."""
    beyond = np.isinf(single) & np.isfinite(double)
    single[beyond] = np.copysign(np.float32(FLOAT32_MAX), single[beyond])


def _add(tally: Tally, centred: Floats, values: NDArray[Any]) -> None:
    if not len(values):
        return
    with np.errstate(over="ignore"):
        tally.total += float(np.add.reduce(centred))
        tally.squares += float(np.dot(centred, centred))
    tally.minimum = min(tally.minimum, float(values.min()))
    tally.maximum = max(tally.maximum, float(values.max()))
