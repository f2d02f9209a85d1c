"""Who leaves, when the account closes, and when the label arrives."""

from __future__ import annotations

from datetime import date
from typing import Final

import numpy as np

from evals.simshop.shop import DAY_US, NEVER, Floats, Mask, Micros, generator

CYCLE_US: Final = 7 * DAY_US
MAX_DELAY_DAYS: Final = 14
PROMPT_SHARE: Final = 0.35
"""Share of labels that arrive within 24 hours."""


def who_leaves(seed: int, day: date, chances: Floats) -> Mask:
    """Draw who leaves, each with their own chance.

    Systematic sampling along the order of the chances (Madow 1949, "On the theory of systematic sampling, II"): each
    customer leaves with exactly their probability, but how many leave at each level of risk hardly varies, so that
    small worlds and single weeks show the same rates as large ones.
    """
    # Sixteen bits are order enough, and numpy sorts them by radix.
    order = np.argsort((chances * 65_535).astype(np.uint16), kind="stable")
    mass = np.cumsum(chances[order], dtype=np.float64) + generator(seed, day, "churn").random()
    hits = np.diff(np.floor(mass), prepend=0.0) > 0
    leaves = np.zeros(len(chances), dtype=np.bool_)
    leaves[order] = hits
    return leaves


def closing_times(seed: int, day: date, scored_at: Micros, leaves: Mask) -> Micros:
    """When the accounts of those who leave close: any time of the cycle. `NEVER` for the others."""
    share = generator(seed, day, "leaving").random(len(leaves))
    closes: Micros = np.where(leaves, scored_at + (share * CYCLE_US).astype(np.int64), NEVER)
    return closes


def arrival_times(seed: int, day: date, scored_at: Micros) -> Micros:
    """When the labels arrive: the decision to stay or to leave is recorded between minutes and 14 days after scoring.

    The delay is independent of the label. 35% arrive within 24 h, crowded towards the first hours (24 h · u²); the
    rest after one day plus 13 days times a Kumaraswamy(1.3, 2.8) variable, a bounded stand-in for a gamma delay.
    """
    prompt, u = generator(seed, day, "delay").random((2, len(scored_at)))
    quick = u**2
    slow = 1 + (MAX_DELAY_DAYS - 1) * (1 - (1 - u) ** (1 / 2.8)) ** (1 / 1.3)
    delay_days = np.where(prompt < PROMPT_SHARE, quick, slow)
    # Whole seconds, as the shop's systems record them.
    arrives: Micros = scored_at + (delay_days * 86_400).astype(np.int64) * 1_000_000
    return arrives
