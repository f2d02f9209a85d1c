"""Signs of a broken pipeline: nulls, infinities, constants, changed units, exchanged codes, a column renamed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher

import numpy as np

from tools.check_drift.bins import Summary, counts_by_bin
from tools.check_drift.categorical import CategorySummary
from tools.check_drift.counting import Floats
from tools.check_drift.divergence import divergences
from tools.check_drift.evidence import homogeneity
from tools.check_drift.numeric import NumericSummary

FACTORS = (10.0, 100.0, 1000.0, 1e6, 12.0, 24.0, 60.0, 3600.0, 86400.0, 1024.0, 2.54, 1.609344, 2.20462)
"""Ratios between units: powers of ten, times, bytes, lengths, weights."""

_BOTH_WAYS = (*FACTORS, *(1 / each for each in FACTORS))
_MIDDLE = (0.2, 0.5, 0.8)
_A_THIRD = math.log(4 / 3)
_A_HALF = math.log(3 / 2)
_NULLS = 0.05
_CHANCE = 1e-3
_NEVER = 1e-6
_LIKELY = 0.01
_LEFT = 0.1
_SAME = 0.1
_MOST_CODES = 100
_FREQUENT = 0.05
_SEEN = 10


def pipeline_sign(baseline: Summary, current: Summary | None) -> str | None:
    """What about a column smells of a broken pipeline, None for nothing."""
    if current is None or (current.rows and current.nulls == current.rows and baseline.nulls < baseline.rows):
        return "missing"
    nulls = current.nulls / max(current.rows, 1) - baseline.nulls / max(baseline.rows, 1)
    if nulls > _NULLS:
        return f"{nulls:+.0%} nulls"
    if isinstance(baseline, NumericSummary) and isinstance(current, NumericSummary):
        infinite = _infinite(current) - _infinite(baseline)
        if infinite > _NULLS:
            return f"{infinite:+.0%} infinite values"
        if current.finite > 1 and current.minimum == current.maximum and not _usual(baseline, current):
            return f"constant {current.minimum:g}"
        return unit_sign(baseline, current)
    if isinstance(baseline, CategorySummary) and isinstance(current, CategorySummary):
        return _code_sign(baseline, current)
    return "type changed"


def unit_sign(baseline: Summary, current: Summary) -> str | None:
    """That a numeric column came in another unit, None where it did not."""
    if not isinstance(baseline, NumericSummary) or not isinstance(current, NumericSummary):
        return None
    factor = unit_factor(baseline, current)
    return f"unit changed by a factor of {factor:g}" if factor else None


def unit_factor(baseline: NumericSummary, current: NumericSummary) -> float | None:
    """The factor between units by which the whole distribution was scaled, None for none.

    Either all quartiles moved by it alike: to within 5%, or for factors of ten and more twice the standard error of a
    quartile (about 1.25 σ/√n), at most 25%. Or the values moved besides, then the nearest factor of ten and more by
    which they are `_rescaled`.
    """
    quartiles, middle = _quantiles(baseline, current, (0.25, 0.5, 0.75)), _quantiles(baseline, current, _MIDDLE)
    before, after = middle[1]
    sizes = sorted(_BOTH_WAYS, key=lambda factor: _off(before, after, factor)) if before * after > 0 else []
    exact = (factor for factor in _BOTH_WAYS if _exactly_scaled(quartiles, factor, current.finite))
    return next(exact, None) or next((factor for factor in sizes if _rescaled(middle, factor, current.finite)), None)


def _exactly_scaled(quartiles: Sequence[tuple[float, float]], factor: float, rows: int) -> bool:
    moved = [each for each in quartiles if any(each)]
    if len(moved) < 2 or not all(before * after > 0 for before, after in moved):
        return False
    sigma = (quartiles[2][0] - quartiles[0][0]) / 1.35 / (abs(quartiles[1][0]) or math.inf)
    error = min(2 * 1.25 * sigma / math.sqrt(rows), 0.25) if _is_far(factor) else 0.0
    return all(abs(after / before / factor - 1) < max(error, 0.05) for before, after in moved)


def _rescaled(points: Sequence[tuple[float, float]], factor: float, rows: int) -> bool:
    """Whether the values moved far beyond where they lay, by about this factor, and their spread with them.

    Beyond: three fifths of them now lie farther from zero than three fifths did, or nearer. By about: the middle to
    within a third (an eighth of the logarithm of ten), the outer points to within a half, besides twice the standard
    error of such a quantile (about 1.4 σ/√n, at most 1/8); and the spread on either side of the middle is at least
    three times as near to the factor as to what it was, as logarithms. What the world adds leaves the spread as it
    is, and counts that grow spread by the square root.
    """
    if not _is_far(factor) or any(before * after <= 0 for before, after in points):
        return False
    (low, now_low), (middle, now), (high, now_high) = points
    if low * high <= 0 or now_low * now_high <= 0:
        return False
    before, after = sorted((abs(low), abs(high))), sorted((abs(now_low), abs(now_high)))
    apart = after[0] > before[1] if factor > 1 else after[1] < before[0]
    widths = [(high - low, now_high - now_low), (middle - low, now - now_low), (high - middle, now_high - now)]
    if not apart or min(widths[0]) <= 0:
        return False
    error = 2 * 1.4 * (high - low) / 1.68 / math.sqrt(rows)
    return all(
        _off(*each, factor) < allowed + min(error / abs(each[0]), 0.125)
        for each, allowed in zip(points, (_A_HALF, _A_THIRD, _A_HALF), strict=True)
    ) and all(_off(*each, factor) < abs(math.log(factor)) / 4 for each in widths if min(each) > 0)


def _off(before: float, after: float, factor: float) -> float:
    """How far from `factor` the ratio of two numbers of one sign is, as logarithms."""
    return abs(math.log(abs(after)) - math.log(abs(before)) - math.log(factor))


def _is_far(factor: float) -> bool:
    """Neighbours among smaller factors are too close to be told apart, and the world may well move as much."""
    return abs(math.log10(factor)) >= 1


def _quantiles(
    baseline: NumericSummary, current: NumericSummary, levels: tuple[float, float, float]
) -> list[tuple[float, float]]:
    """Both sides' quantiles; mean and mean ± σ where the current values are too close for the histogram to part them.

    Bins are as wide as far from the centre, the baseline's: what was divided by 1000 may lie in one.
    """
    bin_width = abs(current.quantile(0.5) - current.centre) / 512
    if current.std < 20 * bin_width:
        return [(baseline.mean + k * baseline.std, current.mean + k * current.std) for k in (-1, 0, 1)]
    return [(baseline.quantile(q), current.quantile(q)) for q in levels]


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
        if divergences(before, after).psi - noise < _SAME:
            alike.append(name)
    return max(alike, key=lambda name: SequenceMatcher(None, missing, name).ratio(), default=None)


def _infinite(summary: NumericSummary) -> float:
    return (summary.neg_inf + summary.pos_inf) / max(summary.rows, 1)


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
    if renamed := _renamed(baseline, current):
        return f"{renamed[0]!r} came as {renamed[1]!r}, as often"
    if len(baseline.counts) > 1 and len(current.counts) == 1:
        (name,) = current.counts
        if (baseline.counts.get(name, 0) / max(baseline.rows, 1)) ** present < _CHANCE:
            return f"constant {name}"
    return None


def _renamed(baseline: CategorySummary, current: CategorySummary) -> tuple[str, str] | None:
    """A category that is gone and a new one in its place, with a share that chance explains; None for none.

    Only of what was frequent: of a rare one that is gone, any other rare one has the share.
    """
    if baseline.other or current.other:
        return None
    rows, now = baseline.rows, current.rows
    gone = [name for name, n in baseline.counts.items() if name not in current.counts and n > _FREQUENT * rows]
    new = [name for name, n in current.counts.items() if name not in baseline.counts and n > _FREQUENT * now]
    for name in gone if now * _FREQUENT >= _SEEN else ():
        for other in new:
            n, m = baseline.counts[name], current.counts[other]
            if homogeneity(np.array([n, rows - n], float), np.array([m, now - m], float)) > _LIKELY:
                return name, other
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
    return divergences(before, after).total_variation


def _in_order(names: Sequence[str] | set[str] | Mapping[str, int]) -> list[str]:
    """Codes by value where all are numbers, else by name."""
    try:
        return sorted(names, key=float)
    except ValueError:
        return sorted(names)
