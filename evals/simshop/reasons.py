"""Why customers leave: the chance of leaving within the weekly cycle, given the hidden state.

Chances depend on latents, not on the recorded features, so that a change of what is recorded (a launch, late data)
changes no one's mind, and a change of mind changes no record.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from evals.simshop.shop import DAY_US, LATENTS, Cohort, Floats, Micros

OLD_REASONS: Final = {
    "engagement": -0.55, "momentum": -0.55, "support": 0.60, "delivery": 0.35, "payment": 0.40, "value": -0.10,
    "price_sensitivity": 0.05, "hesitancy": 0.45,
}  # fmt: skip
"""Relative weights of the latents before the change of reasons."""
SIGNAL: Final = 1.63
"""Scale of the reasons against chance: calibrated so that a boosted-trees model reaches AUC 0.847."""
MOOD: Final = 0.30
"""Weight of what no feature shows."""
BASE: Final = -3.25
SEGMENT: Final = np.array([-1.1, -0.35, 0.0], dtype=np.float32)
PLAN: Final = np.array([0.15, -0.35, 0.2], dtype=np.float32)
NEWNESS: Final = 0.5
"""Extra log-odds of a customer on the first day, fading with a time constant of 120 days."""

NEW_BASE: Final = -3.5
PRICE_PULL: Final = 1.5
"""Weight of price sensitivity once prices have changed."""
KEPT: Final = 0.9
"""How much of the old reasons is left for a price-sensitive customer; it fades to nothing for the others."""
MORE_CHURN: Final = 1.2
"""Log-odds that `more_churn` adds for everybody."""

_WEIGHTS: Final = np.array([OLD_REASONS.get(name, 0.0) for name in LATENTS], dtype=np.float32)
_PRICE: Final = LATENTS.index("price_sensitivity")
_SUPPORT: Final = LATENTS.index("support")
_ENGAGEMENT: Final = LATENTS.index("engagement")
_MOOD: Final = LATENTS.index("mood")


def chance_of_leaving(cohort: Cohort, scored_at: Micros, *, changed: bool, more: bool) -> Floats:
    """Probability that each customer of the cohort leaves within the cycle that begins at `scored_at`."""
    latents = cohort.latents
    tenure = (scored_at - cohort.registered).astype(np.float32) / DAY_US
    who = SEGMENT[cohort.codes["segment"]] + PLAN[cohort.codes["plan"]]
    # Trouble with support weighs more on those who hardly visit any more.
    neglect = 0.25 * latents[_SUPPORT] * np.minimum(latents[_ENGAGEMENT], 0)
    old = SIGNAL * (_WEIGHTS @ latents - neglect) + NEWNESS * np.exp(-tenure / 120)
    if changed:
        price = latents[_PRICE]
        logit = NEW_BASE + PRICE_PULL * price + KEPT * old / (1 + np.exp(-2.0 * (price + 0.5)))
    else:
        logit = BASE + old
    logit = logit + who + MOOD * latents[_MOOD] + (MORE_CHURN if more else 0.0)
    chances: Floats = 1 / (1 + np.exp(-logit))
    return chances
