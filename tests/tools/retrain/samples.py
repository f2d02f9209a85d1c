"""Small tables for recipes and searches."""

from __future__ import annotations

import numpy as np
import pandas as pd

from policies.declarations.binding import Features
from tools.retrain import recipe
from tools.retrain.recipe import Hyperparameters
from tools.retrain.recipes import BuiltIn
from tools.retrain.sampling import Rows
from tools.retrain.search import Task

MIXED = Features(numeric=["x", "z"], categorical=["kind"])


def table(seed: int, rows: int, changed: bool = False) -> tuple[pd.DataFrame, np.ndarray]:
    """Features and outcomes; `changed` turns the sign of the reason."""
    rng = np.random.default_rng(seed)
    x, z = rng.normal(size=rows), rng.integers(0, 5, rows)
    kind = rng.choice(np.array(["a", "b", None], dtype=object), rows)
    drive = (-1 if changed else 1) * 2 * x + (kind == "a")
    outcomes = (rng.random(rows) < 1 / (1 + np.exp(1 - drive))).astype(float)
    return pd.DataFrame({"kind": kind, "x": np.where(rng.random(rows) < 0.1, np.nan, x), "z": z}), outcomes


def some_rows(seed: int, rows: int, oldest: float, newest: float, changed: bool = False) -> Rows:
    """Rows whose ages fall from `oldest` to `newest`."""
    frame, outcomes = table(seed, rows, changed)
    return Rows(recipe.feature_frame(frame, MIXED), outcomes, np.linspace(oldest, newest, rows), np.ones(rows))


def both(a: Rows, b: Rows) -> Rows:
    """The rows of `a`, then those of `b`."""
    parts = ((a.outcomes, b.outcomes), (a.ages, b.ages), (a.stands_for, b.stands_for))
    return Rows(pd.concat([a.frame, b.frame]), *(np.concatenate(each) for each in parts))


def built_in(train: Rows, validation: Rows, **base: float) -> Task:
    """A task of the built-in recipe, judged by AUC."""
    return Task.of(BuiltIn(MIXED, Hyperparameters(**base)), train, validation, "auc_roc", seed=3)  # type: ignore[arg-type]
