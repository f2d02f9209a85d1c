"""The Page-Hinkley test: a sum of deviations from the mean so far that only a lasting rise carries far."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class PageHinkley:
    """Alarm where the sum of (x - mean so far - `tolerance`) is more than `height` above its lowest point.

    One-sided, for rises. `forgetting` fades the sum; nothing is said before `fewest` values. After an alarm the next
    value starts afresh. `rising_for` is the number of values since the sum was lowest: the rise began there.
    Source: E. S. Page, Continuous Inspection Schemes (Biometrika, 1954); D. V. Hinkley (Biometrika, 1971); as River
    0.22's PageHinkley with mode "up".
    """

    tolerance: float = 0.005
    height: float = 50.0
    forgetting: float = 0.9999
    fewest: int = 30
    rising_for: int = 0
    _seen: int = 0
    _mean: float = 0.0
    _sum: float = 0.0
    _lowest: float = math.inf
    _alarmed: bool = False

    def update(self, value: float) -> bool:
        """Takes one value; True where the rise is beyond `height` now."""
        if self._alarmed:
            self._seen, self._mean, self._sum, self._lowest, self.rising_for = 0, 0.0, 0.0, math.inf, 0
        self._seen += 1
        self._mean += (value - self._mean) / self._seen
        self._sum = self.forgetting * self._sum + value - self._mean - self.tolerance
        self.rising_for += 1
        if self._sum < self._lowest:
            self._lowest, self.rising_for = self._sum, 0
        self._alarmed = self._seen >= self.fewest and self._sum - self._lowest > self.height
        return self._alarmed


def calm_height(tolerance: float, values: int, false_alarms: float) -> float:
    """The `height`, in standard deviations, that independent values exceed with probability `false_alarms` in a run.

    `tolerance` is in standard deviations as well, `values` the length of the run. A one-sided CUSUM with reference
    value k alarms about 2 k² exp(-2 k (h + 1.166)) times a value (h for normal deviates); solved for h.
    Source: D. Siegmund, Sequential Analysis (1985), section 10.2.
    """
    rate = 2 * tolerance * tolerance * values / false_alarms
    return max(math.log(rate) / (2 * tolerance) - 1.166, 1.0) if rate > 1 else 1.0
