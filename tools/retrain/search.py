"""The search for hyper-parameters: a seeded Optuna study judged on the temporal validation slice."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from tools.retrain import recipe, sampling
from tools.retrain.recipe import Floats, Hyperparameters

if TYPE_CHECKING:
    import pandas as pd

    from policies.declarations.binding import Features

FIT_ROWS = 60_000
HALF_LIVES: tuple[float | None, ...] = (None, 30.0, 14.0, 7.0)
Objective = Callable[[Floats, Floats], float]
"""(outcomes, scores) → a number to maximise."""


@dataclass(frozen=True)
class Rows:
    """Rows sorted by time: the feature frame, outcomes (0 or 1) and age in days at the window's end."""

    frame: pd.DataFrame
    outcomes: Floats
    ages: Floats

    def __len__(self) -> int:
        return len(self.outcomes)

    def thinned(self, half_life_days: float | None, cap: int) -> tuple[Rows, Floats]:
        """At most about `cap` rows and the weights under which they stand for all (see `sampling.thin`)."""
        chosen, weights = sampling.thin(sampling.recency(self.ages, half_life_days), cap)
        return Rows(self.frame.iloc[chosen], self.outcomes[chosen], self.ages[chosen]), weights


@dataclass(frozen=True)
class SearchResult:
    """The best trial: its parameters, objective and scores on the validation rows; how many trials ran."""

    parameters: Hyperparameters
    value: float
    validation_scores: Floats
    trials: int


def fitted(features: Features, rows: Rows, parameters: Hyperparameters, cap: int, seed: int) -> object:
    """The recipe fitted on `rows`, thinned to `cap` by the parameters' half-life."""
    part, weights = rows.thinned(parameters.half_life_days, cap)
    # A leaf of a quarter of the rows at most: a handful of rows must still be able to split.
    leaf = max(1, min(parameters.min_leaf_rows, len(part) // 50))
    pipeline = recipe.build(features, replace(parameters, min_leaf_rows=leaf), seed)
    return recipe.fit(pipeline, part.frame, part.outcomes, weights)


def search(
    features: Features,
    train: Rows,
    validation: Rows,
    objective: Objective,
    *,
    base: Hyperparameters,
    trials: int,
    seed: int,
    max_seconds: float,
    fit_rows: int = FIT_ROWS,
    timer: Callable[[], float] = time.monotonic,
) -> SearchResult:
    """Tries `trials` sets of parameters (TPE, seeded) and returns the best on the validation rows.

    The first trials are the champion's parameters with each half-life in turn, because after a change how
    much to forget matters more than anything else; TPE goes on from there. Trials differ in nothing but
    their parameters, so the same rows and seed give the same result as long as time does not run out.
    The first trial always runs; after `max_seconds` no further one starts.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    started = timer()
    best: list[tuple[float, Hyperparameters, Floats]] = []

    def attempt(trial: optuna.Trial) -> float:
        life = trial.suggest_categorical("half_life_days", HALF_LIVES)
        parameters = replace(
            base,
            half_life_days=life if isinstance(life, float) else None,
            learning_rate=trial.suggest_float("learning_rate", 0.04, 0.25, log=True),
            min_leaf_rows=trial.suggest_int("min_leaf_rows", 20, 400, log=True),
            l2=trial.suggest_float("l2", 0.1, 30.0, log=True),
        )
        scores = recipe.score(fitted(features, train, parameters, fit_rows, seed), validation.frame)
        value = objective(validation.outcomes, scores)
        if np.isnan(value):
            raise optuna.TrialPruned
        best.append((value, parameters, scores))
        if timer() - started >= max_seconds:
            trial.study.stop()
        return value

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    for life in HALF_LIVES:
        study.enqueue_trial(
            {
                "half_life_days": life,
                "learning_rate": float(np.clip(base.learning_rate, 0.04, 0.25)),
                "min_leaf_rows": int(np.clip(base.min_leaf_rows, 20, 400)),
                "l2": float(np.clip(base.l2, 0.1, 30.0)),
            }
        )
    study.optimize(attempt, n_trials=trials)
    if not best:
        # One class only on the validation rows: nothing to choose by, so nothing is chosen.
        scores = recipe.score(fitted(features, train, base, fit_rows, seed), validation.frame)
        return SearchResult(base, float("nan"), scores, len(study.trials))
    value, parameters, scores = max(best, key=lambda each: each[0])
    return SearchResult(parameters, value, scores, len(best))
