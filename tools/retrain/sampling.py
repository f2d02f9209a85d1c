"""Thinning a training window to a bounded number of rows without forgetting what is recent."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def ages_in_days(times: npt.NDArray[np.datetime64], end: datetime) -> Floats:
    """Days from each row's time to `end`."""
    microseconds = np.datetime64(end, "us").astype(np.int64) - times.astype("datetime64[us]").astype(np.int64)
    return np.asarray(microseconds / 86_400e6, dtype=np.float64)


def recency(ages: Floats, half_life_days: float | None) -> Floats:
    """Importance of a row: 2^(-age / half-life); 1 for all without a half-life."""
    return np.ones(len(ages)) if half_life_days is None else np.exp2(-np.maximum(ages, 0) / half_life_days)


def thin(importance: Floats, cap: int) -> tuple[npt.NDArray[np.intp], Floats]:
    """At most about `cap` rows, and weights under which they stand for all rows at their importance.

    Row i is kept with probability p_i = min(1, c x importance_i), c such that the p_i sum to `cap`, and then
    weighs importance_i / p_i (Horvitz & Thompson 1952), scaled to mean 1. Recent rows are thus kept whole and
    old ones thinned. Rows are chosen systematically along their order (one step of the running sum of p a
    row), so that rows sorted by time are thinned evenly over it, and the same rows give the same sample.
    """
    keep = inclusion(importance, np.ones(len(importance), dtype=np.int64), cap)
    through = np.floor(np.cumsum(keep) + 0.5)
    # Sure rows are kept by name: the running sum of floats may miss one of them by its last bit.
    chosen = np.flatnonzero((np.diff(through, prepend=0.0) > 0) | (keep >= 1))
    weights = importance[chosen] / keep[chosen]
    return chosen, weights / weights.mean() if len(weights) else weights


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
