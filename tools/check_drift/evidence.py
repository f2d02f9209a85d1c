"""What sampling noise alone explains.

A finding needs an effect beyond its threshold and evidence beyond noise: a p-value that holds after correcting for the
features of one check (Holm) and for the checks a monitor makes in a day (its share of `DAILY_FALSE_ALARMS`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tools.check_drift.divergence import Floats, both_shares

DAILY_FALSE_ALARMS = 0.05
"""Probability that a monitor on stationary data raises anything in one day, over all its checks."""

_SIMULATIONS = 4000
_SPARSE = 5.0

Divergence = Callable[[Floats, Floats], float]

_QUADRATIC = {"psi": 1.0, "kl_divergence": 2.0, "js": 8 * float(np.log(2)), "hellinger": 8.0}


def chi2_tail(statistic: float, degrees: int) -> float:
    """P(χ²_degrees >= statistic); 1 for no degrees of freedom."""
    from scipy.special import chdtrc

    return float(chdtrc(degrees, statistic)) if degrees > 0 else 1.0


def homogeneity(baseline: Floats, current: Floats) -> float:
    """p-value of Pearson's χ² test that two rows of counts come from one distribution. Source: Pearson (1900)."""
    used = (baseline + current) > 0
    a, b = baseline[used], current[used]
    n, m = float(a.sum()), float(b.sum())
    if n <= 0 or m <= 0:
        return 1.0
    pooled = (a + b) / (n + m)
    statistic = float(np.sum((a - n * pooled) ** 2 / (n * pooled) + (b - m * pooled) ** 2 / (m * pooled)))
    return chi2_tail(statistic, len(a) - 1)


def divergence_p_value(method: str, value: float, baseline: Floats, current: Floats, divergence: Divergence) -> float:
    """p-value of a divergence computed from two rows of counts with floored shares.

    To second order all of them are multiples of the same quadratic form, so under no change PSI is distributed as
    (1/n + 1/m) χ² with one degree of freedom less than there are bins; 2 KL, 8 JS² (in nats) and 8 H² likewise.
    Where bins are sparse (fewer than five expected) that is too optimistic, and a value that looks significant is
    judged again by simulation from the pooled shares (seeded; resolution 1/4001), then by Pearson's test beyond it.
    Source: B. Yurdakul, Statistical Properties of Population Stability Index (2018).
    """
    used = (baseline + current) > 0
    a, b = baseline[used], current[used]
    n, m = float(a.sum()), float(b.sum())
    if n <= 0 or m <= 0 or not np.isfinite(value):
        return 1.0
    squared = value * value if method in ("js", "hellinger") else value
    scale = 1 / n + 1 / m
    p_value = (
        chi2_tail(_QUADRATIC[method] * squared / scale, len(a) - 1)
        if method in _QUADRATIC
        else homogeneity(baseline, current)
    )
    pooled = (a + b) / (n + m)
    if p_value < 0.05 and pooled.min() * min(n, m) < _SPARSE:
        simulated = _simulate(pooled, int(n), int(m), value, divergence)
        # Beyond the simulation's resolution the larger of the two approximations decides.
        p_value = simulated if simulated > 2 / _SIMULATIONS else max(p_value, homogeneity(baseline, current))
    return p_value


def _simulate(pooled: Floats, n: int, m: int, value: float, divergence: Divergence) -> float:
    random = np.random.default_rng(20)
    p = random.multinomial(n, pooled, size=_SIMULATIONS).astype(np.float64)
    q = random.multinomial(m, pooled, size=_SIMULATIONS).astype(np.float64)
    reached = 0
    for a, b in zip(p, q, strict=True):
        reached += divergence(*both_shares(a, b)) >= value
    return (reached + 1) / (_SIMULATIONS + 1)


def ks_p_value(statistic: float, n: int, m: int) -> float:
    """p-value of the two-sample Kolmogorov-Smirnov statistic: Kolmogorov's limit with Stephens' small-sample term.

    Conservative for ties. Source: M. A. Stephens, Use of the Kolmogorov-Smirnov Statistics (JRSS B, 1970).
    """
    from scipy.special import kolmogorov

    if n <= 0 or m <= 0 or not np.isfinite(statistic):
        return 1.0
    root = float(np.sqrt(n * m / (n + m)))
    return float(kolmogorov((root + 0.12 + 0.11 / root) * statistic))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values: reject where adjusted < alpha, and any false rejection has probability alpha.

    Source: S. Holm, A Simple Sequentially Rejective Multiple Test Procedure (Scand. J. Statist., 1979).
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    adjusted = [1.0] * len(p_values)
    highest = 0.0
    for place, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - place) * p_values[i]))
        adjusted[i] = highest
    return adjusted
