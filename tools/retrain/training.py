"""One training from labelled rows to a registered version: window, split, search, refit, registration."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.declarations.training import Training
from tools.evaluate.metrics import METRICS, Scored, best_f1_threshold, metric
from tools.retrain import recipe, rows, search, window
from tools.retrain.recipe import Hyperparameters
from tools.retrain.result import DataWindow
from tools.systems import datasets

if TYPE_CHECKING:
    import pandas as pd

    from tools.evaluate.metrics import Floats
    from tools.systems.registry import ModelVersion
    from tools.systems.systems import Systems

SEED = 20
EXAMPLE_ROWS = 20
EXAMPLE_FILE = "example.json"
THRESHOLD_PARAM = "threshold"
TRAIN_END_TAG = "guardian.train_end"
AS_OF_TAG = "guardian.as_of"
_FEWEST_OF_A_CLASS = 20


@dataclass(frozen=True)
class Trained:
    """A fitted model and what it is to be judged by: validation metrics, its F1 threshold, where its data came from."""

    pipeline: Any
    parameters: Hyperparameters
    threshold: float
    metrics: dict[str, float]
    window: DataWindow
    last_row: datetime
    example: pd.DataFrame
    example_scores: Floats
    trials: int


def train(
    systems: Systems,
    model: str,
    training: Training,
    *,
    objective: str,
    as_of: datetime,
    base: Hyperparameters,
    changed_at: datetime | None,
    trials: int,
) -> Trained:
    """Trains on labelled rows earlier than the holdout; what is judged later was never seen.

    Parameters are chosen on the validation slice by `objective` (a metric's name), and so is the F1 threshold; the
    model is then fitted once more on train and validation together.

    Raises:
        InputError: the holdout or the window has no usable rows, or they overlap.
    """
    binding = systems.operations.model(model)
    holdout_start, _, _ = datasets.time_span(systems, binding.holdout, binding.time)
    start = window.window_start(training.data_window, holdout_start)
    found = rows.read(systems, model, start, holdout_start, as_of, training.max_rows)
    split = _split(training.data_window, found, holdout_start, changed_at)
    judge = metric(objective)
    sign = 1 if judge.direction == "higher" else -1
    best = search.search(
        binding.features,
        found.between(split.start, split.cut),
        found.between(split.cut, split.end),
        lambda outcomes, scores: sign * judge(Scored(outcomes, scores)),
        base=base,
        trials=trials,
        seed=SEED,
        max_seconds=timedelta(hours=training.max_training_hours).total_seconds(),
    )
    pipeline = search.fitted(binding.features, found.rows, best.parameters, training.max_rows, SEED)
    threshold = best_f1_threshold(best.validation.outcomes, best.validation_scores)
    judged = Scored(best.validation.outcomes, best.validation_scores, threshold)
    computed = {name: entry(judged) for name, entry in METRICS.items() if entry.task == "binary"}
    example = _example(found.rows.frame)
    return Trained(
        pipeline=pipeline,
        parameters=best.parameters,
        threshold=threshold,
        metrics={f"validation_{name}": value for name, value in computed.items() if np.isfinite(value)},
        window=DataWindow(
            declared=training.data_window,
            start=split.start,
            cut=split.cut,
            end=split.end,
            holdout_start=holdout_start,
            rows=len(found.rows),
            labelled_rows=found.labelled,
            changed_at=changed_at,
            new_rows=0 if changed_at is None else round(float(_since(found, changed_at).stands_for.sum())),
            digest=found.digest,
        ),
        last_row=found.last,
        example=example,
        example_scores=recipe.score(pipeline, example),
        trials=best.trials,
    )


def register(
    systems: Systems, model: str, trained: Trained, *, as_of: datetime, metrics: dict[str, float], tags: dict[str, str]
) -> ModelVersion:
    """Logs and registers a trained model with everything needed to repeat and to check it."""
    name = systems.operations.model(model).registry_name
    example = {"rows": trained.example.to_dict("records"), "scores": trained.example_scores.tolist()}
    return systems.registry.register(
        name,
        trained.pipeline,
        example=trained.example,
        params={
            **trained.parameters.as_params(),
            THRESHOLD_PARAM: f"{trained.threshold!r}",
            "data_window": trained.window.declared,
            "seed": SEED,
            "trials": trained.trials,
        },
        metrics={**trained.metrics, **metrics},
        tags={
            "guardian.model": model,
            "guardian.data_start": f"{trained.window.start or 'beginning'}",
            TRAIN_END_TAG: trained.last_row.isoformat(),
            AS_OF_TAG: as_of.isoformat(),
            "guardian.data_digest": trained.window.digest,
            "guardian.code_version": code_version(),
            **tags,
        },
        artifacts={EXAMPLE_FILE: json.dumps(example).encode()},
    )


def code_version() -> str:
    """The installed version of this package, `0` where it runs from a folder."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("mlops-guardian")
    except PackageNotFoundError:
        return "0"


def holdout_metrics(systems: Systems, model: str, trained: Trained) -> dict[str, float]:
    """Every binary metric on the model's holdout table, named `holdout_…`."""
    binding = systems.operations.model(model)
    table = datasets.table(systems, binding.holdout).dropna(subset=[binding.target])
    scores = recipe.score(trained.pipeline, recipe.feature_frame(table, binding.features))
    judged = Scored(table[binding.target].to_numpy(np.float64), scores, trained.threshold)
    computed = {name: entry(judged) for name, entry in METRICS.items() if entry.task == "binary"}
    return {f"holdout_{name}": value for name, value in computed.items() if np.isfinite(value)}


def stopwatch() -> Any:
    """A function that gives the seconds since now."""
    started = time.perf_counter()
    return lambda: round(time.perf_counter() - started, 3)


def _split(
    data_window: str, found: rows.TrainingRows, holdout_start: datetime, changed_at: datetime | None
) -> window.TemporalSplit:
    """The temporal split; by the known change only where its validation slice has rows enough of both classes."""
    first: datetime = found.times[0].astype("datetime64[us]").item()
    split = window.temporal_split(data_window, first, holdout_start, changed_at)
    outcomes = found.between(split.cut, split.end).outcomes
    if changed_at is None or min(outcomes.sum(), (1 - outcomes).sum()) >= _FEWEST_OF_A_CLASS:
        return split
    return window.temporal_split(data_window, first, holdout_start, None)


def _since(found: rows.TrainingRows, moment: datetime) -> search.Rows:
    return found.rows.at(np.flatnonzero(found.times >= np.datetime64(moment, "us")))


def _example(frame: pd.DataFrame) -> pd.DataFrame:
    """A few late rows without gaps where there are any: a signature is read from them."""
    complete = frame.tail(5000).dropna()
    return (complete if len(complete) >= EXAMPLE_ROWS else frame).tail(EXAMPLE_ROWS).reset_index(drop=True)
