"""Concept drift by other ways than a window of labels: estimated without them, or told as they arrive."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from policies.declarations import Severity
from policies.declarations.drift import ConceptDrift, DriftType
from policies.errors import InputError
from tools.check_drift.error_stream import adwin_rise, errors, page_hinkley_rise
from tools.check_drift.estimate import calibrate, calibrate_classes, estimate, estimate_classes
from tools.check_drift.feature_checks import FEWEST_ROWS
from tools.check_drift.material import Material
from tools.check_drift.outcome_checks import decayed, unknown
from tools.check_drift.outcomes import Judged, baseline_judged, measured, stream
from tools.check_drift.performance import Performance
from tools.check_drift.result import Check, graded
from tools.tasks.predicted import Predicted

_CLASSES_REACH = 1.0
_REGRESSION_REACH = 10.0


def check_estimated(declared: ConceptDrift, material: Material, start: datetime, alpha: float) -> list[Check]:
    """The champion's metric over all rows of the window, estimated without their labels, against the baseline's.

    Marked as an estimate: it sees what changed inputs do to performance, never that the reasons behind the labels
    changed. Unknown where the baseline's labels are too few to calibrate by.
    """
    metric = declared.metric or ""
    said = material.recorded(start)
    rows = material.rows(start)
    if material.binding.task == "multiclass" or len(said) < max(0.9 * rows.num_rows, FEWEST_ROWS):
        said = material.predict(rows.to_pandas())
    if len(said) < FEWEST_ROWS:
        few = f"only {len(said):,} rows in the window, fewer than {FEWEST_ROWS}"
        return [unknown(DriftType.concept_drift, declared.method, metric, declared.threshold, few)]
    if not np.isfinite(said.scores).all():
        raise InputError("hold values that are no numbers", where="scores")
    judged = baseline_judged(material)
    baseline = measured(material, metric, judged)
    if not baseline.enough:
        few = f"not enough labels in the baseline: {baseline.rows:,}"
        return [unknown(DriftType.concept_drift, declared.method, metric, declared.threshold, few)]
    current, calibrated = _estimated(material, metric, judged, said)
    if not current.enough:
        few = f"too few rows to estimate by: {current.wanting or f'{metric} is undefined'} (expected)"
        return [unknown(DriftType.concept_drift, declared.method, metric, declared.threshold, few)]
    about = f"an estimate without labels, version {material.champion()}: "
    known = f"{len(said):,} rows, scores {'calibrated on the baseline' if calibrated else 'calibrated as they are'}"
    return [decayed(declared, baseline, current, alpha, about, known, "too few rows")]


def check_stream(declared: ConceptDrift, material: Material, start: datetime, alpha: float) -> list[Check]:
    """Whether, and with which label, the champion's error began to rise; unknown, never ok, on too few labels."""
    kind, subject = DriftType.concept_drift, "error"
    baseline, rows = baseline_judged(material), stream(material, start)
    few = f"not enough labels yet: {len(rows):,} arrived in the window, {len(baseline):,} in the baseline"
    if min(len(rows), len(baseline)) < FEWEST_ROWS:
        return [unknown(kind, declared.method, subject, declared.threshold, few)]
    regression = material.binding.task == "regression"
    before, after = (errors(side, baseline if regression else None) for side in (baseline, rows))
    if not (np.isfinite(before).all() and np.isfinite(after).all()):
        raise InputError("hold values that are no numbers", where="scores")
    if declared.method == "adwin":
        rise = adwin_rise(before, after, _REGRESSION_REACH if regression else _CLASSES_REACH, alpha)
    else:
        rise = page_hinkley_rise(before, after, declared.threshold, alpha)
    detail = f"version {material.champion()}: mean error {rise.before:.4f} → {rise.before + rise.value:.4f}; "
    detail += f"{len(rows):,} labels in order of arrival"
    severity = Severity.ok
    if rise.at is not None:
        severity = graded(rise.value, declared.threshold, declared.critical_multiple, None, alpha)
        detail += f", a rise was told with label {rise.at + 1:,}"
    elif rise.smallest > declared.threshold:
        severity, detail = Severity.unknown, f"not enough labels to tell a rise of {declared.threshold:g}: {detail}"
    return [
        Check(
            type=kind,
            method=declared.method,
            subject=subject,
            value=rise.value,
            threshold=declared.threshold,
            p_value=None,
            severity=severity,
            detail=detail,
        )
    ]


def _estimated(material: Material, metric: str, judged: Judged, said: Predicted) -> tuple[Performance, bool]:
    """The expected metric, and whether scores had to be calibrated."""
    if material.binding.task == "multiclass":
        each = calibrate_classes(judged.outcomes, judged.predicted)
        return estimate_classes(metric, said, each), any(one.needed for one in each)
    calibration = calibrate(judged.outcomes, judged.predicted.scores)
    return estimate(metric, said.scores, calibration, material.threshold(metric)), calibration.needed
