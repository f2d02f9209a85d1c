"""Which features the champion looks at, and how much of the change of its scores the drift of each explains."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tools.check_drift.counting import Floats
from tools.check_drift.evidence import ks_p_value

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Score = Callable[["pd.DataFrame"], Floats]
"""The champion's scores of rows that have its features."""

_SCORED = 200_000
_FEWEST = 200
MOST = 2_000
"""Rows scored at most of each side."""
_CHANCE = 0.01


def sample_size(columns: int) -> int:
    """Rows enough for importances, few enough that permuting every column in turn costs at most 200,000 scores."""
    return int(np.clip(_SCORED // max(columns, 1), _FEWEST, MOST))


def spread(rows: pa.Table, most: int) -> pa.Table:
    """At most `most` of the rows, evenly over their order; the same ones every time."""
    return rows.take(np.unique(np.linspace(0, rows.num_rows - 1, min(most, rows.num_rows)).astype(np.int64)))


def importances(score: Score, rows: pd.DataFrame, names: Sequence[str]) -> dict[str, float]:
    """Share of each feature in what moves the scores when features are permuted in turn; sums to 1 (or all are 0).

    A feature's importance is the root mean square change of the score when its column alone is shuffled (seeded), so
    that no labels are needed. Source: L. Breiman, Random Forests (2001); A. Fisher, C. Rudin & F. Dominici, All Models
    are Wrong, but Many are Useful (JMLR, 2019), with the model's own scores as the outcomes.
    """
    random = np.random.default_rng(20)
    before = score(rows)
    moved = {}
    for name in names:
        shuffled = rows.assign(**{name: rows[name].to_numpy()[random.permutation(len(rows))]})
        moved[name] = float(np.sqrt(np.mean((score(shuffled) - before) ** 2)))
    whole = sum(moved.values())
    return {name: value / whole if whole > 0 else 0.0 for name, value in moved.items()}


def explained(
    score: Score, baseline: pd.DataFrame, current: pd.DataFrame, names: Sequence[str], categorical: Sequence[str]
) -> dict[str, float] | None:
    """Share of the change of the scores' distribution that the drift of each of `names` explains; None for no change.

    The change is the Wasserstein-1 distance W between the scores of baseline and window. A feature's drift is swapped
    into the baseline's rows by mapping its values, rank by rank, to the window's quantiles (categories: as few rows as
    need be change theirs), which leaves its relations to the others as they were. What a set of features explains is
    the part of W that then vanishes; a feature's share is its Shapley value, from the order given and its reverse.
    Shares sum to at most 1; what is missing from 1 are other features and changed relations; a share below 0 works
    against the change. None for no change (Kolmogorov-Smirnov p >= 0.01) or scores that are no numbers.
    Source: L. Shapley (1953); R. Mitchell et al., Sampling Permutations for Shapley Value Estimation (JMLR, 2022), on
    antithetic orders.
    """
    before, now = score(baseline), score(current)
    whole = _distance(before, now)
    if not whole > 0 or ks_p_value(_ks(before, now), len(before), len(now)) >= _CHANCE:
        return None
    mapped = {
        name: (_as_shares if name in categorical else _as_quantiles)(baseline[name], current[name]) for name in names
    }
    shares = dict.fromkeys(names, 0.0)
    for order in (names, names[::-1]):
        rows, left = baseline, whole
        for name in order:
            rows = rows.assign(**{name: mapped[name]})
            reached = _distance(score(rows), now)
            shares[name] += (left - reached) / whole / 2
            left = reached
    return shares if all(map(math.isfinite, shares.values())) else None


def _as_quantiles(baseline: pd.Series[Any], current: pd.Series[Any]) -> Floats:
    """The baseline's rows with the window's values of the same rank; nulls rank last on both sides."""
    values = np.sort(current.to_numpy(dtype=np.float64, na_value=np.nan))
    column = baseline.to_numpy(dtype=np.float64, na_value=np.nan)
    ranks = np.empty(len(column), dtype=np.int64)
    ranks[np.argsort(column, kind="stable")] = np.arange(len(column))
    mapped: Floats = values[((ranks + 0.5) * len(values) / len(column)).astype(np.int64)]
    return mapped


def _as_shares(baseline: pd.Series[Any], current: pd.Series[Any]) -> NDArray[Any]:
    """The baseline's rows with categories in the window's shares; rows that must change theirs are drawn (seeded)."""
    random = np.random.default_rng(20)
    column = baseline.astype(object).where(baseline.notna(), None).to_numpy(dtype=object).copy()
    now = current.astype(object).where(current.notna(), None).to_list()
    wanted = _apportioned(Counter(now), len(column))
    surplus: list[int] = []
    for category, count in Counter(column.tolist()).items():
        held = np.flatnonzero([value == category for value in column])
        kept = min(count, wanted.get(category, 0))
        surplus += random.permutation(held)[kept:].tolist()
        wanted[category] = wanted.get(category, 0) - kept
    given: list[object] = [category for category, count in wanted.items() for _ in range(count)]
    for place, category in zip(random.permutation(surplus).tolist(), given, strict=True):
        column[place] = category
    return column


def _apportioned(counts: Mapping[Any, int], rows: int) -> dict[Any, int]:
    """`rows` in proportion to the counts, by largest remainders."""
    size = sum(counts.values())
    exact = {name: count * rows / size for name, count in counts.items()}
    whole = {name: int(share) for name, share in exact.items()}
    short = rows - sum(whole.values())
    for name in sorted(exact, key=lambda each: whole[each] - exact[each])[:short]:
        whole[name] += 1
    return whole


def _distance(a: Floats, b: Floats) -> float:
    """Wasserstein-1 distance of two samples."""
    from scipy.stats import wasserstein_distance

    return float(wasserstein_distance(a, b))


def _ks(a: Floats, b: Floats) -> float:
    both = np.concatenate([a, b])
    shares = [np.searchsorted(np.sort(side), both, side="right") / len(side) for side in (a, b)]
    return float(np.abs(shares[0] - shares[1]).max())
