"""Models that misbehave in service, importable by a challenger's process and registered like any other."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

TROUBLE = 50.0
"""A value of `a` from here on makes the failing model fail; nobody has it before a test says so."""


class Dragging(ClassifierMixin, BaseEstimator):
    """Ranks by `a` as well as can be, and takes twenty milliseconds longer than it must."""

    def fit(self, X: Any, y: Any) -> Dragging:
        self.classes_ = np.array([0, 1])
        return self

    def predict_proba(self, X: Any) -> Any:
        self.misbehave(np.asarray(X["a"], dtype=float))
        score = 1 / (1 + np.exp(-np.asarray(X["a"], dtype=float)))
        return np.column_stack([1 - score, score])

    def misbehave(self, a: Any) -> None:
        """Drags."""
        time.sleep(0.02)


class Failing(Dragging):
    """Raises for every row in trouble."""

    def misbehave(self, a: Any) -> None:
        """Fails."""
        if np.max(a) >= TROUBLE:
            raise ValueError("a is out of range")


class Raising(Dragging):
    """Raises for every row."""

    def misbehave(self, a: Any) -> None:
        """Raises."""
        raise ValueError("nothing is right")


class Crashing(Dragging):
    """Ends its process as a fault in native code does."""

    def misbehave(self, a: Any) -> None:
        """Crashes."""
        os.kill(os.getpid(), signal.SIGSEGV)


class Hanging(Dragging):
    """Never answers."""

    def misbehave(self, a: Any) -> None:
        """Hangs."""
        time.sleep(600)


class Hungry(Dragging):
    """Wants more memory than any process of it may hold."""

    def misbehave(self, a: Any) -> None:
        """Takes it."""
        np.ones(1 << 40)
