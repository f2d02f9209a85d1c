"""What a monitor of the fifty features would say in a day of looks: by evidence alone and with declared thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from evals.benchmarks.calm.columns import Stationary
from tools.check_drift import Profile, compare
from tools.check_drift.evidence import DAILY_FALSE_ALARMS
from tools.check_drift.feature_checks import statistic
from tools.check_drift.spending import share_of_day

THRESHOLDS = {"psi": 0.2, "ks": 0.1, "js": 0.1, "kl_divergence": 0.1, "hellinger": 0.1, "wasserstein": 0.1}
"""Declared thresholds as in common use; the last in standard deviations."""


@dataclass(frozen=True)
class Said:
    """Whether anything was called drifted: by evidence alone; by method with its threshold; by the threshold alone."""

    evidence: bool
    both: frozenset[str]
    threshold: frozenset[str]


def look(baseline: Profile, current: Profile, alpha: float) -> Said:
    """One check of all features at a false-alarm rate of `alpha`."""
    changes = compare(baseline, current)
    both, alone = set(), set()
    for method, threshold in THRESHOLDS.items():
        beyond = [change for change in changes if statistic(method, change) > threshold]
        if beyond:
            alone.add(method)
        if any(change.adjusted_p < alpha for change in beyond):
            both.add(method)
    evidence = any(change.adjusted_p < alpha for change in changes)
    return Said(evidence, frozenset(both), frozenset(alone))


def day(columns: Stationary, rows: int, looks: int) -> Said:
    """A baseline of `rows` rows and `looks` checks of as many new rows each: what any of them said."""
    baseline = columns.profile(rows)
    said = [
        look(baseline, columns.profile(rows), DAILY_FALSE_ALARMS * share_of_day(looks, before))
        for before in range(looks)
    ]
    return together(said)


def together(said: Sequence[Said]) -> Said:
    """What any of several looks said."""
    return Said(
        any(each.evidence for each in said),
        frozenset().union(*(each.both for each in said)),
        frozenset().union(*(each.threshold for each in said)),
    )
