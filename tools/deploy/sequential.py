"""Group-sequential boundaries: how large |z| must be at each look, so that all looks together keep their level.

On either side half the level is spent over the looks by the O'Brien-Fleming type function of Lan & DeMets (1983),

    a(t) = 2 - 2 Phi(z_(1 - a/2) / sqrt(t))         a = alpha / 2; t: share of the experiment that has passed

which spends almost nothing early. Between looks i < j the z statistics have correlation sqrt(I_i / I_j), with I the
information. The boundary at each look solves P(first crossing there) = 2 a(t_j) - 2 a(t_(j-1)) by the recursion of
Armitage, McPherson & Rowe (1969) over the density of the score S = z sqrt(I) among paths that have not crossed.
Two-sided and symmetric.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
_POINTS = 801
"""Points of the trapezium rule; with 801 the published boundaries are met to three decimals."""
_LARGEST = 8.0


def spent(t: float, alpha: float) -> float:
    """The level spent on both sides together by the share `t` of the experiment."""
    from scipy.special import ndtr, ndtri

    return float(4.0 * ndtr(ndtri(alpha / 4.0) / math.sqrt(t)))


def boundaries(information: Sequence[float], times: Sequence[float], alpha: float) -> list[float]:
    """The |z| from which each look is significant.

    `information` rises, in any unit; `times` rise, in (0, 1]: what was fixed before the experiment began.
    """
    found: list[float] = []
    grid = density = np.zeros(0)
    before, last = 0.0, 0.0
    for now, t in zip(information, times, strict=True):
        step = math.sqrt(now - before)
        level = spent(t, alpha) - last
        bound = _solve(grid, density, step, math.sqrt(now), level)
        edge = bound * math.sqrt(now)
        following = np.linspace(-edge, edge, _POINTS)
        density = _moved(grid, density, following, step)
        grid, before, last = following, now, last + level
        found.append(bound)
    return found


def _solve(grid: Floats, density: Floats, step: float, scale: float, level: float) -> float:
    """The bound that paths first cross at this look with probability `level`."""
    from scipy.optimize import brentq

    def excess(bound: float) -> float:
        return _crossing(grid, density, step, bound * scale) - level

    return _LARGEST if excess(_LARGEST) > 0 else float(brentq(excess, 0.0, _LARGEST, xtol=1e-9))


def _crossing(grid: Floats, density: Floats, step: float, edge: float) -> float:
    """The probability that |S| reaches `edge`, from the density of S at the look before."""
    from scipy.special import ndtr

    if not len(grid):
        return float(2.0 * ndtr(-edge / step))
    beyond = ndtr((grid - edge) / step) + ndtr((-edge - grid) / step)
    return float(np.trapezoid(density * beyond, grid))


def _moved(grid: Floats, density: Floats, onto: Floats, step: float) -> Floats:
    """The density of S at the next look, at the points `onto`."""
    if not len(grid):
        return _normal(onto / step) / step
    moves = _normal((onto[:, None] - grid[None, :]) / step) / step
    return np.asarray(np.trapezoid(moves * density[None, :], grid, axis=1), dtype=np.float64)


def _normal(z: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi), dtype=np.float64)
