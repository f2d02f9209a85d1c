"""Peers' own rules for one numeric column, and ours, as functions of arrays of rows.

Evidently's default (`_get_default_stattest`, evidently 0.7): Kolmogorov-Smirnov p < 0.05 up to 1,000 rows of reference,
Wasserstein distance in standard deviations of the reference >= 0.1 beyond. NannyML's default (`JensenShannonDistance`
and `StandardDeviationThreshold`, nannyml 0.13): the Jensen-Shannon distance of a chunk from the reference, over the
reference's bins by Doane's rule with what falls outside them together, beyond mean plus three standard deviations of
the reference's own chunks. `false_alarms --part peers` holds both against the installed peers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import jensenshannon

from tools.check_drift.comparison import ColumnChange, compare_column
from tools.check_drift.numeric import summarise

Floats = NDArray[np.float64]

CHUNKS = 10
"""Chunks of NannyML's reference, each of as many rows as the window."""

_EVIDENTLY_SMALL = 1_000
_EVIDENTLY_LEVEL, _EVIDENTLY_DISTANCE = 0.05, 0.1


def evidently(reference: Floats, current: Floats) -> tuple[float, float]:
    """Statistic and the cut beyond which Evidently's default calls a column drifted; 1 - p for Kolmogorov-Smirnov."""
    if len(reference) <= _EVIDENTLY_SMALL:
        return 1 - float(stats.ks_2samp(reference, current).pvalue), 1 - _EVIDENTLY_LEVEL
    distance = float(stats.wasserstein_distance(reference, current))
    return distance / max(float(np.std(reference)), 0.001), _EVIDENTLY_DISTANCE


def nannyml(reference: Floats, current: Floats) -> tuple[float, float]:
    """Statistic and the cut beyond which NannyML's default calls a chunk of a column drifted."""
    edges = np.histogram_bin_edges(reference, bins="doane")
    whole = np.histogram(reference, edges)[0] / len(reference)
    own = [_distance(whole, chunk, edges) for chunk in np.split(reference, CHUNKS)]
    return _distance(whole, current, edges), float(np.mean(own) + 3 * np.std(own))


def ours(reference: Floats, current: Floats) -> ColumnChange:
    """The column's change, through its summaries, as a check sees it."""
    baseline = summarise(reference)
    return compare_column("x", baseline, summarise(current, centre=baseline.centre, exact_edges=False))


def _distance(whole: Floats, chunk: Floats, edges: Floats) -> float:
    shares = np.histogram(chunk, edges)[0] / len(chunk)
    outside = 1 - shares.sum()
    if outside > 0:
        whole, shares = np.append(whole, 0.0), np.append(shares, outside)
    return float(jensenshannon(whole, shares, base=2))
