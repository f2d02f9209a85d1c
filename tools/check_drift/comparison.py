"""One column against its baseline, and a table against its profile."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from policies.errors import InputError
from tools.check_drift.bins import Summary, counts_by_bin
from tools.check_drift.categorical import CategorySummary
from tools.check_drift.counting import Floats
from tools.check_drift.distance import distances, exact_statistic
from tools.check_drift.divergence import divergences
from tools.check_drift.evidence import DAILY_FALSE_ALARMS, change_p_value, holm, homogeneity, ks_p_value
from tools.check_drift.frames import column_values
from tools.check_drift.numeric import BIN_WIDTH, NumericSummary
from tools.check_drift.profiles import Profile, of_kind, profile

COARSE = 0.05
"""`ks_bound` beyond which nobody can say that a column did not change: of sums of profiles not taken alike."""

_FOLDS = (256, 128, 64, 32, 16, 8, 4, 2)
_ROWS_OF_A_PART = 10
"""Rows of the smaller sample that a part of the names should have."""

_NAN = float("nan")


@dataclass(frozen=True)
class ColumnChange:
    """How one column differs from its baseline.

    `psi`, `js` (distance, base 2), `kl` (of current from baseline, nats), `hellinger` and `total_variation` share the
    bins of `tools.check_drift.bins`. `ks` is exact to within `ks_bound` below; `wasserstein` is in standard deviations
    of the baseline, of the current side where the baseline is constant, and 1 where both are and differ, and NaN where
    bins are too wide to say; all three are of the values that are no nulls, and NaN for categories. `null_change` is
    the absolute change of the share of nulls. `p_value` says whether the column changed at all, whichever statistic is
    then held against a threshold (`tools.check_drift.evidence`); `adjusted_p` is the same corrected over the columns
    compared together. `drifted` is an effect beyond the threshold with evidence beyond noise; `reason` says what
    changed.
    """

    column: str
    kind: str
    psi: float
    js: float
    kl: float
    hellinger: float
    total_variation: float
    ks: float
    ks_bound: float
    wasserstein: float
    null_change: float
    p_value: float
    adjusted_p: float
    drifted: bool
    reason: str
    baseline_rows: int
    current_rows: int


def compare(
    baseline: object,
    current: object,
    *,
    columns: Sequence[str] | None = None,
    threshold: float = 0.2,
    alpha: float = DAILY_FALSE_ALARMS,
    exact_ks: bool = False,
) -> list[ColumnChange]:
    """Changes of the baseline's columns (or of `columns`), the drifted first, then by PSI, worst first.

    Both sides: a Profile, or anything `profile` takes. A column drifted where its PSI is beyond `threshold` and the
    Holm-corrected p-value below `alpha`, the chance of any false alarm in this call. A column that is gone counts as
    all null; one that is new has nothing to be compared with and is left out. `exact_ks` takes the KS statistics from
    the values themselves, for which both sides must be data. Raises InputError for unreadable data and for columns that
    the baseline has not.
    """
    before = profile(baseline)
    names = list(before.columns) if columns is None else list(columns)
    if missing := [name for name in names if name not in before.columns]:
        present = ", ".join(before.columns)
        raise InputError(f"no column {', '.join(map(repr, missing))} in the baseline; present: {present}")
    now = current if isinstance(current, Profile) else profile(current, like=before)
    changes = [compare_column(name, before.columns[name], _present(now, name, before)) for name in names]
    if exact_ks:
        changes = [_with_exact_ks(change, baseline, current) for change in changes]
    adjusted = holm([change.p_value for change in changes])
    judged = [
        ColumnChange(**{**vars(change), "adjusted_p": p, "drifted": change.psi > threshold and p < alpha})
        for change, p in zip(changes, adjusted, strict=True)
    ]
    return sorted(judged, key=lambda change: (not change.drifted, 0.0 if math.isnan(change.psi) else -change.psi))


def compare_column(name: str, baseline: Summary, current: Summary) -> ColumnChange:
    """All statistics of one column; NaN, with p-values of 1, where a side has no rows."""
    kind = "numeric" if isinstance(baseline, NumericSummary) else "categorical"
    before, after = counts_by_bin(baseline, current)
    if baseline.rows == 0 or current.rows == 0:
        reason = "no rows in the " + ("baseline" if baseline.rows == 0 else "current window")
        return ColumnChange(
            name, kind, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, _NAN, 1.0, 1.0, False, reason,
            baseline.rows, current.rows,
        )  # fmt: skip
    found = divergences(before, after)
    ks = bound = distance = _NAN
    if isinstance(baseline, NumericSummary) and isinstance(current, NumericSummary):
        measured = distances(baseline, current)
        ks, bound, distance = measured.ks, measured.ks_bound, _in_deviations(measured.wasserstein, baseline, current)
        by_ks = ks_p_value(ks, baseline.rows - baseline.nulls, current.rows - current.nulls)
        p_value = change_p_value(before, after, by_ks)
    elif isinstance(baseline, CategorySummary) and isinstance(current, CategorySummary):
        p_value = _p_value(baseline, current)
    else:
        p_value = homogeneity(before, after)
    return ColumnChange(
        column=name,
        kind=kind,
        psi=found.psi,
        js=found.js,
        kl=found.kl,
        hellinger=found.hellinger,
        total_variation=found.total_variation,
        ks=ks,
        ks_bound=bound,
        wasserstein=distance,
        null_change=abs(current.nulls / current.rows - baseline.nulls / baseline.rows),
        p_value=p_value,
        adjusted_p=1.0,
        drifted=False,
        reason=describe(baseline, current),
        baseline_rows=baseline.rows,
        current_rows=current.rows,
    )


def _in_deviations(distance: float, baseline: NumericSummary, current: NumericSummary) -> float:
    """A distance in the baseline's standard deviations; in the other side's where the baseline has none.

    NaN where a bin, as far from the centre as the values lie, is wider than a tenth of that.
    """
    if distance == 0:
        return 0.0
    deviation = baseline.std or current.std
    if not deviation:
        return 1.0
    return distance / deviation if abs(baseline.mean - baseline.centre) * BIN_WIDTH <= deviation / 10 else _NAN


def _p_value(baseline: CategorySummary, current: CategorySummary) -> float:
    """p-value that categories did not change: by their names, and where there are more than are kept by parts of all
    names too, chosen by hash: by name nothing is known of a column of thousands that are about as frequent.
    """
    by_name = homogeneity(*_evidence_counts(baseline, current))
    if not baseline.other and not current.other:
        return by_name
    parts = [each.by_part for each in (baseline, current)]
    if None in parts:
        return by_name
    rows = min(baseline.rows - baseline.nulls, current.rows - current.nulls)
    fold = next((each for each in _FOLDS if rows >= each * _ROWS_OF_A_PART), 1)
    sides = [
        np.append(np.array(each, dtype=np.float64).reshape(fold, -1).sum(axis=1), side.nulls)
        for each, side in zip(parts, (baseline, current), strict=True)
    ]
    return min(1.0, 2 * min(by_name, homogeneity(*sides)))


def _evidence_counts(baseline: CategorySummary, current: CategorySummary) -> tuple[Floats, Floats]:
    """Counts of both sides by every category either names, then the overflow, then nulls.

    The bins of the PSI will not do: what the baseline has not seen is empty there by selection, and of many rare
    categories some are always new. So are those kept by name rarer in the next sample, chosen for being frequent in
    one: where a side overflowed, only categories expected five standard deviations above its rarest kept one stand
    alone, the others count with the overflow.
    """
    names = [*baseline.counts, *(name for name in current.counts if name not in baseline.counts)]
    sides = [
        np.array([*(side.counts.get(name, 0) for name in names), side.other, side.nulls], dtype=np.float64)
        for side in (baseline, current)
    ]
    together = (sides[0] + sides[1]) / (baseline.rows + current.rows)
    doubtful = np.zeros(len(together), dtype=bool)
    for side in (baseline, current):
        if side.other and side.counts:
            rarest = min(side.counts.values())
            doubtful |= together * side.rows < rarest + 5 * math.sqrt(rarest)
    if doubtful.any():
        doubtful[-2:] = True, False
        sides = [np.append(side[~doubtful], side[doubtful].sum()) for side in sides]
    return sides[0], sides[1]


def describe(baseline: Summary, current: Summary) -> str:
    """What changed most visibly, in a few words with numbers."""
    said = []
    if type(baseline) is not type(current):
        kinds = ["numeric" if isinstance(side, NumericSummary) else "categorical" for side in (baseline, current)]
        said.append(f"type changed from {kinds[0]} to {kinds[1]}")
    before, after = baseline.nulls / max(baseline.rows, 1), current.nulls / max(current.rows, 1)
    if abs(after - before) > 0.01:
        said.append(f"nulls {before:.1%} → {after:.1%}")
    if isinstance(baseline, NumericSummary) and isinstance(current, NumericSummary):
        if current.finite and current.minimum == current.maximum and baseline.minimum < baseline.maximum:
            said.append(f"constant {current.minimum:g}")
        elif current.finite and baseline.finite:
            medians = f"median {baseline.quantile(0.5):.4g} → {current.quantile(0.5):.4g}"
            said.append(f"mean {baseline.mean:.4g} → {current.mean:.4g}, {medians}")
        infinities = current.pos_inf + current.neg_inf
        if infinities and not baseline.pos_inf + baseline.neg_inf:
            said.append(f"{infinities} infinite values")
    elif isinstance(baseline, CategorySummary) and isinstance(current, CategorySummary):
        said += _describe_categories(baseline, current)
    return "; ".join(said) or "no visible change"


def _describe_categories(baseline: CategorySummary, current: CategorySummary) -> list[str]:
    said = []
    if not baseline.other:
        new = [name for name in current.counts if name not in baseline.counts]
        if new:
            share = sum(current.counts[name] for name in new) / current.rows
            said.append(f"new categories {', '.join(new[:3])}{' …' if len(new) > 3 else ''} ({share:.1%})")
    gone = [name for name in baseline.counts if name not in current.counts]
    if gone and not current.other:
        share = sum(baseline.counts[name] for name in gone) / max(baseline.rows, 1)
        if share * current.rows > 10:
            said.append(f"vanished {', '.join(gone[:3])}{' …' if len(gone) > 3 else ''} (were {share:.1%})")
    rows, baseline_rows = current.rows, baseline.rows
    moves = {
        name: current.counts.get(name, 0) / rows - count / baseline_rows for name, count in baseline.counts.items()
    }
    if moves:
        name = max(moves, key=lambda each: abs(moves[each]))
        before = baseline.counts[name] / baseline_rows
        said.append(f"{name} {before:.1%} → {before + moves[name]:.1%}")
    return said


def _with_exact_ks(change: ColumnChange, baseline: object, current: object) -> ColumnChange:
    if math.isnan(change.ks):
        return change
    before, after = (column_values(side, change.column) for side in (baseline, current))
    return replace(change, ks=exact_statistic(before, after), ks_bound=0.0)


def _present(now: Profile, name: str, before: Profile) -> Summary:
    return now.columns.get(name) or of_kind(CategorySummary({}, 0, now.rows), before.columns[name])
