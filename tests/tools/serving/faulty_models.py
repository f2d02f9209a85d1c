"""Classifiers that misbehave, importable by a challenger's process. Registered like any model."""

from __future__ import annotations

import os
import time
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin


class Misbehaving(ClassifierMixin, BaseEstimator):
    """Score `score` for every row, after the misbehaviour. Quiet while it is registered and checked (`calm` rows)."""

    def __init__(self, score: float = 0.25) -> None:
        self.score = score

    def fit(self, X: Any, y: Any) -> Misbehaving:
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: Any) -> Any:
        # Live requests carry a recency of at least 1000 in these tests; checks at load do not.
        if np.max(np.asarray(X["recency"], dtype=float)) >= 1000:
            self.misbehave(X)
        return np.column_stack([np.full(len(X), 1 - self.score), np.full(len(X), self.score)])

    def misbehave(self, X: Any) -> None:
        """Nothing: a healthy constant."""


class Slow(Misbehaving):
    """Half a second for every call."""

    def misbehave(self, X: Any) -> None:
        time.sleep(0.5)


class Raising(Misbehaving):
    """An error for customers whose recency is above 2000."""

    def misbehave(self, X: Any) -> None:
        if np.max(np.asarray(X["recency"], dtype=float)) > 2000:
            raise ValueError("recency out of range")


class Crashing(Misbehaving):
    """Takes its process down."""

    def misbehave(self, X: Any) -> None:
        os._exit(9)


class Nonsense(Misbehaving):
    """A score that is no probability."""

    def predict_proba(self, X: Any) -> Any:
        return np.full((len(X), 2), np.nan)
