"""ADWIN: a window over a stream that shrinks to the newest part whenever two parts of it differ in their mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

_BUCKETS = 5
"""Buckets of one size before the two oldest are merged."""

_FEWEST = 5
"""Values on each side of a cut."""

_GRACE = 10

Bucket = tuple[float, float]
"""Sum of the values in it, and the sum of their squared distances from their mean."""


@dataclass
class Adwin:
    """ADWIN2 over numbers of range 1, with an exponential histogram: memory and time are logarithmic in the width.

    A cut into n0 older and n1 newer values is a change where their means differ by more than
    sqrt(2 m s² ln(2 ln W / delta)) + 2/3 m ln(2 ln W / delta), with m = 1/(n0 - 4) + 1/(n1 - 4), W the width and s²
    the variance of the window. `delta` is the confidence; cuts are tried every `clock` values. `width`, `total` and
    `spread` are the number, the sum and the summed squared distance from the mean of the values kept.
    Source: A. Bifet & R. Gavaldà, Learning from Time-Changing Data with Adaptive Windowing (SDM 2007), with the bound
    as River 0.22 has it.
    """

    delta: float = 0.002
    clock: int = 32
    width: int = 0
    total: float = 0.0
    spread: float = 0.0
    _ticks: int = 0
    _rows: list[list[Bucket]] = field(default_factory=lambda: [[]])

    def update(self, value: float) -> bool:
        """Takes one value; True where the older part of the window was just dropped as different."""
        self._rows[0].append((value, 0.0))
        self.width += 1
        if self.width > 1:
            away = value - self.total / (self.width - 1)
            self.spread += (self.width - 1) * away * away / self.width
        self.total += value
        self._merge()
        self._ticks += 1
        if self._ticks % self.clock or self.width <= _GRACE:
            return False
        changed = False
        while self._differs():
            self._drop_oldest()
            changed = True
        return changed

    def _merge(self) -> None:
        for level, row in enumerate(self._rows):
            if len(row) <= _BUCKETS:
                return
            size = 2.0**level
            (total_a, spread_a), (total_b, spread_b) = row[:2]
            gap = (total_a - total_b) / size
            if level + 1 == len(self._rows):
                self._rows.append([])
            self._rows[level + 1].append((total_a + total_b, spread_a + spread_b + size * gap * gap / 2))
            del row[:2]

    def _differs(self) -> bool:
        """Whether any cut between two buckets, the oldest first, is a change."""
        log_term = math.log(2 * math.log(self.width) / self.delta)
        variance = self.spread / self.width
        older, older_total = 0, 0.0
        for level in range(len(self._rows) - 1, -1, -1):
            for total, _ in self._rows[level]:
                older, older_total = older + 2**level, older_total + total
                newer = self.width - older
                if older < _FEWEST or newer < _FEWEST:
                    continue
                gap = abs(older_total / older - (self.total - older_total) / newer)
                m = 1 / (older - _FEWEST + 1) + 1 / (newer - _FEWEST + 1)
                if gap > math.sqrt(2 * m * variance * log_term) + 2 / 3 * log_term * m:
                    return True
        return False

    def _drop_oldest(self) -> None:
        row = self._rows[-1]
        total, spread = row.pop(0)
        size = 2 ** (len(self._rows) - 1)
        if not row:
            self._rows.pop()
        self.width -= size
        self.total -= total
        gap = total / size - self.total / self.width
        self.spread = max(self.spread - spread - size * self.width * gap * gap / (size + self.width), 0.0)
