"""How often a shift of a normal column is found: our evidence against the peers' rules, at equal false-alarm rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evals.benchmarks.calm import peers
from evals.benchmarks.calm.monitor import THRESHOLDS

Floats = NDArray[np.float64]

SHIFTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Shifts of the mean, in standard deviations."""

LEVEL = 0.05
"""False-alarm rate at which the statistics themselves are compared."""

OURS = 0.001
"""Our level for one of fifty features, used where a peer's rule gave no false alarm at all."""


@dataclass(frozen=True)
class Trials:
    """For one shift, over trials: our p-values and PSI, and the peers' statistics with their cuts."""

    p_values: Floats
    psi: Floats
    evidently: Floats
    evidently_cut: float
    nannyml: Floats
    nannyml_cut: float


@dataclass(frozen=True)
class Power:
    """Shares of trials in which a shift was found.

    By each peer's published rule and by our evidence at that rule's false-alarm rate; by each peer's statistic with its
    cut moved to a rate of `LEVEL` and by our evidence at the same; and with our evidence and the declared PSI.
    """

    shift: float
    evidently: float
    ours_as_evidently: float
    nannyml: float
    ours_as_nannyml: float
    evidently_level: float
    nannyml_level: float
    ours_level: float
    declared: float


def measure(shift: float, rows: int, trials: int, random: np.random.Generator) -> Trials:
    """Draws `trials` pairs of `rows` standard normal rows each, the second shifted."""
    found = np.empty((trials, 4))
    cuts = (0.0, 0.0)
    for i in range(trials):
        reference, current = random.normal(size=rows), random.normal(shift, 1, rows)
        change = peers.ours(reference, current)
        (first, cut), (second, other) = peers.evidently(reference, current), peers.nannyml(reference, current)
        found[i], cuts = (change.p_value, change.psi, first, second), (cut, other)
    return Trials(found[:, 0], found[:, 1], found[:, 2], cuts[0], found[:, 3], cuts[1])


def powers(rows: int, trials: int, random: np.random.Generator) -> list[Power]:
    """Power by shift; the first row, no shift, gives the false-alarm rates. The cuts come from trials of their own."""
    null = measure(0.0, rows, 4 * trials, random)
    rates = [float(np.mean(null.evidently > null.evidently_cut)), float(np.mean(null.nannyml > null.nannyml_cut))]
    cuts = [float(np.quantile(null.p_values, rate)) if rate > 0 else OURS for rate in rates]
    evidently_level, nannyml_level = (float(np.quantile(s, 1 - LEVEL)) for s in (null.evidently, null.nannyml))
    ours_level = float(np.quantile(null.p_values, LEVEL))
    found = []
    for shift in SHIFTS:
        seen = measure(shift, rows, trials, random)
        found.append(
            Power(
                shift,
                _share(seen.evidently > seen.evidently_cut),
                _share(seen.p_values <= cuts[0]),
                _share(seen.nannyml > seen.nannyml_cut),
                _share(seen.p_values <= cuts[1]),
                _share(seen.evidently > evidently_level),
                _share(seen.nannyml > nannyml_level),
                _share(seen.p_values <= ours_level),
                _share((seen.psi > THRESHOLDS["psi"]) & (seen.p_values < OURS)),
            )
        )
    return found


def no_less(found: Sequence[Power], trials: int) -> bool:
    """Whether ours is nowhere less than a peer's by more than three standard errors of the difference."""
    pairs = [
        pair
        for each in found
        if each.shift > 0
        for pair in (
            (each.ours_as_evidently, each.evidently),
            (each.ours_as_nannyml, each.nannyml),
            (each.ours_level, each.evidently_level),
            (each.ours_level, each.nannyml_level),
        )
    ]
    return all(ours - peer > -3 * float(np.sqrt(max(peer * (1 - peer), 0.01) / trials)) for ours, peer in pairs)


def _share(found: NDArray[np.bool_]) -> float:
    return float(found.mean())
