"""Fifty stationary features, forty numeric of ten shapes and ten categorical, drawn as rows or as counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tools.check_drift import Profile
from tools.check_drift.bins import Summary
from tools.check_drift.categorical import CategorySummary
from tools.check_drift.numeric import NumericSummary, places, summarise, with_places

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, int], Floats]

MOST_ROWS_DRAWN = 1_000
"""Rows up to which values are drawn one by one; more are drawn as counts over a column's atoms."""

_ATOMS = 500
_LAW = 200_000

SHAPES: dict[str, Draw] = {
    "normal": lambda r, n: r.normal(size=n),
    "far": lambda r, n: r.normal(1e6, 1, n),
    "uniform": lambda r, n: r.random(n),
    "skewed": lambda r, n: r.lognormal(size=n),
    "cauchy": lambda r, n: r.standard_cauchy(n),
    "heavy": lambda r, n: r.standard_t(2, n),
    "two peaks": lambda r, n: r.normal(np.where(r.random(n) < 0.3, 3.0, 0.0), 1.0),
    "counts": lambda r, n: r.poisson(2, n).astype(np.float64),
    "mostly zero": lambda r, n: np.where(r.random(n) < 0.9, 0.0, np.round(r.exponential(5, n), 1)),
    "with nulls": lambda r, n: np.where(r.random(n) < 0.03, np.nan, np.round(r.normal(size=n), 1)),
}
"""Continuous, far from zero, heavy-tailed, tied, zero-inflated and partly null."""

CATEGORIES = (2, 3, 5, 8, 12, 20, 50, 100, 300, 800)
"""Numbers of categories; their frequencies fall with the rank, so most of the many are rare."""


@dataclass(frozen=True)
class Atoms:
    """A column's law as equally likely values, as they lie in a histogram, and its share of nulls."""

    template: NumericSummary
    values: Floats
    shares: Floats
    nulls: float


class Stationary:
    """Draws profiles of the fifty features. Where they are counts, they are multinomial: exact for the atoms' law."""

    def __init__(self, seed: int) -> None:
        """`seed` fixes every draw."""
        self.random = np.random.default_rng(seed)
        self.numeric = {f"{shape} {i}": shape for shape in SHAPES for i in range(4)}
        self.atoms = {shape: _atoms(draw, self.random) for shape, draw in SHAPES.items()}

    def profile(self, rows: int) -> Profile:
        """A profile of `rows` new rows."""
        columns: dict[str, Summary] = {name: self._numbers(shape, rows) for name, shape in self.numeric.items()}
        for size in CATEGORIES:
            weights = 1 / np.arange(1, size + 1)
            counts = self.random.multinomial(rows, weights / weights.sum()).tolist()
            columns[f"{size} categories"] = CategorySummary({f"c{i}": k for i, k in enumerate(counts) if k}, 0, 0)
        return Profile(rows, columns)

    def _numbers(self, shape: str, rows: int) -> NumericSummary:
        atoms = self.atoms[shape]
        if rows <= MOST_ROWS_DRAWN:
            return summarise(SHAPES[shape](self.random, rows), centre=atoms.template.centre)
        nulls = int(self.random.binomial(rows, atoms.nulls))
        return counted(atoms, self.random.multinomial(rows - nulls, atoms.shares), nulls)


def counted(atoms: Atoms, counts: NDArray[np.int64], nulls: int) -> NumericSummary:
    """The summary of so many rows at each atom, as profiling those rows would give."""
    held = counts > 0
    counts, values = counts[held], atoms.values[held]
    centred = values - atoms.template.centre
    summary = replace(
        atoms.template,
        ranks=atoms.template.ranks[held],
        counts=counts,
        nulls=nulls,
        total=float(centred @ counts),
        squares=float((centred * centred) @ counts),
        minimum=float(values[0]),
        maximum=float(values[-1]),
    )
    bins, _ = places(summary)
    return with_places(summary, values[bins], counts[bins], np.zeros_like(bins))


def _atoms(draw: Draw, random: np.random.Generator) -> Atoms:
    """Quantiles of many draws, one for each histogram bin, with the share of draws nearest below each."""
    drawn = draw(random, _LAW)
    present = np.sort(drawn[~np.isnan(drawn)])
    values = np.unique(present[(np.arange(_ATOMS) + 0.5).astype(np.int64) * len(present) // _ATOMS])
    template = summarise(values)
    if len(template.ranks) < len(values):  # several atoms in one bin: keep the first of each
        kept = [0]
        for i in range(1, len(values)):
            if len(summarise(values[[kept[-1], i]], centre=template.centre).ranks) == 2:
                kept.append(i)
        values = values[kept]
        template = summarise(values, centre=template.centre)
    ends = np.append(np.searchsorted(present, values[1:], side="left"), len(present))
    shares = np.diff(np.concatenate([[0], ends])) / len(present)
    return Atoms(template, values, shares, float(np.isnan(drawn).mean()))
