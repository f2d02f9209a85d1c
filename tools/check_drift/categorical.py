"""Categorical columns as counts, with an overflow bucket so that high cardinality stays bounded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

KEPT = 1000
"""Categories kept by name; rarer ones are counted together as `other`."""


@dataclass(frozen=True)
class CategorySummary:
    """Counts by category (at most `KEPT`, the most frequent), the overflow bucket, and nulls."""

    counts: dict[str, int]
    other: int
    nulls: int

    @property
    def rows(self) -> int:
        """Number of values, nulls included."""
        return sum(self.counts.values()) + self.other + self.nulls

    def __add__(self, other: CategorySummary) -> CategorySummary:
        """Counts of both. Exact unless one of them overflowed."""
        counts = dict(self.counts)
        for category, count in other.counts.items():
            counts[category] = counts.get(category, 0) + count
        return bounded(counts.items(), self.nulls + other.nulls, self.other + other.other)


def bounded(counts: Iterable[tuple[str, int]], nulls: int, other: int = 0) -> CategorySummary:
    """Summary that keeps the most frequent categories (ties by name) and adds the rest to `other`."""
    ordered = sorted(counts, key=lambda each: (-each[1], each[0]))
    rest = sum(count for _, count in ordered[KEPT:])
    return CategorySummary({name: int(count) for name, count in ordered[:KEPT]}, int(other + rest), int(nulls))
