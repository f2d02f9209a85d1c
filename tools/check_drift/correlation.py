"""Rank correlations of numeric columns, and the pair whose correlation changed most.

Every value is replaced by its grade, its place (0 to 1) in the baseline's distribution, on both sides; correlations of
grades are Spearman's, so outliers and skew neither inflate them nor their error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tools.check_drift.columns import Categories
from tools.check_drift.counting import Floats, Ints
from tools.check_drift.evidence import DAILY_FALSE_ALARMS
from tools.check_drift.frames import batches
from tools.check_drift.numeric import NumericSummary, rank_of_value
from tools.check_drift.profiles import Profile
from tools.systems import files

THRESHOLD = 0.2
"""Change of a correlation that counts, where no threshold is declared."""

_MIDDLE = 0.5
"""Mean of the baseline's grades."""

_BLOCK = 1 << 16

_FEWEST = 25
"""Rows of normal data whose correlation is as noisy: below, a few rows carry it and its distribution is not normal."""


@dataclass(frozen=True)
class Correlations:
    """Correlations `matrix` (NaN where undefined) of the columns `names`, each over `rows` rows without nulls.

    `noise`: rows times the variance of each correlation, from the columns' fourth moments; 1 for independent columns,
    more than (1 - r²)² where few rows carry the correlation.
    """

    names: list[str]
    matrix: Floats
    rows: Ints
    noise: Floats

    def save(self, path: Path) -> None:
        """Writes one NPZ file, replacing it atomically."""
        parts: dict[str, Any] = {"matrix": self.matrix, "rows": self.rows, "noise": self.noise}
        files.replace(path, lambda file: np.savez(file, names=np.array(self.names), **parts))

    @staticmethod
    def load(path: Path) -> Correlations:
        """Reads what `save` wrote. Raises one of `profiles.UNREADABLE`."""
        with np.load(path, allow_pickle=False) as stored:
            return Correlations(stored["names"].tolist(), stored["matrix"], stored["rows"], stored["noise"])


@dataclass(frozen=True)
class CorrelationChange:
    """The pair that changed most; `p_value` is corrected over all pairs looked at."""

    pair: tuple[str, str]
    before: float
    after: float
    p_value: float

    @property
    def change(self) -> float:
        """Absolute change of the correlation, 0 to 2."""
        return abs(self.after - self.before)


def correlations(data: object, baseline: Profile) -> Correlations:
    """Grade correlations of the baseline's numeric columns that `data` (anything `profile` takes) has."""
    numeric = {n: s for n, s in baseline.columns.items() if isinstance(s, NumericSummary) and s.finite}
    sums: list[Floats] = []
    names: list[str] = []
    for batch in batches(data):
        columns = {name: each for name, each in batch.items() if name in numeric and not isinstance(each, Categories)}
        if not columns:
            break
        names = list(columns)
        for start in range(0, len(columns[names[0]]), _BLOCK):
            blocks = {name: column[start : start + _BLOCK] for name, column in columns.items()}
            parts = _moments(np.column_stack([_grades(block, numeric[name]) for name, block in blocks.items()]))
            sums = parts if not sums else [a + b for a, b in zip(sums, parts, strict=True)]
    if not sums:
        return Correlations([], np.empty((0, 0)), np.empty((0, 0), dtype=np.int64), np.empty((0, 0)))
    n, first, second, product, *fourth = sums
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first / n
        variance = np.maximum(second / n - mean * mean, 0.0)
        spread = np.sqrt(variance * variance.T)
        matrix = np.where(spread > 1e-12, (product / n - mean * mean.T) / spread, np.nan)
        noise = _noise(matrix, second / n, *(each / n for each in fourth))
    return Correlations(names, matrix, n.astype(np.int64), noise)


def _moments(grades: Floats) -> list[Floats]:
    """Of each pair of columns: rows, and sums of the grades and their products, around the middle."""
    present = (~np.isnan(grades)).astype(np.float64)
    z = np.nan_to_num(grades - _MIDDLE)
    squared = z * z
    parts = [present.T @ present, z.T @ present, squared.T @ present, z.T @ z]
    return [*parts, squared.T @ squared, (squared * z).T @ z, (squared * squared).T @ present]


def largest_change(
    before: Correlations, after: Correlations, around: Sequence[str] | None, alpha: float = DAILY_FALSE_ALARMS
) -> CorrelationChange | None:
    """The pair of columns, one of them in `around` (None: any), whose correlation changed most; None for no pair.

    Pairs with evidence at level `alpha` come before any without, lest the noise of a pair of few rows hide them.

    Tested by Fisher's z with the variance that both sides' fourth moments give, Bonferroni over the pairs, so ties and
    columns that are mostly zero are minded; pairs that fewer than `_FEWEST` rows' worth of evidence carry are left out.
    Source: J. H. Steiger & A. R. Hakstian, The Asymptotic Distribution of Elements of a Correlation Matrix (Br. J.
    Math. Stat. Psychol., 1982).
    """
    names = [name for name in before.names if name in after.names]
    wanted = set(names if around is None else around)
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :] if a in wanted or b in wanted]
    old, new = _places(before), _places(after)
    found: list[tuple[tuple[str, str], float, float, int, int, float]] = []
    for a, b in pairs:
        was, now = before.matrix[old[a], old[b]], after.matrix[new[a], new[b]]
        n, m = int(before.rows[old[a], old[b]]), int(after.rows[new[a], new[b]])
        if np.isnan(was) or np.isnan(now) or min(n, m) < 10:
            continue
        pooled = (n * was + m * now) / (n + m)
        noise = (n * before.noise[old[a], old[b]] + m * after.noise[new[a], new[b]]) / (n + m)
        inflation = float(noise) / max((1 - pooled * pooled) ** 2, 1e-12)
        if inflation * _FEWEST > min(n, m):
            continue
        found.append(((a, b), float(was), float(now), n, m, inflation))
    if not found:
        return None
    was, now, rows, other_rows, noise = np.array([each[1:] for each in found]).T
    p_values = np.minimum(_p_values(was, rows, now, other_rows, noise) * len(found), 1.0)
    first = int(np.lexsort((np.abs(now - was), p_values < alpha))[-1])
    return CorrelationChange(found[first][0], float(was[first]), float(now[first]), float(p_values[first]))


def _grades(values: NDArray[Any], summary: NumericSummary) -> Floats:
    """Place of each value in the baseline's distribution: the middle of its histogram bin, or of its part of one that
    is cut; NaN for nulls.
    """
    steps = np.concatenate([[0], np.cumsum(summary.counts)]) / summary.finite
    middles = np.concatenate([[0.0], (steps[1:] + steps[:-1]) / 2, [1.0]])
    clean = np.nan_to_num(np.asarray(values, dtype=np.float64), nan=summary.centre)
    ranks = rank_of_value(clean, summary.centre)
    at = np.searchsorted(summary.ranks, ranks)
    exact = (at < len(summary.ranks)) & (summary.ranks[np.minimum(at, len(summary.ranks) - 1)] == ranks)
    graded = np.where(exact, middles[np.minimum(at + 1, len(middles) - 1)], steps[at])
    if len(summary.cuts):
        parted = np.isin(ranks, rank_of_value(summary.cuts, summary.centre))
        counts = np.concatenate([[0.0], summary.cut_counts, [summary.finite]])
        part = np.searchsorted(summary.cuts, clean[parted])
        graded[parted] = (counts[part] + counts[part + 1]) / (2 * summary.finite)
    return np.where(np.isnan(values), np.nan, graded)


def _noise(r: Floats, square: Floats, both: Floats, cubed: Floats, fourth: Floats) -> Floats:
    """Rows times the variance of r: E[(uv - r (u² + v²) / 2)²] of the standardised columns u and v."""
    u, v = square, square.T
    crossed = both / (u * v)
    uneven = cubed / (u * np.sqrt(u * v)) + cubed.T / (v * np.sqrt(u * v))
    tails = fourth / (u * u) + fourth.T / (v * v) + 2 * crossed
    variance: Floats = np.maximum(crossed - r * uneven + r * r / 4 * tails, 0.0)
    return variance


def _p_values(r: Floats, n: Floats, s: Floats, m: Floats, inflation: Floats) -> Floats:
    """Two-sided p-values that correlations r of n and s of m rows come from one; normal data have an inflation of 1."""
    from scipy.special import ndtr

    one, two = np.arctanh(np.clip([r, s], -0.999999, 0.999999))
    error = np.sqrt(np.maximum(inflation, 1e-3) * (1 / (n - 3) + 1 / (m - 3)))
    return np.asarray(2 * ndtr(-np.abs(one - two) / error), dtype=np.float64)


def _places(of: Correlations) -> Mapping[str, int]:
    return {name: i for i, name in enumerate(of.names)}
