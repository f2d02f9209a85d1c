"""Data drift as one verdict over all features: the share of them that drifted, or the mean of their statistics."""

from __future__ import annotations

from collections.abc import Sequence

from policies.declarations import Severity
from policies.declarations.drift import DataDrift, DriftType
from tools.check_drift.result import Check, graded


def together(declared: DataDrift, features: Sequence[Check], alpha: float) -> list[Check]:
    """The verdict of `declared` (`share` or `mean`) over the features' own checks, followed by those.

    A feature alone is no finding: it stays one only beside a verdict that is. What could not be judged stays
    `unknown`, and a verdict over nothing is `unknown`.

    `share`: found features by judged ones, a finding from `min_share` on. Each of them holds at a p-value corrected
    over all, so the largest of theirs is the verdict's.
    `mean`: the mean statistic of the judged features, beyond `threshold`. Its p-value is the smallest corrected one:
    that no feature drifted (Holm's global test, which holds however the features depend on each other).
    """
    judged = [check for check in features if check.value is not None and check.p_value is not None]
    found = [check for check in judged if check.found]
    if not judged:
        return [_verdict(declared, None, None, Severity.unknown, "no feature could be judged"), *features]
    share = len(found) / len(judged)
    if declared.verdict == "share":
        worst_p = max((check.p_value or 0.0 for check in found), default=1.0)
        severity = _by_share(declared, share)
        detail = f"{len(found)} of {len(judged)} features beyond {declared.threshold:g}"
        summary = _verdict(declared, share, worst_p, severity, detail)
    else:
        mean = sum(check.value or 0.0 for check in judged) / len(judged)
        global_p = min(check.p_value or 0.0 for check in judged)
        severity = graded(mean, declared.threshold, declared.critical_multiple, global_p, alpha)
        detail = f"mean of {len(judged)} features, {len(found)} of them beyond {declared.threshold:g}"
        summary = _verdict(declared, mean, global_p, severity, detail)
    return [summary, *(features if summary.found else [_alone(check) for check in features])]


def _by_share(declared: DataDrift, share: float) -> Severity:
    """From `min_share` a warning; from the declared multiple of it, or where every feature drifted, critical."""
    least = declared.min_share or 0.0
    if share < least or not share:
        return Severity.ok
    return Severity.critical if share >= min(declared.critical_multiple * least, 1.0) else Severity.warning


def _verdict(declared: DataDrift, value: float | None, p_value: float | None, severity: Severity, detail: str) -> Check:
    return Check(
        type=DriftType.data_drift,
        method=declared.method,
        subject=f"{declared.verdict} of features",
        value=value,
        threshold=declared.min_share if declared.verdict == "share" else declared.threshold,
        p_value=p_value,
        severity=severity,
        detail=detail,
    )


def _alone(check: Check) -> Check:
    if not check.found:
        return check
    return check.model_copy(update={"severity": Severity.ok, "detail": f"alone no finding: {check.detail}"})
