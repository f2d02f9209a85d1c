"""Categorical columns as counts, with an overflow bucket so that high cardinality stays bounded.

The overflow is counted by the first byte of its names' MD5 as well, which every engine computes: names are kept for
being frequent, so what is kept of two samples differs by chance; what a hash chooses does not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.check_drift import counting

KEPT = 1000
"""Categories kept by name; rarer ones are counted together as `other`."""

PARTS = 256
"""Values of a byte."""


@dataclass(frozen=True)
class CategorySummary:
    """Counts by category (at most `KEPT`, the most frequent), the overflow bucket, and nulls.

    `rest` is the overflow by `part_of` its names, of length `PARTS`; empty where there is none, or it is not known.
    """

    counts: dict[str, int]
    other: int
    nulls: int
    rest: tuple[int, ...] = ()

    @property
    def rows(self) -> int:
        """Number of values, nulls included."""
        return sum(self.counts.values()) + self.other + self.nulls

    def __add__(self, other: CategorySummary) -> CategorySummary:
        """Counts of both. Exact unless one of them overflowed."""
        counts = dict(self.counts)
        for category, count in other.counts.items():
            counts[category] = counts.get(category, 0) + count
        known = all(each.rest or not each.other for each in (self, other))
        rest = [sum(each) for each in zip(*filter(None, (self.rest, other.rest)), strict=True)] if known else []
        return bounded(counts.items(), self.nulls + other.nulls, self.other + other.other, rest)

    @property
    def by_part(self) -> list[int] | None:
        """All categories' rows by `part_of` their names; None where that of the overflow is not known."""
        if self.other and not self.rest:
            return None
        parts = list(self.rest) or [0] * PARTS
        for name, count in self.counts.items():
            parts[part_of(name)] += count
        return parts


def part_of(name: str) -> int:
    """The first byte of a category's MD5 (RFC 1321), as UTF-8."""
    return hashlib.md5(name.encode("utf-8", "surrogatepass"), usedforsecurity=False).digest()[0]


def bounded(counts: Iterable[tuple[str, int]], nulls: int, other: int = 0, rest: Sequence[int] = ()) -> CategorySummary:
    """Summary that keeps the most frequent categories (ties by name) and adds the others to `other` and its `rest`."""
    ordered = sorted(counts, key=lambda each: (-each[1], each[0]))
    kept = {name: int(count) for name, count in ordered[:KEPT]}
    if len(ordered) <= KEPT or (other and not rest):
        return CategorySummary(kept, int(other + sum(n for _, n in ordered[KEPT:])), int(nulls), tuple(rest))
    parts = list(rest) or [0] * PARTS
    for name, count in ordered[KEPT:]:
        parts[part_of(name)] += int(count)
    return CategorySummary(kept, sum(parts), int(nulls), tuple(parts))


def count_codes(codes: NDArray[Any], names: int) -> list[int]:
    """How often each code 0 … names - 1 occurs, and last the nulls (negative codes).

    Codes that fit a byte are counted as such, by NumPy two at a time: half the work, and fewer waits on one counter.
    """
    if names < 255:
        narrow = np.ascontiguousarray(codes).astype(np.uint8)  # -1 becomes 255
        if counting.compiled:
            held = np.zeros(256, dtype=np.int64)
            counting.compiled.tally(narrow, held)
            return [*held[:names].tolist(), int(held[255])]
        even = len(narrow) - len(narrow) % 2
        pairs = np.bincount(narrow[:even].view(np.uint16), minlength=1 << 16).reshape(256, 256)
        counts = pairs.sum(axis=0) + pairs.sum(axis=1)
        if even < len(narrow):
            counts[narrow[-1]] += 1
        return [*counts[:names].tolist(), int(counts[255])]
    shifted = np.bincount(np.add(codes, 1, dtype=np.int64), minlength=names + 1).tolist()
    return [*shifted[1:], shifted[0]]
