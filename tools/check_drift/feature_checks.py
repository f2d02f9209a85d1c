"""Data drift and feature drift: each feature against the baseline, and the correlations between features."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from policies.declarations import Severity
from policies.declarations.drift import DataDrift, DriftType, FeatureDrift
from tools.check_drift import correlation, verdict
from tools.check_drift.comparison import ColumnChange, compare
from tools.check_drift.evidence import holm
from tools.check_drift.material import Material
from tools.check_drift.profiles import Profile
from tools.check_drift.result import Check, graded

FEWEST_ROWS = 50
"""Rows below which a window says nothing about a distribution."""


def check_features(
    declared: DataDrift | FeatureDrift, material: Material, start: datetime, alpha: float
) -> list[Check]:
    """One check a feature; a feature_drift check also tracks correlations. Raises InputError for unreadable tables."""
    names = material.binding.features.names if declared.features == "all" else declared.features
    baseline, current = material.baseline(), material.current(start)
    kind = DriftType(declared.type)
    if current.rows < FEWEST_ROWS:
        return [too_few(kind, declared.method, "features", declared.threshold, current.rows)]
    checks = []
    if declared.method != "correlation":
        checks = _per_feature(declared, names, baseline, current, alpha)
    if isinstance(declared, DataDrift) and declared.verdict != "any":
        checks = verdict.together(declared, checks, alpha)
    if isinstance(declared, FeatureDrift):
        checks += _correlations(declared, names, material, start, alpha)
    return checks


def statistic(method: str, change: ColumnChange) -> tuple[float, float]:
    """Value and p-value of a method for one column; KS and Wasserstein of categories are total variation."""
    values = {
        "psi": change.psi,
        "kl_divergence": change.kl,
        "js": change.js,
        "hellinger": change.hellinger,
        "ks": change.ks,
        "wasserstein": change.wasserstein,
    }
    if method in ("ks", "wasserstein") and change.kind == "categorical":
        return change.total_variation, change.p_value
    return values[method], change.p_value


def too_few(kind: DriftType, method: str, subject: str, threshold: float, rows: int) -> Check:
    """A check that could not be judged for want of rows."""
    return Check(
        type=kind,
        method=method,
        subject=subject,
        value=None,
        threshold=threshold,
        p_value=None,
        severity=Severity.unknown,
        detail=f"only {rows:,} rows in the window, fewer than {FEWEST_ROWS}" if rows else "no rows in the window",
    )


def _per_feature(
    declared: DataDrift | FeatureDrift, names: Sequence[str], baseline: Profile, current: Profile, alpha: float
) -> list[Check]:
    changes = compare(baseline, current, columns=names)
    measured = [statistic(declared.method, change) for change in changes]
    adjusted = holm([p for _, p in measured])
    return [
        Check(
            type=DriftType(declared.type),
            method=declared.method,
            subject=change.column,
            value=None if math.isnan(value) else value,
            threshold=declared.threshold,
            p_value=p,
            severity=graded(value, declared.threshold, declared.critical_multiple, p, alpha),
            detail=f"{change.reason}; {change.baseline_rows:,} against {change.current_rows:,} rows",
        )
        for change, (value, _), p in zip(changes, measured, adjusted, strict=True)
    ]


def _correlations(
    declared: FeatureDrift, names: Sequence[str], material: Material, start: datetime, alpha: float
) -> list[Check]:
    """The pair with the largest change among those with a watched feature; none where no two features are numeric."""
    rows = material.rows(start)
    numeric = [name for name in material.binding.features.numeric if name in rows.column_names]
    before = material.baseline_correlations()
    after = correlation.correlations(rows.select(numeric), material.baseline())
    change = correlation.largest_change(before, after, None if declared.features == "all" else names)
    if change is None:
        return []
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
