"""Thinning a training window to a bounded number of rows without forgetting what is recent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tools.tasks import Outcomes

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Rows sorted by time.

    Attributes:
        frame: the model's input (`recipe.feature_frame`).
        outcomes: as the task has them (`tools.tasks`), shape (rows,).
        ages: days to the end of the training window, shape (rows,).
        stands_for: how many rows of the table each stands for, shape (rows,).
    """

    frame: pd.DataFrame
    outcomes: Outcomes
    ages: Floats
    stands_for: Floats

    def __len__(self) -> int:
        return len(self.outcomes)

    def at(self, chosen: Any) -> Rows:
        """The rows that an index array, a mask or a slice names."""
        return Rows(self.frame.iloc[chosen], self.outcomes[chosen], self.ages[chosen], self.stands_for[chosen])

    def thinned(self, half_life_days: float | None, cap: int) -> Rows:
        """At most `cap` rows that stand for all, recent ones the more the shorter the half-life (`thin`)."""
        return self.at(thin(self.stands_for * recency(self.ages, half_life_days), cap))


def ages_in_days(times: npt.NDArray[np.datetime64], end: datetime) -> Floats:
    """Days from each row's time to `end`."""
    microseconds = np.datetime64(end, "us").astype(np.int64) - times.astype("datetime64[us]").astype(np.int64)
    return np.asarray(microseconds / 86_400e6, dtype=np.float64)


def recency(ages: Floats, half_life_days: float | None) -> Floats:
    """Importance of a row: 2^(-age / half-life); 1 for all without a half-life."""
    return np.ones(len(ages)) if half_life_days is None else np.exp2(-np.maximum(ages, 0) / half_life_days)


def thin(importance: Floats, cap: int) -> npt.NDArray[np.intp]:
    """At most `cap` rows that stand for all at their importance: indices in order, an important row more than once.

    Row i is expected n x importance_i / sum times among the n = min(rows, `cap`) drawn, so recent rows are kept whole
    or repeated and old ones thinned; the sample needs no weights, which keeps the fit fast. Rows are chosen
    systematically (Madow 1949): row i as often as the running sum of expectations passes a half. Rows sorted by time
    are thus thinned evenly over it, equal importance within the cap keeps every row once, and the same rows always
    give the same sample.
    """
    rows = len(importance)
    drawn = min(rows, cap)
    total = float(importance.sum())
    if total <= 0:
        return np.arange(0)
    # Rounded, so that sums of equal shares land on the same side of a half on every machine.
    through = np.round(np.cumsum(importance) * (drawn / total), 6)
    times = np.diff(np.floor(through + 0.5), prepend=0.0).astype(np.int64)
    return np.repeat(np.arange(rows), np.maximum(times, 0))


def inclusion(importance: Floats, counts: npt.NDArray[np.int64], cap: int) -> Floats:
    """Share kept of groups of `counts` rows of equal importance: min(1, c x importance), in all `cap` rows.

    Groups that reach 1 are set aside until none is above it.
    """
    if counts.sum() <= cap:
        return np.ones(len(importance))
    sure = np.zeros(len(importance), dtype=bool)
    while True:
        left = cap - float(counts[sure].sum())
        total = float((importance * counts)[~sure].sum())
        if left <= 0 or total <= 0:
            return sure.astype(np.float64)
        keep = np.where(sure, 1.0, importance * left / total)
        over = (keep >= 1) & ~sure
        if not over.any():
            return np.clip(keep, 0, 1)
        sure |= over
