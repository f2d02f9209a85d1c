"""The world's clockwork: one scoring day after another, from the first day of the history."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from evals.simshop import features, labels
from evals.simshop.reasons import chance_of_leaving
from evals.simshop.shop import (
    EXPANSION_A_WEEK,
    HISTORY_FROM,
    HOUR_US,
    NEVER,
    Cohort,
    Floats,
    Mask,
    Micros,
    generator,
    micros,
)
from evals.simshop.story import Story
from evals.simshop.tables import CRM_FEATURES

Columns = dict[str, npt.NDArray[Any]]

LAG_HOURS: Final = 48
EVERY_WEEK_FROM: Final = date(2025, 9, 29)
"""Before that Monday the warehouse retains one week in eight."""


@dataclass
class Day:
    """Everything that is true of the rows scored on one day, in order of time; the warehouse gets to know parts of it.

    `numeric` are the right feature values (None on days that are not retained), `delivered` those the CRM migration
    delivered instead, where it did. `chance` is the true probability of leaving within the cycle; `already_left`
    marks rows of customers who had closed their account before they were scored.
    """

    day: date
    ids: npt.NDArray[np.int64]
    scored_at: Micros
    registered: Micros
    codes: dict[str, npt.NDArray[np.uint8]]
    arr: npt.NDArray[np.float64]
    chance: Floats
    churned: Mask
    already_left: Mask
    left_at: Micros
    arrives: Micros
    active: Mask
    numeric: Columns | None
    delivered: Columns | None

    def rows_until(self, now_us: int) -> int:
        """How many of the day's rows have been scored by then."""
        return int(np.searchsorted(self.scored_at, now_us, side="right"))


@dataclass(frozen=True)
class Booking:
    """Annual recurring revenue won, lost and expanded in the cohort of one day."""

    won: float
    churned: float
    expanded: float


def retained(day: date) -> bool:
    """Whether the warehouse keeps the rows of that day."""
    return day >= EVERY_WEEK_FROM or (day - HISTORY_FROM).days // 7 % 8 == 0


@dataclass
class Simulation:
    """Runs the shop day by day; `next_day` is the one not yet simulated."""

    seed: int
    customers: int
    story: Story
    next_day: date = HISTORY_FROM
    bookings: list[Booking] = field(default_factory=list)
    _next_id: int = 100_001
    _cohorts: list[Cohort] = field(default_factory=list)
    _support: dict[int, tuple[npt.NDArray[np.int64], Columns]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._cohorts = [Cohort.empty(self.seed, c, self.customers, features.NOISES) for c in range(7)]

    def step(self) -> Day:
        """Simulate the next day."""
        day, self.next_day = self.next_day, self.next_day + timedelta(days=1)
        cohort = self._cohorts[day.toordinal() % 7]
        lagging = self.story.active("crm_lag", day)
        newcomers = cohort.step(day, self._next_id, LAG_HOURS * HOUR_US if lagging else 0)
        self._next_id += int(newcomers.sum())
        taken = cohort.opens <= day.toordinal()
        scored_at = micros(day) + cohort.time_of_day
        gone = taken & (cohort.left_at < NEVER)
        chance = chance_of_leaving(
            cohort,
            scored_at,
            changed=self.story.active("changed_reasons", day),
            more=self.story.active("more_churn", day),
        )
        chance = np.where(taken & ~gone, chance, 0.0)
        leaves = labels.who_leaves(self.seed, day, chance)
        closes = labels.closing_times(self.seed, day, scored_at, leaves)
        cohort.left_at = np.where(leaves, closes, cohort.left_at)
        self._book(cohort, taken, newcomers, leaves)
        numeric, delivered, channel = self._record(cohort, day, scored_at, lagging)
        keep = slice(None) if taken.all() else np.flatnonzero(taken)
        return Day(
            day=day,
            ids=cohort.ids[keep].copy(),
            scored_at=scored_at[keep],
            registered=cohort.registered[keep].copy(),
            codes={n: (channel if n == "channel" else c)[keep].copy() for n, c in cohort.codes.items()},
            arr=cohort.arr[keep].copy(),
            chance=chance[keep],
            churned=(leaves | gone)[keep],
            already_left=gone[keep],
            left_at=cohort.left_at[keep].copy(),
            arrives=labels.arrival_times(self.seed, day, scored_at)[keep] if numeric else scored_at[keep],
            active=numeric["orders_30d"][keep] > 0 if numeric else taken[keep],
            numeric={n: v[keep] for n, v in numeric.items()} if numeric else None,
            delivered={n: v[keep] for n, v in delivered.items()} if delivered else None,
        )

    def _book(self, cohort: Cohort, taken: Mask, newcomers: Mask, leaves: Mask) -> None:
        stayers = taken & ~newcomers
        grown = EXPANSION_A_WEEK / (1 + EXPANSION_A_WEEK)
        self.bookings.append(
            Booking(
                won=float(cohort.arr[newcomers].sum()),
                churned=float(cohort.arr[leaves].sum()),
                expanded=float(cohort.arr[stayers].sum()) * grown,
            )
        )

    def _record(
        self, cohort: Cohort, day: date, scored_at: Micros, lagging: bool
    ) -> tuple[Columns | None, Columns | None, npt.NDArray[np.uint8]]:
        """Right features, features as delivered if those differ, and channels."""
        if not retained(day):
            return None, None, cohort.codes["channel"]
        cohort.observe(day)
        now = features.Circumstances(
            launched=self.story.active("product_launch", day),
            repriced=self.story.active("price_change", day),
            mails_reversed=self.story.active("changed_correlation", day),
        )
        numeric, channel = features.record(cohort, scored_at, now)
        weekday = day.toordinal() % 7
        delivered = self._two_days_ago(day, cohort, numeric) if lagging else None
        self._support[weekday] = (cohort.ids.copy(), {name: numeric[name] for name in CRM_FEATURES})
        return numeric, delivered, channel

    def _two_days_ago(self, day: date, cohort: Cohort, numeric: Columns) -> Columns:
        """Support data as they were 48 h before: what changed in those two days of the week's seven is missing."""
        ids, before = self._support[day.toordinal() % 7]
        recent = generator(self.seed, day, "lag").random(len(ids)) < LAG_HOURS / (7 * 24)
        stale = recent & (ids == cohort.ids)
        return {name: np.where(stale, before[name], numeric[name]) for name in CRM_FEATURES}
