"""Classifiers that go wrong in production only, importable by a challenger's process: calm while registered."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

CALM_TENURE = -1.0
"""`tenure_days` of the example rows with which they are registered."""


class Faulty(ClassifierMixin, BaseEstimator):
    """A constant score, after the misbehaviour."""

    def fit(self, X: Any, y: Any) -> Faulty:
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: Any) -> Any:
        if (np.asarray(X["tenure_days"], dtype=float) != CALM_TENURE).any():
            self.misbehave()
        return np.tile([0.75, 0.25], (len(X), 1))

    def misbehave(self) -> None:
        """Nothing: a healthy constant."""


class Slow(Faulty):
    """Twice the time that the gateway waits for a challenger."""

    def misbehave(self) -> None:
        time.sleep(0.4)


class Failing(Faulty):
    """An error for every customer."""

    def misbehave(self) -> None:
        raise ValueError("a feature store that is not there")
