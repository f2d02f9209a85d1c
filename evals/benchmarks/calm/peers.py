"""Peers' published rules for one numeric column, and ours, as functions of two arrays of rows.

Evidently's default (`_get_default_stattest`, evidently 0.7): Kolmogorov-Smirnov p < 0.05 up to 1,000 rows of reference,
Wasserstein distance in standard deviations of the reference >= 0.1 beyond. NannyML's default (`JensenShannonDistance`,
nannyml 0.13, nannyml/drift/univariate/methods.py): Jensen-Shannon distance > 0.1 over the reference's bins by Doane's
rule, what falls outside them counted together.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.spatial.distance import jensenshannon

from tools.check_drift.comparison import ColumnChange, compare_column
from tools.check_drift.numeric import summarise

Floats = NDArray[np.float64]

_EVIDENTLY_SMALL = 1_000
EVIDENTLY_LEVEL, EVIDENTLY_DISTANCE, NANNYML_DISTANCE = 0.05, 0.1, 0.1


def evidently(reference: Floats, current: Floats) -> tuple[float, float]:
    """Statistic and the cut beyond which Evidently's default calls a column drifted; 1 - p for Kolmogorov-Smirnov."""
    if len(reference) <= _EVIDENTLY_SMALL:
        return 1 - float(stats.ks_2samp(reference, current).pvalue), 1 - EVIDENTLY_LEVEL
    return float(stats.wasserstein_distance(reference, current)) / max(float(np.std(reference)), 0.001), (
        EVIDENTLY_DISTANCE
    )


def nannyml(reference: Floats, current: Floats) -> tuple[float, float]:
    """Statistic and the cut beyond which NannyML's default calls a chunk of a column drifted."""
    bins = np.histogram_bin_edges(reference, bins="doane")
    p = np.histogram(reference, bins)[0] / len(reference)
    q = np.histogram(current, bins)[0] / len(current)
    outside = 1 - q.sum()
    if outside > 0:
        p, q = np.append(p, 0.0), np.append(q, outside)
    return float(jensenshannon(p, q, base=2)), NANNYML_DISTANCE


def ours(reference: Floats, current: Floats) -> ColumnChange:
    """The column's change, through its summaries, as a check sees it."""
    baseline = summarise(reference)
    return compare_column("x", baseline, summarise(current, centre=baseline.centre, exact_edges=False))
