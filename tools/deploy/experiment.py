"""An A/B test on people's outcomes: the statistic of each look, and whether people were shared out as declared.

All three tests give a z statistic whose increments are independent as outcomes arrive (Jennison & Turnbull 2000,
"Group Sequential Methods", chapters 3 and 11), so that the same boundaries serve all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tools.deploy.sequential import boundaries

Floats = npt.NDArray[np.float64]
MISMATCH_ALPHA = 0.001
_MISMATCH_STRENGTH = 200.0
"""The prior on the true share is as narrow as this many people: it looks for mismatches of a few percent."""


@dataclass(frozen=True)
class Arms:
    """Outcomes of both arms, one a person. 0 or 1 for chi_squared."""

    control: Floats
    treatment: Floats

    @property
    def information(self) -> float:
        """Of the difference, up to a factor that does not change."""
        n, m = len(self.control), len(self.treatment)
        return n * m / (n + m) if n and m else 0.0


@dataclass(frozen=True)
class Effect:
    """Treatment over control: the difference of the means, or for ranks P(treatment > control) - 1/2."""

    control: float
    treatment: float
    difference: float
    error: float
    z: float


@dataclass(frozen=True)
class Look:
    """One look that had enough people: its number from 1, its effect, and the |z| that was needed."""

    number: int
    arms: Arms
    effect: Effect
    boundary: float

    @property
    def significant(self) -> bool:
        """Whether the experiment is decided here."""
        return abs(self.effect.z) >= self.boundary

    @property
    def interval(self) -> tuple[float, float]:
        """The repeated confidence interval of the difference, valid however many looks there were."""
        reach = self.boundary * self.effect.error
        return self.effect.difference - reach, self.effect.difference + reach


def effect(arms: Arms, test: str) -> Effect:
    """The test's effect and statistic. `arms` have at least two people each."""
    return {"chi_squared": _proportions, "t_test": _means, "mann_whitney": _ranks}[test](arms)


def looks(seen: Sequence[Arms], planned: int, test: str, alpha: float, fewest: int) -> list[Look]:
    """The looks so far, up to the one that decides. `seen` holds the outcomes known at each of the `planned` looks.

    A look with fewer than `fewest` people in an arm, or with nobody new, does not take place; what it would have spent
    is there for the next.
    """
    kept: list[tuple[int, Arms]] = []
    for number, arms in enumerate(seen, 1):
        known = min(len(arms.control), len(arms.treatment))
        if known >= max(fewest, 2) and (not kept or arms.information > kept[-1][1].information):
            kept.append((number, arms))
    bounds = boundaries([arms.information for _, arms in kept], [number / planned for number, _ in kept], alpha)
    found: list[Look] = []
    for (number, arms), bound in zip(kept, bounds, strict=True):
        found.append(Look(number, arms, effect(arms, test), bound))
        if found[-1].significant:
            break
    return found


def log_e_mismatch(treated: int, people: int, share: float) -> float:
    """Evidence, in nats, that people were not shared out with probability `share` to the treatment.

    A beta-binomial mixture around the declared share, an e-process that may be looked at whenever one likes (Lindon &
    Malek 2022, "Anytime-valid inference for multinomial count data", for two arms).
    """
    from scipy.special import betaln

    a, b = _MISMATCH_STRENGTH * share, _MISMATCH_STRENGTH * (1.0 - share)
    mixed = betaln(a + treated, b + people - treated) - betaln(a, b)
    return float(mixed - treated * math.log(share) - (people - treated) * math.log1p(-share))


def _proportions(arms: Arms) -> Effect:
    """Pearson's chi-squared of a 2x2 table is the square of this z."""
    n, m = len(arms.control), len(arms.treatment)
    control, treatment = float(arms.control.mean()), float(arms.treatment.mean())
    pooled = (float(arms.control.sum()) + float(arms.treatment.sum())) / (n + m)
    error = math.sqrt(pooled * (1.0 - pooled) * (1.0 / n + 1.0 / m))
    return _effect(control, treatment, treatment - control, error)


def _means(arms: Arms) -> Effect:
    """Welch's t; with hundreds of people it is normal."""
    control, treatment = float(arms.control.mean()), float(arms.treatment.mean())
    error = math.hypot(*(float(each.std(ddof=1)) / math.sqrt(len(each)) for each in (arms.control, arms.treatment)))
    return _effect(control, treatment, treatment - control, error)


def _ranks(arms: Arms) -> Effect:
    """Mann & Whitney 1947, with the correction for ties; control and treatment are told as medians."""
    from scipy.stats import rankdata

    n, m = len(arms.control), len(arms.treatment)
    together = np.concatenate([arms.treatment, arms.control])
    ranks = rankdata(together)
    above = (float(ranks[:m].sum()) - m * (m + 1) / 2.0) / (n * m)
    _, ties = np.unique(together, return_counts=True)
    total = n + m
    lost = float((ties.astype(np.float64) ** 3 - ties).sum()) / (total * (total - 1))
    error = math.sqrt((total + 1 - lost) / (12.0 * n * m))
    return _effect(float(np.median(arms.control)), float(np.median(arms.treatment)), above - 0.5, error)


def _effect(control: float, treatment: float, difference: float, error: float) -> Effect:
    return Effect(control, treatment, difference, error, difference / error if error > 0 else 0.0)
