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
class Against:
    """Over trials on the same rows: our p-values, and a peer's statistics with the cuts of its rule."""

    p_values: Floats
    statistics: Floats
    cuts: Floats


@dataclass(frozen=True)
class Trials:
    """Evidently with as many rows a side, NannyML with a reference of ten such chunks; our PSI with as many a side."""

    evidently: Against
    nannyml: Against
    psi: Floats


@dataclass(frozen=True)
class Compared:
    """Shares of trials in which a shift was found, by a peer and by our evidence on the same rows.

    `rule` is the peer's own, `ours_as_rule` our evidence at the false-alarm rate that rule showed; `level` is the
    peer's statistic with its cut moved to a rate of `LEVEL`, `ours_at_level` our evidence at the same.
    """

    rule: float
    ours_as_rule: float
    level: float
    ours_at_level: float


@dataclass(frozen=True)
class Power:
    """Of one shift; `declared` is the share found by our evidence and the declared PSI together."""

    shift: float
    evidently: Compared
    nannyml: Compared
    declared: float


def measure(shift: float, rows: int, trials: int, random: np.random.Generator) -> Trials:
    """Draws `trials` references of ten times `rows` standard normal rows, and windows of `rows`, shifted."""
    small, large, psi = np.empty((3, trials)), np.empty((3, trials)), np.empty(trials)
    for i in range(trials):
        reference, current = random.normal(size=peers.CHUNKS * rows), random.normal(shift, 1, rows)
        change = peers.ours(reference[:rows], current)
        psi[i] = change.psi
        small[:, i] = change.p_value, *peers.evidently(reference[:rows], current)
        large[:, i] = peers.ours(reference, current).p_value, *peers.nannyml(reference, current)
    return Trials(Against(*small), Against(*large), psi)


def powers(rows: int, trials: int, random: np.random.Generator) -> list[Power]:
    """Power by shift; the first row, no shift, gives the false-alarm rates. The cuts come from trials of their own."""
    null = measure(0.0, rows, 4 * trials, random)
    found = []
    for shift in SHIFTS:
        seen = measure(shift, rows, trials, random)
        declared = _share((seen.psi > THRESHOLDS["psi"]) & (seen.evidently.p_values < OURS))
        evidently, nannyml = _compared(null.evidently, seen.evidently), _compared(null.nannyml, seen.nannyml)
        found.append(Power(shift, evidently, nannyml, declared))
    return found


def no_less(found: Sequence[Power], trials: int) -> bool:
    """Whether ours is nowhere less than a peer's by more than three standard errors of the difference."""
    pairs = [
        pair
        for each in found
        if each.shift > 0
        for peer in (each.evidently, each.nannyml)
        for pair in ((peer.ours_as_rule, peer.rule), (peer.ours_at_level, peer.level))
    ]
    return all(ours - peer > -3 * float(np.sqrt(max(peer * (1 - peer), 0.01) / trials)) for ours, peer in pairs)


def _compared(null: Against, seen: Against) -> Compared:
    rate = _share(null.statistics > null.cuts)
    as_rule = float(np.quantile(null.p_values, rate)) if rate > 0 else OURS
    return Compared(
        rule=_share(seen.statistics > seen.cuts),
        ours_as_rule=_share(seen.p_values <= as_rule),
        level=_share(seen.statistics > float(np.quantile(null.statistics, 1 - LEVEL))),
        ours_at_level=_share(seen.p_values <= float(np.quantile(null.p_values, LEVEL))),
    )


def _share(found: NDArray[np.bool_]) -> float:
    return float(found.mean())
