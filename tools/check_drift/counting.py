"""Counting the keys of an array of numbers, the pass over the data that a numeric summary costs.

Compiled (`_compiled.c`) where the installation had a C compiler; else by NumPy, in blocks that stay in the processor's
cache, with the same counts. Buffers are kept: a short column is counted sooner than new memory is had.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

try:
    from tools.check_drift import _compiled
except ImportError:
    _compiled = None  # type: ignore[assignment]

compiled = _compiled
"""The compiled loops, None where there are none."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHIFT = 13
SIGN = 1 << (31 - SHIFT)
"""Rank of zero: keys of negative values are counted down from it, the others up."""

FLOAT32_MAX = float(np.finfo(np.float32).max)

_BLOCK = 1 << 18  # stays in the second cache; shorter ones hand the interpreter's lock over too often between threads
_ROWS = 1 << 30  # what a counter holds
_ONE = np.int32(1)


class _Buffers(threading.local):
    def __init__(self) -> None:
        self.keys = np.empty(_BLOCK, dtype=np.int64)
        self.double = np.empty(_BLOCK, dtype=np.float64)
        self.single = np.empty(_BLOCK, dtype=np.float32)


_buffers = _Buffers()


class _Table:
    def __init__(self) -> None:
        self.held = np.zeros(2 * SIGN, dtype=np.int32)  # of no count between two uses
        self.ranks = np.empty(2 * SIGN, dtype=np.int64)
        self.counts = np.empty(2 * SIGN, dtype=np.int64)


_free: deque[_Table] = deque()
"""Tables that no thread counts into; threads come and go."""


@contextmanager
def _table() -> Iterator[_Table]:
    try:
        table = _free.pop()
    except IndexError:
        table = _Table()
    yield table
    _free.append(table)  # not after an error, Ctrl-C too: it may hold counts


@dataclass
class Tally:
    """What a column holds besides its histogram: how many nulls and infinities, and of the finite values the extremes
    (infinite where there are none), the sums of them, centred, and of their squares, and whether all are whole numbers.
    """

    nulls: int = 0
    pos_inf: int = 0
    neg_inf: int = 0
    total: float = 0.0
    squares: float = 0.0
    minimum: float = np.inf
    maximum: float = -np.inf
    integral: bool = True

    def finite(self, block: NDArray[Any]) -> NDArray[Any]:
        """The finite values of a block; the others are counted."""
        held: NDArray[Any] = block[np.isfinite(block)]
        above, below = int(np.count_nonzero(block == np.inf)), int(np.count_nonzero(block == -np.inf))
        self.pos_inf += above
        self.neg_inf += below
        self.nulls += len(block) - len(held) - above - below
        return held

    def add(self, centred: Floats, minimum: float, maximum: float) -> None:
        """Takes in finite values and the extremes of what they were before they were centred."""
        with np.errstate(over="ignore"):
            self.total += float(np.add.reduce(centred))
            self.squares += float(np.einsum("i,i->", centred, centred))  # a dot product would start BLAS's threads
        self.minimum, self.maximum = min(self.minimum, minimum), max(self.maximum, maximum)

    def __iadd__(self, other: Tally) -> Tally:
        """Takes in the tally of further values around the same centre."""
        self.total, self.squares = self.total + other.total, self.squares + other.squares
        self.minimum, self.maximum = min(self.minimum, other.minimum), max(self.maximum, other.maximum)
        self.nulls, self.pos_inf, self.neg_inf = (
            self.nulls + other.nulls, self.pos_inf + other.pos_inf, self.neg_inf + other.neg_inf,
        )  # fmt: skip
        self.integral = self.integral and other.integral
        return self


def count(values: NDArray[Any], centre: float) -> tuple[Ints, Ints, Tally]:
    """Ascending ranks that occur in float64 or float32 values, their counts, and the tally."""
    tally = Tally()
    found: list[tuple[Ints, Ints]] = []
    for at in range(0, max(len(values), 1), _ROWS):
        ranks, counts, further = _count_piece(values[at : at + _ROWS], centre)
        found.append((ranks, counts))
        tally += further
    if len(found) > 1:
        ranks, counts = sum_by_rank(*(np.concatenate(side) for side in zip(*found, strict=True)))
    return ranks, counts, tally


def select(values: NDArray[Any], centre: float, ranks: Ints) -> Floats:
    """The values whose rank is among `ranks`, in the order of `values`."""
    wanted = np.zeros(2 * SIGN, dtype=bool)
    wanted[np.where(ranks < SIGN, 2 * SIGN - 1 - ranks, ranks - SIGN)] = True
    wanted[SIGN] = wanted[0]  # -0.0 is zero
    chosen = []
    for block, centred in _blocks(values, centre, Tally()):
        chosen.append(block[wanted[_keys(centred)]].astype(np.float64))
    return np.concatenate(chosen) if chosen else np.empty(0)


def sum_by_rank(ranks: Ints, counts: Ints) -> tuple[Ints, Ints]:
    """Ascending distinct ranks with summed counts."""
    if not len(ranks):
        return ranks, counts
    order = np.argsort(ranks, kind="stable")
    ranks, counts = ranks[order], counts[order]
    starts = np.flatnonzero(np.concatenate([[True], ranks[1:] != ranks[:-1]]))
    return ranks[starts], np.add.reduceat(counts, starts)


def _count_piece(values: NDArray[Any], centre: float) -> tuple[Ints, Ints, Tally]:
    with _table() as table:
        if not compiled:
            return _count_blocks(values, centre, table.held)
        values = np.require(values, requirements=["ALIGNED"])
        found, tally = compiled.scan(values, centre, table.held, table.ranks, table.counts)
        return table.ranks[:found].copy(), table.counts[:found].copy(), Tally(*tally)


def _count_blocks(values: NDArray[Any], centre: float, table: NDArray[np.int32]) -> tuple[Ints, Ints, Tally]:
    tally = Tally(integral=_is_integral(values))
    for _, centred in _blocks(values, centre, tally):
        np.add.at(table, _keys(centred), _ONE)
    at: list[Ints] = []
    amounts: list[Ints] = []
    for stretch in _stretches(tally.minimum - centre, tally.maximum - centre):
        held = table[stretch]
        places = np.flatnonzero(held != 0)  # of bools is quicker
        counts = held[places].astype(np.int64)
        held[places] = 0
        if stretch.start >= SIGN:
            places = (2 * SIGN - 1 - stretch.start) - places[::-1]
            counts = counts[::-1]
            places[places == SIGN - 1] = SIGN  # -0.0 is zero
        else:
            places += SIGN + stretch.start
        at.append(places)
        amounts.append(counts)
    ranks = np.concatenate(at) if at else np.empty(0, dtype=np.int64)
    counts = np.concatenate(amounts) if amounts else np.empty(0, dtype=np.int64)
    if (ranks[1:] == ranks[:-1]).any():
        ranks, counts = sum_by_rank(ranks, counts)
    return ranks, counts, tally


def _is_integral(values: NDArray[Any]) -> bool:
    """True where all finite values are whole numbers; stops at the first block that has another."""
    for block in (values[:256], *(values[i : i + _BLOCK] for i in range(256, len(values), _BLOCK))):
        with np.errstate(invalid="ignore"):
            differs = block != np.rint(block)
        if differs.any() and bool((differs & np.isfinite(block)).any()):
            return False
    return True


def _blocks(values: NDArray[Any], centre: float, tally: Tally) -> Iterator[tuple[NDArray[Any], Floats]]:
    """The finite values some at a time, as they are and centred (within the range of single precision); tallied."""
    for start in range(0, len(values), _BLOCK):
        block = values[start : start + _BLOCK]
        low, high = float(block.min()), float(block.max())
        if not (low > -np.inf and high < np.inf):  # neither holds where there is a NaN
            block = tally.finite(block)
            if not len(block):
                continue
            low, high = float(block.min()), float(block.max())
        if centre or block.dtype != np.float64:
            with np.errstate(over="ignore"):
                centred = np.subtract(block, centre, out=_buffers.double[: len(block)], dtype=np.float64)
        else:
            centred = block
        tally.add(centred, low, high)
        if low - centre < -FLOAT32_MAX or high - centre > FLOAT32_MAX:
            centred = np.clip(centred, -FLOAT32_MAX, FLOAT32_MAX)
        yield block, centred


def _keys(centred: Floats) -> Ints:
    """The keys of finite values, until the next call in this thread."""
    single = _buffers.single[: len(centred)]
    np.copyto(single, centred, casting="same_kind")
    return np.right_shift(single.view(np.uint32), SHIFT, out=_buffers.keys[: len(centred)], casting="unsafe")


def _stretches(low: float, high: float) -> Iterator[slice]:
    """The keys of values from `low` to `high`: of negative ones, then of the others. -0.0 is among the negative."""
    if low <= 0:
        yield slice(_key(high) if high < 0 else SIGN, max(_key(-abs(low)), SIGN) + 1)
    if high >= 0:
        yield slice(_key(low) if low > 0 else 0, _key(high) + 1)


def _key(value: float) -> int:
    return int(np.float32(min(max(value, -FLOAT32_MAX), FLOAT32_MAX)).view(np.uint32)) >> SHIFT
