"""Distributions of drifted features: baseline and current window over common bins, for looking at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.report.model import Distribution, DistributionKind, DriftCheck, DriftReport
from policies.declarations import Severity
from policies.errors import GuardianError

if TYPE_CHECKING:
    import pandas as pd

    from tools.systems.systems import Systems

BINS = 24
MOST_FEATURES = 9
_TAIL = 0.005
_MOST_WHOLE_NUMBERS = 30


def drifted_distributions(systems: Systems, model: str, report: DriftReport) -> tuple[Distribution, ...]:
    """The features a report found drifted, furthest first. Empty where their rows cannot be read any more."""
    from tools.systems import datasets

    monitor = systems.operations.drift_monitors.get(report.monitor)
    worst = _worst_by_feature(report)
    if not worst or monitor is None or report.window_start is None or report.window_end is None:
        return ()
    try:
        binding = systems.operations.model(model)
        there = set(systems.warehouse.columns(binding.table)) & set(systems.warehouse.columns(monitor.baseline.dataset))
        chosen = [name for name in worst if name in there and name in binding.features.names]
        before: pd.DataFrame = systems.warehouse.read(monitor.baseline.dataset, chosen).to_pandas()
        now = datasets.window(systems, model, report.window_start, report.window_end, chosen)
    except GuardianError:
        return ()
    return tuple(
        distribution_of(
            before[name],
            now[name],
            categorical=name in binding.features.categorical,
            psi=worst[name].value if worst[name].method == "psi" else None,
            severity=worst[name].severity,
        )
        for name in chosen
        if before[name].notna().any() and now[name].notna().any()
    )


def distribution_of(
    baseline: pd.Series,
    current: pd.Series,
    *,
    categorical: bool,
    psi: float | None = None,
    severity: Severity = Severity.ok,
) -> Distribution:
    """Shares of two columns of one name over common bins. Missing values are a category, and no number.

    Numbers: 24 equal bins (one a value where they are few whole numbers) over the middle 99% of both columns; the tails
    are counted in the outermost bins.
    """
    name = str(baseline.name)
    if categorical:
        return _of_categories(name, baseline, current, psi, severity)
    return _of_numbers(name, baseline, current, psi, severity)


def _of_numbers(
    name: str, baseline: pd.Series, current: pd.Series, psi: float | None, severity: Severity
) -> Distribution:
    import numpy as np

    sides = [side.dropna().to_numpy(dtype=float) for side in (baseline, current)]
    before, now = (side[np.isfinite(side)] for side in sides)
    low = min(float(np.quantile(side, _TAIL)) for side in (before, now) if len(side))
    high = max(float(np.quantile(side, 1 - _TAIL)) for side in (before, now) if len(side))
    whole = all(np.array_equal(side, np.round(side)) for side in (before, now))
    if whole and high - low < _MOST_WHOLE_NUMBERS:
        edges = np.arange(low - 0.5, high + 1.0)
    else:
        edges = np.linspace(low, high if high > low else low + 1.0, BINS + 1)
    shares = []
    for side in (before, now):
        counted, _ = np.histogram(np.clip(side, edges[0], edges[-1]), edges)
        shares.append(tuple((counted / max(len(side), 1)).tolist()))
    return Distribution(
        feature=name,
        kind=DistributionKind.numeric,
        edges=tuple(edges.tolist()),
        baseline=shares[0],
        current=shares[1],
        psi=psi,
        severity=severity,
    )


def _of_categories(
    name: str, baseline: pd.Series, current: pd.Series, psi: float | None, severity: Severity
) -> Distribution:
    before, now = (side.astype(object).fillna("(missing)").value_counts(normalize=True) for side in (baseline, current))
    names = sorted({*before.index, *now.index}, key=lambda each: (-float(before.get(each, 0.0)), str(each)))
    return Distribution(
        feature=name,
        kind=DistributionKind.categorical,
        categories=tuple(str(each) for each in names),
        baseline=tuple(float(before.get(each, 0.0)) for each in names),
        current=tuple(float(now.get(each, 0.0)) for each in names),
        psi=psi,
        severity=severity,
    )


def _worst_by_feature(report: DriftReport) -> dict[str, DriftCheck]:
    """The worst finding on each feature, those with the largest value first, at most MOST_FEATURES."""
    found: dict[str, DriftCheck] = {}
    kinds = ("data_drift", "feature_drift")
    for check in report.checks:
        if check.type in kinds and check.severity in (Severity.warning, Severity.critical):
            known = found.get(check.subject)
            if known is None or check.severity.rank > known.severity.rank:
                found[check.subject] = check
    order = sorted(found.items(), key=lambda pair: (-pair[1].severity.rank, -(pair[1].value or 0.0)))
    return dict(order[:MOST_FEATURES])
