"""The shop's customers: who they are, the hidden state they live in, and how both move from week to week.

A *slot* is a place in the shop that one customer holds at a time; whoever leaves is followed by a new registration.
Slots are dealt over seven cohorts, one for each day of the weekly scoring cycle, so that a cohort is scored on one
weekday and its slots follow each other evenly through the 24 hours.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evals.simshop.tables import CATEGORIES

Floats = npt.NDArray[np.floating[Any]]
Micros = npt.NDArray[np.int64]
"""Times as microseconds since 1970-01-01 (UTC)."""
Mask = npt.NDArray[np.bool_]

DAY_US: Final = 86_400_000_000
HOUR_US: Final = 3_600_000_000
NEVER: Final = np.iinfo(np.int64).max

HISTORY_FROM: Final = date(2024, 1, 1)
GROWN_BY: Final = date(2025, 11, 1)
"""The shop grows evenly until then; every slot is taken afterwards."""
INITIAL_SHARE: Final = 0.7
ARR_GROWTH_A_WEEK: Final = 0.006
EXPANSION_A_WEEK: Final = 0.003

LATENTS: Final = (
    "engagement", "momentum", "support", "delivery", "payment", "value", "price_sensitivity", "hesitancy", "mood",
)  # fmt: skip
"""Hidden state, each a standard normal AR(1) process. `mood` shows in no feature: it is what no model can know."""
PERSISTENCE: Final = np.array([0.93, 0.75, 0.85, 0.85, 0.85, 0.99, 0.97, 0.85, 0.80], dtype=np.float32)
"""Weekly autocorrelation of each latent."""
NOISE_PERSISTENCE: Final = 0.8
"""Weekly autocorrelation of what a feature shows beyond the latents (30-day windows overlap)."""

SHARES: Final = {
    "segment": (0.08, 0.30, 0.62),
    "market": (0.60, 0.25, 0.15),
    "channel": (0.70, 0.25, 0.05),
    "payment_method": (0.55, 0.25, 0.12, 0.08),
    "plan": (0.60, 0.25, 0.15),
}
ARR_BY_SEGMENT: Final = np.array([2600.0, 1100.0, 520.0], dtype=np.float64)

PURPOSES: Final = {"latents": 1, "noise": 2, "traits": 3, "churn": 4, "leaving": 5, "delay": 6, "start": 7, "lag": 8}


def generator(seed: int, day: date, purpose: str) -> np.random.Generator:
    """The random numbers of one purpose on one day; the same whatever was drawn before."""
    return np.random.Generator(np.random.SFC64([seed, day.toordinal(), PURPOSES[purpose]]))


def micros(day: date) -> int:
    """Midnight at the start of that day, in microseconds since 1970."""
    return (day.toordinal() - date(1970, 1, 1).toordinal()) * DAY_US


@dataclass
class Cohort:
    """The slots scored on one weekday, as columns ordered by their time of day; `step` moves them on by a week."""

    seed: int
    time_of_day: Micros
    opens: npt.NDArray[np.int64]
    ids: npt.NDArray[np.int64]
    registered: Micros
    codes: dict[str, npt.NDArray[np.uint8]]
    arr: npt.NDArray[np.float64]
    latents: npt.NDArray[np.float32]
    noise: npt.NDArray[np.float32]
    left_at: Micros
    fresh: Mask
    weeks_unseen: int = 0

    @classmethod
    def empty(cls, seed: int, cohort: int, customers: int, features: int) -> Cohort:
        """The cohort's slots before anyone took them; `opens` holds the day (ordinal) each slot is first taken."""
        size = len(range(cohort, customers, 7))
        rng = np.random.Generator(np.random.SFC64([seed, cohort, PURPOSES["start"]]))
        span = GROWN_BY.toordinal() - HISTORY_FROM.toordinal()
        late = np.clip((rng.random(size) - INITIAL_SHARE) / (1 - INITIAL_SHARE), 0.0, 1.0)
        return cls(
            seed=seed,
            time_of_day=((np.arange(size) + 0.5) / max(size, 1) * DAY_US).astype(np.int64),
            opens=HISTORY_FROM.toordinal() + np.floor(late * span).astype(np.int64),
            ids=np.zeros(size, dtype=np.int64),
            registered=np.zeros(size, dtype=np.int64),
            codes={name: np.zeros(size, dtype=np.uint8) for name in CATEGORIES},
            arr=np.zeros(size, dtype=np.float64),
            latents=np.zeros((len(LATENTS), size), dtype=np.float32),
            noise=np.zeros((features, size), dtype=np.float32),
            left_at=np.full(size, NEVER, dtype=np.int64),
            fresh=np.ones(size, dtype=np.bool_),
        )

    def step(self, day: date, next_id: int, hidden_us: int) -> Mask:
        """Move on by a week, to `day`: everyone's state drifts, those who left are followed by newcomers.

        `hidden_us` is how late departures are noticed: who left within that time before being scored keeps the slot
        for another week. Returns the slots taken by newcomers, whose ids count up from `next_id`.
        """
        scored = micros(day) + self.time_of_day
        opened = (self.opens <= day.toordinal()) & (self.opens > day.toordinal() - 7)
        newcomers: Mask = opened | (self.left_at <= scored - hidden_us)
        rng = generator(self.seed, day, "latents")
        shock = rng.standard_normal(self.latents.shape, dtype=np.float32)
        phi = PERSISTENCE[:, None]
        moved = phi * self.latents + np.sqrt(1 - phi * phi) * shock
        self.latents = np.where(newcomers, shock, moved)
        self.fresh |= newcomers
        self.weeks_unseen += 1
        self.arr *= 1 + EXPANSION_A_WEEK
        self._register(newcomers, day, next_id)
        return newcomers

    def observe(self, day: date) -> None:
        """Move the features' own noise on by all weeks since it was last looked at."""
        phi = np.float32(NOISE_PERSISTENCE**self.weeks_unseen)
        shock = generator(self.seed, day, "noise").standard_normal(self.noise.shape, dtype=np.float32)
        moved = phi * self.noise + np.sqrt(1 - phi * phi) * shock
        self.noise = np.where(self.fresh, shock, moved)
        self.fresh = np.zeros_like(self.fresh)
        self.weeks_unseen = 0

    def _register(self, newcomers: Mask, day: date, next_id: int) -> None:
        where = np.flatnonzero(newcomers)
        draws = generator(self.seed, day, "traits").random((len(CATEGORIES) + 1, len(where)))
        for draw, (name, shares) in zip(draws, SHARES.items(), strict=False):
            self.codes[name][where] = np.searchsorted(np.cumsum(shares)[:-1], draw, side="right")
        self.ids[where] = next_id + np.arange(len(where))
        # The first customers registered over the five years before the history, later ones since the last cycle.
        age_days = 1800.0 * draws[-1] ** 2 if day.toordinal() < HISTORY_FROM.toordinal() + 7 else draws[-1]
        self.registered[where] = micros(day) - (age_days * DAY_US).astype(np.int64)
        weeks = (day.toordinal() - HISTORY_FROM.toordinal()) / 7
        value = self.latents[LATENTS.index("value"), where]
        worth = ARR_BY_SEGMENT[self.codes["segment"][where]] * np.exp(0.45 * value)
        self.arr[where] = worth * (1 + ARR_GROWTH_A_WEEK) ** (weeks - 104)
        self.left_at[where] = NEVER
