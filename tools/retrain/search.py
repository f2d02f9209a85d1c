"""The search for hyper-parameters: a seeded Optuna study judged on the temporal validation slice."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from tools.retrain import recipe, sampling
from tools.retrain.recipe import Floats, Hyperparameters

if TYPE_CHECKING:
    import optuna
    import pandas as pd

    from policies.declarations.binding import Features

FIT_ROWS = 30_000
VALIDATION_ROWS = 30_000
AT_ONCE = 2
HALF_LIVES: tuple[float | None, ...] = (None, 30.0, 14.0, 7.0)
_LEARNING_RATES, _LEAF_ROWS, _PENALTIES = (0.04, 0.25), (20, 400), (0.1, 30.0)
Objective = Callable[[Floats, Floats], float]
"""(outcomes, scores) → a number to maximise."""


@dataclass(frozen=True)
class Rows:
    """Rows sorted by time.

    Attributes:
        frame: the model's input (`recipe.feature_frame`).
        outcomes: 0 or 1, shape (rows,).
        ages: days to the end of the training window, shape (rows,).
        stands_for: how many rows of the table each stands for, shape (rows,).
    """

    frame: pd.DataFrame
    outcomes: Floats
    ages: Floats
    stands_for: Floats

    def __len__(self) -> int:
        return len(self.outcomes)

    def at(self, chosen: Any) -> Rows:
        """The rows that an index array or a mask names."""
        return Rows(self.frame.iloc[chosen], self.outcomes[chosen], self.ages[chosen], self.stands_for[chosen])

    def thinned(self, half_life_days: float | None, cap: int) -> Rows:
        """At most `cap` rows that stand for all, recent ones the more the shorter the half-life (`sampling.thin`)."""
        return self.at(sampling.thin(self.stands_for * sampling.recency(self.ages, half_life_days), cap))


@dataclass(frozen=True)
class SearchResult:
    """The best trial: its parameters, its objective and scores on the validation rows; how many trials ran."""

    parameters: Hyperparameters
    value: float
    validation: Rows
    validation_scores: Floats
    trials: int


def fitted(features: Features, rows: Rows, parameters: Hyperparameters, cap: int, seed: int) -> Any:
    """The recipe fitted on `rows`, thinned to `cap` by the parameters' half-life."""
    part = rows.thinned(parameters.half_life_days, cap)
    # However few rows there are, the trees must still be able to split them.
    leaf = max(1, min(parameters.min_leaf_rows, len(part) // 50))
    pipeline = recipe.build(features, replace(parameters, min_leaf_rows=leaf), seed)
    return recipe.fit(pipeline, part.frame, part.outcomes)


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

    The first trials are the champion's parameters with each half-life in turn, because after a change how much to
    forget matters more than anything else; TPE goes on from there. Two trials run at a time and are reported in their
    order, so that the same rows and seed give the same result as long as time does not run out. The first two always
    run; after `max_seconds` no further ones start.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    started = timer()
    judged = validation.thinned(None, VALIDATION_ROWS)

    def attempt(parameters: Hyperparameters) -> tuple[float, Hyperparameters, Floats]:
        scores = recipe.score(fitted(features, train, parameters, fit_rows, seed), judged.frame)
        return objective(judged.outcomes, scores), parameters, scores

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed))
    lives = sorted(HALF_LIVES, key=lambda life: life != base.half_life_days)
    for life in lives:
        study.enqueue_trial(_as_trial(base, life))
    done: list[tuple[float, Hyperparameters, Floats]] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while len(done) < trials and (not done or timer() - started < max_seconds):
            asked = [study.ask() for _ in range(min(AT_ONCE, trials - len(done)))]
            results = list(pool.map(attempt, [_suggested(trial, base) for trial in asked]))
            for trial, result in zip(asked, results, strict=True):
                state = optuna.trial.TrialState.FAIL if np.isnan(result[0]) else optuna.trial.TrialState.COMPLETE
                study.tell(trial, None if np.isnan(result[0]) else result[0], state=state)
            done += results
    # One class only on the validation rows gives NaN everywhere: then the first trial, the champion's, stands.
    value, parameters, scores = max(done, key=lambda each: -np.inf if np.isnan(each[0]) else each[0])
    return SearchResult(parameters, value, judged, scores, len(done))


def _as_trial(base: Hyperparameters, half_life_days: float | None) -> dict[str, Any]:
    return {
        "half_life_days": half_life_days,
        "learning_rate": float(np.clip(base.learning_rate, *_LEARNING_RATES)),
        "min_leaf_rows": int(np.clip(base.min_leaf_rows, *_LEAF_ROWS)),
        "l2": float(np.clip(base.l2, *_PENALTIES)),
    }


def _suggested(trial: optuna.Trial, base: Hyperparameters) -> Hyperparameters:
    life = trial.suggest_categorical("half_life_days", HALF_LIVES)
    return replace(
        base,
        half_life_days=None if life is None else float(life),
        learning_rate=trial.suggest_float("learning_rate", *_LEARNING_RATES, log=True),
        min_leaf_rows=trial.suggest_int("min_leaf_rows", *_LEAF_ROWS, log=True),
        l2=trial.suggest_float("l2", *_PENALTIES, log=True),
    )
