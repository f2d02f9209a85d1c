"""Distances between two distributions over the same bins.

`divergences` takes two arrays of counts of equal length, a single distance their shares. Shares are floored at `FLOOR`
and renormalised, so that an empty bin weighs little instead of infinitely; bins that are empty on both sides are left
out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tools.check_drift import counting
from tools.check_drift.counting import Floats

FLOOR = 1e-4


class Divergences(NamedTuple):
    """All of them, of the current side from the baseline; NaN where a side counts nothing."""

    psi: float
    js: float
    kl: float
    hellinger: float
    total_variation: float


def divergences(baseline: Floats, current: Floats) -> Divergences:
    """All distances of two rows of counts over the same bins, compiled where that was possible."""
    if counting.compiled:
        return Divergences(*counting.compiled.divergences(baseline, current, FLOOR))
    if not (baseline.sum() > 0 and current.sum() > 0):
        return Divergences(*[math.nan] * 5)
    p, q = both_shares(baseline, current)
    return Divergences(psi(p, q), js(p, q), kl(p, q), hellinger(p, q), total_variation(p, q))


def shares(counts: Floats) -> Floats:
    """Counts → shares, at least `FLOOR` each before renormalisation; NaN where there is nothing to count."""
    size = counts.sum()
    if size <= 0:
        return np.full(len(counts), np.nan)
    floored: Floats = np.maximum(counts / size, FLOOR)
    normalised: Floats = floored / floored.sum()
    return normalised


def both_shares(baseline: Floats, current: Floats) -> tuple[Floats, Floats]:
    """Floored shares of both sides over the bins that at least one of them occupies."""
    used = (baseline > 0) | (current > 0)
    return shares(baseline[used]), shares(current[used])


def psi(p: Floats, q: Floats) -> float:
    """Population stability index Σ (q - p) ln(q / p) of shares p (baseline) and q (current); 0 and up, nats.

    Source: B. Yurdakul, Statistical Properties of Population Stability Index (Western Michigan University, 2018).
    """
    return float(((q - p) * np.log(q / p)).sum())


def kl(p: Floats, q: Floats) -> float:
    """Kullback-Leibler divergence KL(current ‖ baseline) = Σ q ln(q / p), nats. Source: Kullback & Leibler (1951)."""
    return max(float((q * np.log(q / p)).sum()), 0.0)


def js(p: Floats, q: Floats) -> float:
    """Jensen-Shannon distance: square root of the base-2 divergence, 0 to 1. Source: Endres & Schindelin (2003)."""
    middle = (p + q) / 2
    divergence = float((p * np.log2(p / middle) + q * np.log2(q / middle)).sum()) / 2
    return math.sqrt(max(divergence, 0.0))


def hellinger(p: Floats, q: Floats) -> float:
    """Hellinger distance sqrt(1 - Σ sqrt(p q)), 0 to 1. Source: Hellinger (1909)."""
    return math.sqrt(max(1.0 - float(np.sqrt(p * q).sum()), 0.0))


def total_variation(p: Floats, q: Floats) -> float:
    """Total variation distance Σ |q - p| / 2: the largest change of the probability of any set of bins."""
    return float(np.abs(q - p).sum() / 2)
