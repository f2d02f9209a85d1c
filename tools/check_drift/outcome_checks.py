"""Prediction, label and concept drift: what the model says, what was true, and how well the two agree."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from policies.declarations import Severity
from policies.declarations.drift import ConceptDrift, DriftType, LabelDrift, PredictionDrift
from tools.check_drift.categorical import CategorySummary
from tools.check_drift.comparison import compare
from tools.check_drift.evidence import homogeneity
from tools.check_drift.feature_checks import FEWEST_ROWS, of_column, too_few
from tools.check_drift.material import Material
from tools.check_drift.outcomes import (
    COVERED,
    arrived,
    baseline_outcomes,
    baseline_performance,
    judged,
    measured,
    outcome_profile,
)
from tools.check_drift.performance import Performance, decay
from tools.check_drift.profiles import Profile, profile
from tools.check_drift.result import Check, graded
from tools.tasks.predicted import LABEL, SCORE


def check_predictions(declared: PredictionDrift, material: Material, start: datetime, alpha: float) -> list[Check]:
    """What the champion says in the window against what it says of the baseline.

    One check of the scores of a binary model or the values of a regression; of several classes one of the class
    foretold and one of its probability. `kl_divergence` is KL(window ‖ baseline), in nats, and the detail gives the
    reverse as well. Recorded predictions are used where they cover nine tenths of the window's rows, else the rows are
    scored now.
    """
    rows = material.row_count(start)
    said, origin = material.recorded(start), "as served"
    if material.elsewhere:
        origin = f"recorded for {len(said):,} of {rows:,} rows"
    elif len(said) < max(COVERED * rows, FEWEST_ROWS):
        said, origin = material.predict(material.rows(start).to_pandas()), "scored now"
    baseline = material.baseline_scores()
    if min(len(said), baseline.rows) < FEWEST_ROWS:
        few = len(said), baseline.rows
        return [too_few(DriftType.prediction_drift, declared.method, SCORE, declared.threshold, *few)]
    current = profile(said.columns(), like=baseline)
    about = f"version {material.champion()}, {origin}: "
    return _distributions(DriftType.prediction_drift, declared, baseline, current, alpha, about)


def check_labels(declared: LabelDrift, material: Material, start: datetime, alpha: float) -> list[Check]:
    """Labels that arrived for the window's rows against the baseline's.

    `class_balance`: the largest change of a class's share, with the χ² test of all shares. Other methods: the statistic
    over the classes, or over the values of a regression.
    """
    target = material.binding.target
    outcomes, known = arrived(material, start)
    baseline = baseline_outcomes(material)
    current = outcome_profile(material, outcomes, baseline)
    if min(current.rows, baseline.rows) < FEWEST_ROWS:
        few = f"too few labels: {current.rows:,} in the window, {baseline.rows:,} in the baseline; {known}"
        return [unknown(DriftType.label_drift, declared.method, target, declared.threshold, few)]
    if declared.method == "class_balance":
        return [_class_balance(declared, target, baseline, current, alpha, known)]
    return _distributions(DriftType.label_drift, declared, baseline, current, alpha, "", f"; {known}")


def check_concept(declared: ConceptDrift, material: Material, start: datetime, alpha: float) -> list[Check]:
    """The champion's metric over the window's labelled rows against the baseline's; unknown, never ok, on too few."""
    metric = declared.metric or ""
    rows, known = judged(material, start, metric)
    current = measured(material, metric, rows)
    if not current.enough:
        few = f"not enough labels yet: {current.wanting or f'{metric} is undefined'}; {known}"
        return [unknown(DriftType.concept_drift, declared.method, metric, declared.threshold, few)]
    baseline = baseline_performance(material, metric)
    if not baseline.enough:
        few = f"not enough labels in the baseline: {baseline.rows:,}"
        return [unknown(DriftType.concept_drift, declared.method, metric, declared.threshold, few)]
    about = f"version {material.champion()}: "
    return [decayed(declared, baseline, current, alpha, about, known, "not enough labels")]


def decayed(
    declared: ConceptDrift,
    baseline: Performance,
    current: Performance,
    alpha: float,
    about: str,
    known: str,
    wanting: str,
) -> Check:
    """The check of a metric that may have dropped; unknown where `wanting` leaves its interval too wide to tell."""
    metric = declared.metric or ""
    seen = decay(metric, baseline, current)
    severity = graded(seen.drop, declared.threshold, declared.critical_multiple, seen.p_value, alpha)
    detail = (
        f"{about}{metric} {baseline.value:.4f} → {current.value:.4f}, "
        f"drop {seen.drop:.4f} (95% {seen.low:.4f} to {seen.high:.4f}); {known}"
    )
    if severity is Severity.ok and seen.high - seen.drop > declared.threshold:
        severity, detail = Severity.unknown, f"{wanting} to tell a drop of {declared.threshold:g}: {detail}"
    return Check(
        type=DriftType.concept_drift,
        method=declared.method,
        subject=metric,
        value=seen.drop,
        threshold=declared.threshold,
        p_value=seen.p_value,
        severity=severity,
        detail=detail,
    )


def _distributions(
    kind: DriftType,
    declared: PredictionDrift | LabelDrift,
    baseline: Profile,
    current: Profile,
    alpha: float,
    before: str,
    after: str = "",
) -> list[Check]:
    """A check of each column the two profiles have, p-values corrected over them."""
    checks = []
    for change in compare(baseline, current):
        detail = f"{before}{change.reason}; {change.current_rows:,} rows{after}"
        if declared.method == "kl_divergence":
            detail += f"; KL(current ‖ baseline), the reverse is {change.psi - change.kl:.3f}"
        checks.append(of_column(kind, declared, change, alpha, detail))
    return sorted(
        checks, key=lambda check: [LABEL, SCORE].index(check.subject) if check.subject in (LABEL, SCORE) else 0
    )


def _class_balance(
    declared: LabelDrift, target: str, baseline: Profile, current: Profile, alpha: float, known: str
) -> Check:
    """The class whose share changed most, and the test that all shares are the same."""
    sides = [side.columns[target] for side in (baseline, current)]
    counts = [each.counts if isinstance(each, CategorySummary) else {} for each in sides]
    names = sorted(set(counts[0]) | set(counts[1]))
    before, after = (np.array([side.get(name, 0) for name in names], dtype=np.float64) for side in counts)
    was, now = before / before.sum(), after / after.sum()
    most = _shown_class(names, np.abs(now - was).tolist())
    p_value = homogeneity(before, after)
    value = float(abs(now - was)[most])
    shown = "share of positives" if set(names) <= {"0", "1"} else f"share of class {names[most]}"
    return Check(
        type=DriftType.label_drift,
        method=declared.method,
        subject=target,
        value=value,
        threshold=declared.threshold,
        p_value=p_value,
        severity=graded(value, declared.threshold, declared.critical_multiple, p_value, alpha),
        detail=f"{shown} {was[most]:.2%} → {now[most]:.2%}; {known}",
    )


def _shown_class(names: Sequence[str], changes: Sequence[float]) -> int:
    """The place of the class that changed most; of two equal ones the last, which is the positive of 0 and 1."""
    return max(range(len(names)), key=lambda i: (round(changes[i], 12), i))


def unknown(kind: DriftType, method: str, subject: str, threshold: float, why: str) -> Check:
    """A check of outcomes that could not be judged, and why."""
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
