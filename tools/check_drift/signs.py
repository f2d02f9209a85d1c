"""Signs of a broken pipeline: nulls, constants, changed units, exchanged codes, a column under another name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

import numpy as np

from tools.check_drift import divergence
from tools.check_drift.bins import Summary, counts_by_bin
from tools.check_drift.categorical import CategorySummary
from tools.check_drift.counting import Floats
from tools.check_drift.divergence import both_shares, total_variation
from tools.check_drift.evidence import homogeneity
from tools.check_drift.numeric import NumericSummary

FACTORS = (10.0, 100.0, 1000.0, 1e6, 12.0, 24.0, 60.0, 3600.0, 86400.0, 1024.0, 2.54, 1.609344, 2.20462)
"""Ratios between units: powers of ten, times, bytes, lengths, weights."""

_NULLS = 0.05
_CHANCE = 1e-3
_NEVER = 1e-6
_LIKELY = 0.01
_LEFT = 0.1
_SAME = 0.1
_MOST_CODES = 100


def pipeline_sign(baseline: Summary, current: Summary | None) -> str | None:
    """What about a column smells of a broken pipeline, None for nothing."""
    if current is None or (current.rows and current.nulls == current.rows and baseline.nulls < baseline.rows):
        return "missing"
    nulls = current.nulls / max(current.rows, 1) - baseline.nulls / max(baseline.rows, 1)
    if nulls > _NULLS:
        return f"{nulls:+.0%} nulls"
    if isinstance(baseline, NumericSummary) and isinstance(current, NumericSummary):
        if current.finite > 1 and current.minimum == current.maximum and not _usual(baseline, current):
            return f"constant {current.minimum:g}"
        factor = unit_factor(baseline, current)
        return f"unit changed by a factor of {factor:g}" if factor else None
    if isinstance(baseline, CategorySummary) and isinstance(current, CategorySummary):
        return _code_sign(baseline, current)
    return "type changed"


def unit_factor(baseline: NumericSummary, current: NumericSummary) -> float | None:
    """The factor between units by which all quartiles moved alike, None where they did not.

    Alike: to within 5%, or for factors of ten and more twice the standard error of a quartile (about 1.25 σ/√n), at
    most 25%: neighbours among smaller factors are too close to be told apart in a small window.
    """
    quartiles = [(baseline.quantile(q), current.quantile(q)) for q in (0.25, 0.5, 0.75)]
    ratios = [after / before for before, after in quartiles if before and after and math.isfinite(after / before)]
    if len(ratios) < 2 or min(ratios) <= 0:
        return None
    sigma = (quartiles[2][0] - quartiles[0][0]) / 1.35 / (abs(quartiles[1][0]) or math.inf)
    error = min(2 * 1.25 * sigma / math.sqrt(current.finite), 0.25)
    for factor in (*FACTORS, *(1 / each for each in FACTORS)):
        allowed = max(error, 0.05) if abs(math.log10(factor)) >= 1 else 0.05
        if all(abs(ratio / factor - 1) < allowed for ratio in ratios):
            return factor
    return None


def likely_name(missing: str, baseline: Summary, candidates: Mapping[str, Summary]) -> str | None:
    """The new column that holds what `missing` held: distributed as its baseline, the most alike in name if several.

    Distributed alike: PSI below 0.1 beyond what sampling adds, (bins − 1)(1/n + 1/m).
    """
    alike = []
    for name, summary in candidates.items():
        if type(summary) is not type(baseline) or summary.nulls == summary.rows:
            continue
        before, after = counts_by_bin(baseline, summary)
        noise = (len(before) - 1) * (1 / max(baseline.rows, 1) + 1 / max(summary.rows, 1))
        if divergence.psi(*both_shares(before, after)) - noise < _SAME:
            alike.append(name)
    return max(alike, key=lambda name: SequenceMatcher(None, missing, name).ratio(), default=None)


def _usual(baseline: NumericSummary, current: NumericSummary) -> bool:
    """Whether so many equal values are no surprise: the baseline is constant, or almost."""
    share = float(baseline.counts.max()) / baseline.finite if baseline.finite else 1.0
    return baseline.minimum == baseline.maximum or share**current.finite > _CHANCE


def _code_sign(baseline: CategorySummary, current: CategorySummary) -> str | None:
    present = max(current.rows - current.nulls, 1)
    if shift := _code_shift(baseline, current):
        return f"codes shifted by {shift:+d}: each value stands where its neighbour stood"
    strange = sum(count for name, count in current.counts.items() if name not in baseline.counts)
    if not baseline.other and strange > 0.5 * present:
        return f"codes changed: {strange / current.rows:.0%} of the values were never seen"
    if len(baseline.counts) > 1 and len(current.counts) == 1:
        (name,) = current.counts
        if (baseline.counts.get(name, 0) / max(baseline.rows, 1)) ** present < _CHANCE:
            return f"constant {name}"
    return None


def _code_shift(baseline: CategorySummary, current: CategorySummary) -> int | None:
    """By how many places, in sorted order, all categories were exchanged for their neighbours; None for not at all.

    The shift must explain what chance cannot: the shares as they stand could come from the baseline's with a
    probability below one in a million, those shifted back with one above 1%, or a tenth of the difference is left. Two
    categories that trade places may be the world's doing, so three are needed.
    """
    if not 3 <= len(baseline.counts) <= _MOST_CODES or baseline.other or current.other:
        return None
    order = _in_order({*baseline.counts, *current.counts})
    before = np.array([float(baseline.counts.get(name, 0)) for name in order])
    after = np.array([float(current.counts.get(name, 0)) for name in order])
    if homogeneity(before, after) > _NEVER:
        return None
    for shift in sorted((n for n in range(-(len(order) // 2), len(order) // 2 + 1) if n), key=abs):
        moved = np.roll(before, shift)
        if homogeneity(moved, after) > _LIKELY or _apart(moved, after) < _LEFT * _apart(before, after):
            return shift
    return None


def _apart(before: Floats, after: Floats) -> float:
    return total_variation(*both_shares(before, after))


def _in_order(names: Sequence[str] | set[str] | Mapping[str, int]) -> list[str]:
    """Codes by value where all are numbers, else by name."""
    try:
        return sorted(names, key=float)
    except ValueError:
        return sorted(names)
