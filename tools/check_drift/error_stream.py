"""When did the champion's error rise? Change detectors over the labelled rows, in the order their labels arrived."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tools.check_drift.adwin import Adwin
from tools.check_drift.counting import Floats
from tools.check_drift.outcomes import Judged
from tools.check_drift.page_hinkley import PageHinkley, calm_height

MOST_WARM_UP = 5_000
"""Rows of the baseline a detector sees first, the last ones."""

_CLIP = 10.0
"""Errors of a regression count up to this many standard deviations of the baseline's."""


@dataclass(frozen=True)
class Rise:
    """`value`: mean error after the change (or, where none was found, of the whole window) less the baseline's.

    `at` is the place in the window where a rise was first told, None for none; `smallest` the least rise that would
    have been told with this many labels.
    """

    value: float
    before: float
    at: int | None
    smallest: float


def errors(rows: Judged, baseline: Judged | None = None) -> Floats:
    """The error of each row: distance of probability and outcome; 1 for a wrong class; or of a regression the distance
    in the standard deviations of the baseline's (0 where those do not vary), at most 10.
    """
    if rows.predicted.labels is not None:
        return np.asarray(rows.predicted.labels != rows.outcomes, dtype=np.float64)
    away: Floats = np.abs(rows.outcomes - rows.predicted.scores)
    if baseline is None:
        return np.minimum(away, 1.0, dtype=np.float64)
    spread = float(np.std(baseline.outcomes - baseline.predicted.scores))
    if spread == 0:
        return np.where(away > 0, _CLIP, 0.0)
    scaled: Floats = np.minimum(away / spread, _CLIP)
    return scaled


def adwin_rise(before: Floats, after: Floats, reach: float, alpha: float) -> Rise:
    """ADWIN over `before` (the baseline's errors) and then `after`, both at most `reach`, at confidence `alpha`.

    Only changes told within `after` count, and only where the window it kept has a higher mean than the baseline.
    """
    warm = before[-MOST_WARM_UP:] / reach
    window = Adwin(delta=alpha)
    for value in warm.tolist():
        window.update(value)
    first = None
    for place, value in enumerate((after / reach).tolist()):
        if window.update(value) and first is None:
            first = place
    mean = float(before.mean())
    kept = window.total / window.width * reach if first is not None else float(after.mean())
    value = kept - mean
    # What the bound of ADWIN would be for a cut exactly between the baseline and the window.
    n, m = len(warm), len(after)
    if min(n, m) < 5:
        return Rise(value, mean, None, math.inf)
    log_term = math.log(2 * math.log(n + m) / alpha)
    share = 1 / (n - 4) + 1 / (m - 4)
    variance = float(np.var(np.concatenate([warm, after / reach])))
    smallest = (math.sqrt(2 * share * variance * log_term) + 2 / 3 * log_term * share) * reach
    return Rise(value, mean, first if value > 0 else None, smallest)


def page_hinkley_rise(before: Floats, after: Floats, threshold: float, alpha: float) -> Rise:
    """Page-Hinkley over `before` and then `after`, tuned to a rise of the mean by `threshold`.

    In standard deviations of the baseline's error: the tolerance is half the rise, the height the one that as many
    values without a change exceed with probability `alpha`. The sum is not forgotten; it starts afresh after an alarm
    among the baseline's own.
    """
    warm = before[-MOST_WARM_UP:]
    spread = float(before.std()) or 1.0
    tolerance = threshold / spread / 2
    test = PageHinkley(tolerance, calm_height(tolerance, len(warm) + len(after), alpha), forgetting=1.0)
    for value in (warm / spread).tolist():
        test.update(value)
    first, began = None, 0
    for place, value in enumerate((after / spread).tolist()):
        if test.update(value):
            first, began = place, max(place + 1 - test.rising_for, 0)
            break
    mean = float(before.mean())
    value = float(after[began:].mean()) - mean
    # The sum climbs by the rise less the tolerance a value, so in m values it gets over the height from this on.
    smallest = (test.height / len(after) + tolerance) * spread if len(after) else math.inf
    return Rise(value, mean, first if value > 0 else None, smallest)
