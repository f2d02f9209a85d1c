"""A model that takes half a second for each batch of rows, importable by a challenger's process."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

SECONDS = 0.5


class Slow(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Answers 0.5 to everything, late."""

    def fit(self, X: Any, y: Any) -> Slow:
        self.classes_ = np.array([False, True])
        return self

    def predict_proba(self, X: Any) -> Any:
        time.sleep(SECONDS)
        return np.full((len(X), 2), 0.5)
