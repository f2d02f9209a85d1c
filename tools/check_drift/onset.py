"""When a series of windows changed, and whether at once or little by little."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tools.check_drift.counting import Floats

_NOTICED = 10.8
_SLOWER = 6.6
_FASTER = 3.8
_AT_ONCE = 2
_SLOW = 4


@dataclass(frozen=True)
class Onset:
    """The first window (an index) that shows a change; `sudden` where it was complete in that window or the next, None
    where noise leaves that open.

    `first` is 0, and `sudden` None, where the whole series lies after the change or none can be told from noise.
    """

    first: int
    sudden: bool | None


def onset(values: Floats, variances: Floats) -> Onset:
    """The change of `values` (oldest first), each with its sampling variance, by least squares on broken lines.

    Fits a level, then a ramp from window i to window j, then another level, for all i <= j; a step is i = j. Windows
    count by the inverse of their variance, so that small ones weigh little instead of being left out. Variance beyond
    sampling (weekdays, say) is estimated from the best fit's residuals and widens all comparisons. A step must lower
    the weighted sum of squares by 10.8 (χ² with one degree of freedom at 0.1%, for the best of many places), a ramp
    by another 6.6 (1%); one that is complete within two windows counts as a step. A step is sudden where it does
    better by 3.8 (5%) than every ramp of four windows and more. Source: D. V. Hinkley, Inference in Two-Phase
    Regression (JASA, 1971).
    """
    n = len(values)
    if n < 2:
        return Onset(0, None)
    weights = 1 / np.maximum(variances, np.finfo(float).tiny)
    starts, ends = np.triu_indices(n)
    starts, ends = starts[starts > 0], ends[starts > 0]
    windows = np.arange(n)
    progress = np.clip((windows - starts[:, None] + 1) / (ends - starts + 1)[:, None], 0.0, 1.0)
    left = _residuals(progress, values, weights)
    flat = float(np.sum(weights * (values - np.average(values, weights=weights)) ** 2))
    spread = max(1.0, float(left.min()) / max(n - 4, 1))
    at_once = ends - starts < _AT_ONCE
    step = int(np.argmin(np.where(at_once, left, np.inf)))
    slow = int(np.argmin(left))
    if (flat - left[slow]) / spread < _NOTICED:
        return Onset(0, None)
    if not at_once[slow] and (left[step] - left[slow]) / spread >= _SLOWER:
        return Onset(int(starts[slow]), False)
    slower = np.min(left, initial=np.inf, where=ends - starts >= _SLOW - 1)
    return Onset(int(starts[step]), True if (slower - left[step]) / spread >= _FASTER else None)


def _residuals(progress: Floats, values: Floats, weights: Floats) -> Floats:
    """Weighted sum of squares left by the best line of `values` on each row of `progress`; shape (rows,)."""
    share = weights / weights.sum()
    x = progress - progress @ share[:, None]
    y = values - values @ share
    slope = (x @ (weights * y)) / np.maximum((x * x) @ weights, np.finfo(float).tiny)
    rest: Floats = np.sum(weights * (y - slope[:, None] * x) ** 2, axis=1)
    return rest
