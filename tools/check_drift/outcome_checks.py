"""Prediction, label and concept drift: what the model says, what was true, and how well the two agree."""

from __future__ import annotations

from datetime import datetime

import numpy as np

from policies.declarations import Severity
from policies.declarations.drift import ConceptDrift, DriftType, LabelDrift, PredictionDrift
from tools.check_drift.comparison import compare
from tools.check_drift.evidence import homogeneity
from tools.check_drift.feature_checks import FEWEST_ROWS, statistic, too_few
from tools.check_drift.material import SCORE, Material
from tools.check_drift.performance import FEWEST_OF_A_CLASS, Performance, decay, measure
from tools.check_drift.profiles import profile
from tools.check_drift.result import Check, graded
from tools.systems import datasets

_COVERED = 0.9
"""Share of the rows that must have a recorded score for the recorded ones to stand for all."""

_MOST_SCORED = 20_000
"""Labelled rows scored by a check at most, spread evenly over the window: an AUC is then known to within 0.01."""


def check_predictions(declared: PredictionDrift, material: Material, start: datetime, alpha: float) -> list[Check]:
    """The distribution of the champion's scores in the window against its scores of the baseline.

    Recorded scores are used where they cover nine tenths of the window's rows, else the rows are scored now.
    """
    rows = material.rows(start)
    recorded = material.recorded_scores(start)
    if len(recorded) >= max(_COVERED * rows.num_rows, FEWEST_ROWS):
        scores, origin = recorded, "as served"
    else:
        scores, origin = material.score(rows.to_pandas()), "scored now"
    if len(scores) < FEWEST_ROWS:
        return [too_few(DriftType.prediction_drift, declared.method, SCORE, declared.threshold, len(scores))]
    baseline = material.baseline_scores()
    current = profile({SCORE: scores}, like=baseline)
    (change,) = compare(baseline, current)
    value, p_value = statistic(declared.method, change)
    detail = f"version {material.champion()}, {origin}: {change.reason}; {len(scores):,} rows"
    if declared.method == "kl_divergence":
        detail += f"; KL(current ‖ baseline), the reverse is {change.psi - change.kl:.3f}"
    return [
        Check(
            type=DriftType.prediction_drift,
            method=declared.method,
            subject=SCORE,
            value=value,
            threshold=declared.threshold,
            p_value=p_value,
            severity=graded(value, declared.threshold, declared.critical_multiple, p_value, alpha),
            detail=detail,
        )
    ]


def check_labels(declared: LabelDrift, material: Material, start: datetime, alpha: float) -> list[Check]:
    """The share of positive labels that arrived for the window's rows against the baseline's; χ² test of the two."""
    target = material.binding.target
    labelled, known = material.labels(start)
    positives, negatives = material.baseline_shares()
    hits = int(labelled.sum())
    before, after = np.array([positives, negatives], float), np.array([hits, len(labelled) - hits], float)
    if before.sum() < FEWEST_ROWS or after.sum() < FEWEST_ROWS:
        few = f"too few labels: {int(after.sum()):,} in the window, {int(before.sum()):,} in the baseline"
        return [_unknown(DriftType.label_drift, declared.method, target, declared.threshold, few)]
    was, now = before[0] / before.sum(), after[0] / after.sum()
    p_value = homogeneity(before, after)
    value = float(abs(now - was))
    return [
        Check(
            type=DriftType.label_drift,
            method=declared.method,
            subject=target,
            value=value,
            threshold=declared.threshold,
            p_value=p_value,
            severity=graded(value, declared.threshold, declared.critical_multiple, p_value, alpha),
            detail=f"share of positives {was:.2%} → {now:.2%}; {known}",
        )
    ]


def check_concept(declared: ConceptDrift, material: Material, start: datetime, alpha: float) -> list[Check]:
    """The champion's metric over the window's labelled rows against the baseline's; unknown, never ok, on too few."""
    kind = DriftType.concept_drift
    current, known = _performance(declared.metric, material, start)
    if not current.enough:
        rarer = min(current.positives, current.rows - current.positives)
        few = f"not enough labels yet: {rarer} of the rarer class, {FEWEST_OF_A_CLASS} needed; {known}"
        return [_unknown(kind, declared.method, declared.metric, declared.threshold, few)]
    baseline = material.baseline_performance(declared.metric)
    if not baseline.enough:
        few = f"not enough labels in the baseline: {baseline.rows:,}"
        return [_unknown(kind, declared.method, declared.metric, declared.threshold, few)]
    seen = decay(declared.metric, baseline, current)
    severity = graded(seen.drop, declared.threshold, declared.critical_multiple, seen.p_value, alpha)
    detail = (
        f"version {material.champion()}: {declared.metric} {baseline.value:.4f} → {current.value:.4f}, "
        f"drop {seen.drop:.4f} (95% {seen.low:.4f} to {seen.high:.4f}); {known}"
    )
    if severity is Severity.ok and seen.high - seen.drop > declared.threshold:
        severity, detail = Severity.unknown, f"not enough labels to tell a drop of {declared.threshold:g}: {detail}"
    return [
        Check(
            type=kind,
            method=declared.method,
            subject=declared.metric,
            value=seen.drop,
            threshold=declared.threshold,
            p_value=seen.p_value,
            severity=severity,
            detail=detail,
        )
    ]


def _performance(metric: str, material: Material, start: datetime) -> tuple[Performance, str]:
    """Over the window's labelled rows: recorded scores where they cover nine tenths, else the rows are scored now."""
    systems, model = material.systems, material.monitor.model
    labels, known = material.labels(start)
    outcomes, scores = material.recorded_outcomes(start)
    if len(outcomes) < _COVERED * len(labels):
        labelled = datasets.labelled(systems, model, start, material.at, material.at)
        if len(labelled) > _MOST_SCORED:
            labelled = labelled.iloc[np.linspace(0, len(labelled) - 1, _MOST_SCORED).astype(int)]
            known += f", {_MOST_SCORED:,} of them scored now"
        outcomes, scores = labelled[material.binding.target].to_numpy(dtype=np.float64), material.score(labelled)
    return measure(metric, outcomes, scores, material.threshold(metric)), known


def _unknown(kind: DriftType, method: str, subject: str, threshold: float, why: str) -> Check:
    return Check(
        type=kind,
        method=method,
        subject=subject,
        value=None,
        threshold=threshold,
        p_value=None,
        severity=Severity.unknown,
        detail=why,
    )
