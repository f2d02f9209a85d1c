"""Single-row latency of two models, measured so that neither has the better half of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Row = TypeVar("Row")
Timings = npt.NDArray[np.float64]
NOISE_FLOOR = 0.10
_MAD_TO_SIGMA = 1.4826
_SIGMAS = 3.0


@dataclass(frozen=True)
class LatencyComparison:
    """Milliseconds a row of champion and challenger, and how much of the difference the rounds can vouch for.

    Attributes:
        champion_ms, challenger_ms: median of the rounds' medians.
        champion_p99_ms, challenger_p99_ms: 99th percentile of all calls.
        ratio: median over the rounds of challenger / champion.
        noise: relative difference below which the two count as equally fast.
    """

    champion_ms: float
    challenger_ms: float
    champion_p99_ms: float
    challenger_p99_ms: float
    ratio: float
    noise: float

    @property
    def within_noise(self) -> bool:
        return abs(self.ratio - 1) <= self.noise

    @property
    def improvement(self) -> float:
        """Relative improvement of the challenger: 1 - ratio, or 0 when the difference is within noise."""
        return 0.0 if self.within_noise else 1 - self.ratio


def compare_rounds(champion: Timings, challenger: Timings) -> LatencyComparison:
    """Judge latencies of shape (rounds, calls), in ms, of calls that were interleaved.

    The noise is the larger of 10% and three robust standard deviations (1.4826 x MAD) of the rounds'
    ratios: a difference that the rounds themselves do not agree on is no difference.
    """
    ours, theirs = np.median(champion, axis=1), np.median(challenger, axis=1)
    ratios = theirs / ours
    ratio = float(np.median(ratios))
    spread = _MAD_TO_SIGMA * float(np.median(np.abs(ratios - ratio)))
    return LatencyComparison(
        champion_ms=float(np.median(ours)),
        challenger_ms=float(np.median(theirs)),
        champion_p99_ms=float(np.quantile(champion, 0.99)),
        challenger_p99_ms=float(np.quantile(challenger, 0.99)),
        ratio=ratio,
        noise=max(NOISE_FLOOR, _SIGMAS * spread),
    )


def measure(
    champion: Callable[[Row], object],
    challenger: Callable[[Row], object],
    rows: Sequence[Row],
    *,
    rounds: int = 9,
    calls: int = 12,
    max_seconds: float = 3.0,
    timer: Callable[[], float] = time.perf_counter,
) -> LatencyComparison:
    """Time both on the same single rows, call by call in turn, after a warm-up round nobody counts.

    Who goes first alternates, so that a cache warmed by one helps both alike.

    Args:
        rows: single-row inputs, used in turn; at least one.
        max_seconds: after this long no further round starts, but three always run: a slow model needs no
            hundred calls to be known as slow.
        timer: seconds, monotone.
    """
    taken = np.zeros((2, rounds + 1, calls))
    models = (champion, challenger)
    begun, done = timer(), 0
    for round_ in range(rounds + 1):
        for call in range(calls):
            row = rows[(round_ * calls + call) % len(rows)]
            for which in (0, 1) if call % 2 else (1, 0):
                started = timer()
                models[which](row)
                taken[which, round_, call] = timer() - started
        done = round_
        if done >= 3 and timer() - begun >= max_seconds:
            break
    return compare_rounds(taken[0, 1 : done + 1] * 1000, taken[1, 1 : done + 1] * 1000)
