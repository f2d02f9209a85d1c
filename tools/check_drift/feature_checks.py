"""Data drift and feature drift: each feature against the baseline, and the correlations between features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from policies.declarations import Severity
from policies.declarations.drift import DataDrift, DriftType, FeatureDrift, LabelDrift, PredictionDrift
from tools.check_drift import correlation, verdict
from tools.check_drift.comparison import COARSE, ColumnChange, compare
from tools.check_drift.material import Material
from tools.check_drift.profiles import Profile
from tools.check_drift.result import Check, graded

FEWEST_ROWS = 50
"""Rows below which a window or a baseline says nothing about a distribution."""


def check_features(
    declared: DataDrift | FeatureDrift, material: Material, start: datetime, alpha: float
) -> list[Check]:
    """One check a feature; a feature_drift check also tracks correlations. Raises InputError for unreadable tables."""
    names = material.binding.features.names if declared.features == "all" else declared.features
    baseline, current = material.baseline(), material.current(start)
    kind = DriftType(declared.type)
    if min(baseline.rows, current.rows) < FEWEST_ROWS:
        return [too_few(kind, declared.method, "features", declared.threshold, current.rows, baseline.rows)]
    checks = []
    if declared.method != "correlation":
        checks = _per_feature(declared, names, baseline, current, alpha)
    if isinstance(declared, DataDrift) and declared.verdict != "any":
        checks = verdict.together(declared, checks, alpha)
    if isinstance(declared, FeatureDrift):
        checks += _correlations(declared, names, material, start, alpha)
    return checks


def statistic(method: str, change: ColumnChange) -> float:
    """Value of a method for one column; NaN where there is none.

    KS and Wasserstein know neither categories nor nulls. Of categories, of a column whose kind changed, where a side
    holds only nulls and (Wasserstein) where bins are too wide they are the total variation. KS is the change of the
    share of nulls where that is larger; Wasserstein takes a value that became null, or was one, as moved by a standard
    deviation.
    """
    values = {
        "psi": change.psi,
        "kl_divergence": change.kl,
        "js": change.js,
        "hellinger": change.hellinger,
        "ks": max(change.ks, change.null_change),
        "wasserstein": change.wasserstein + change.null_change,
    }
    if method in ("ks", "wasserstein") and math.isnan(values[method]):
        return change.total_variation
    return values[method]


def of_column(
    kind: DriftType,
    declared: DataDrift | FeatureDrift | PredictionDrift | LabelDrift,
    change: ColumnChange,
    alpha: float,
    detail: str,
) -> Check:
    """The check of one column's distribution; unknown where its histograms are too coarse to say that it is ok."""
    value = statistic(declared.method, change)
    severity = graded(value, declared.threshold, declared.critical_multiple, change.adjusted_p, alpha)
    if severity is Severity.ok and change.ks_bound > COARSE:
        value, severity = math.nan, Severity.unknown
        detail = f"histograms too coarse: {change.ks_bound:.0%} of the values may have moved within a bin; {detail}"
    return Check(
        type=kind,
        method=declared.method,
        subject=change.column,
        value=None if math.isnan(value) else value,
        threshold=declared.threshold,
        p_value=change.adjusted_p,
        severity=severity,
        detail=detail,
    )


def too_few(kind: DriftType, method: str, subject: str, threshold: float, rows: int, baseline_rows: int) -> Check:
    """A check that could not be judged for want of rows, in the window or in the baseline."""
    where, few = ("window", rows) if rows < FEWEST_ROWS else ("baseline", baseline_rows)
    return Check(
        type=kind,
        method=method,
        subject=subject,
        value=None,
        threshold=threshold,
        p_value=None,
        severity=Severity.unknown,
        detail=f"only {few:,} rows in the {where}, fewer than {FEWEST_ROWS}" if few else f"no rows in the {where}",
    )


def _per_feature(
    declared: DataDrift | FeatureDrift, names: Sequence[str], baseline: Profile, current: Profile, alpha: float
) -> list[Check]:
    return [
        of_column(
            DriftType(declared.type), declared, change, alpha,
            f"{change.reason}; {change.baseline_rows:,} against {change.current_rows:,} rows",
        )
        for change in compare(baseline, current, columns=names)
    ]  # fmt: skip


def _correlations(
    declared: FeatureDrift, names: Sequence[str], material: Material, start: datetime, alpha: float
) -> list[Check]:
    """The pair with the largest change among those with a watched feature.

    Where there is no such pair there is no check beside those of the features, and an unknown one in place of any.
    """
    rows = material.rows(start)
    numeric = [name for name in material.binding.features.numeric if name in rows.column_names]
    before = material.baseline_correlations()
    after = correlation.correlations(rows.select(numeric), material.baseline())
    change = correlation.largest_change(before, after, None if declared.features == "all" else names, alpha)
    if change is None:
        return [_uncorrelated(declared)] if declared.method == "correlation" else []
    threshold = declared.threshold if declared.method == "correlation" else correlation.THRESHOLD
    return [
        Check(
            type=DriftType.feature_drift,
            method="correlation",
            subject=" × ".join(change.pair),
            value=change.change,
            threshold=threshold,
            p_value=change.p_value,
            severity=graded(change.change, threshold, declared.critical_multiple, change.p_value, alpha),
            detail=f"largest change of a rank correlation: {change.before:.2f} → {change.after:.2f}",
        )
    ]


def _uncorrelated(declared: FeatureDrift) -> Check:
    return Check(
        type=DriftType.feature_drift,
        method=declared.method,
        subject="features",
        value=None,
        threshold=declared.threshold,
        p_value=None,
        severity=Severity.unknown,
        detail="no two numeric features, one of them watched, with values on both sides: nothing to correlate",
    )
