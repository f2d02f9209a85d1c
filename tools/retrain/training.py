"""One training from labelled rows to a registered version: window, split, search, refit, registration."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.declarations.training import Training
from tools import tasks
from tools.evaluate.metrics import Scored
from tools.retrain import plots, provenance, recipe, rows, study, window
from tools.retrain.job import Job
from tools.retrain.process import TrainingProcess
from tools.retrain.recipes import RECIPE_PARAM, resolve
from tools.retrain.result import DataWindow
from tools.retrain.sampling import Rows
from tools.retrain.search import TrialRecord
from tools.systems import holdouts

if TYPE_CHECKING:
    import pandas as pd

    from tools.systems.registry import ModelVersion
    from tools.systems.systems import Systems

SEED = 20
EXAMPLE_ROWS = 20
EXAMPLE_FILE = "example.json"
KEYS_FILE = "training_rows.npy"
THRESHOLD_PARAM = "threshold"
TRAIN_END_TAG = "guardian.train_end"
AS_OF_TAG = "guardian.as_of"
RECIPE_TAG = "guardian.recipe_version"
_SEARCH_SHARE = 0.8


@dataclass(frozen=True)
class Trained:
    """A fitted model and what it is to be judged by: validation metrics, its F1 threshold, where its data came from.

    `keys` are those of all rows that it was fitted or chosen on; `judged` are the validation rows it was chosen on and
    `threshold` is None where the task is not binary; `stopped` says what ended the work early, None where nothing did.
    """

    pipeline: Any
    recipe: str
    recipe_version: str | None
    parameters: dict[str, str]
    threshold: float | None
    judged: Scored | None
    metrics: dict[str, float]
    window: DataWindow
    last_row: datetime
    keys: rows.Keys
    example: pd.DataFrame
    example_scores: list[float]
    trials: tuple[TrialRecord, ...]
    stopped: str | None


@dataclass(frozen=True)
class Order:
    """What a run asks for.

    Attributes:
        objective: the metric that chooses between trials.
        as_of: labels that arrived later are not known.
        known: what the champion's run recorded; empty without one.
        changed_at: when the world changed, None where it did not.
        seconds: what may be taken for it.
    """

    model: str
    training: Training
    objective: str
    as_of: datetime
    known: dict[str, str]
    changed_at: datetime | None
    trials: int
    seconds: float


def train(systems: Systems, run_id: str, order: Order) -> Trained:
    """Trains on labelled rows earlier than the holdout; what is judged later was never seen.

    Parameters are chosen on the validation slice by the objective, and so is the F1 threshold; the model is then fitted
    once more on train and validation together. All of it happens in a process of its own (`process`), whose trials are
    kept as they end: the same run, called again after an interruption, goes on from there.

    Raises:
        InputError: the holdout or the window has no usable rows, they overlap, or the recipe does not work.
        GuardianError: a limit was reached before the first trial ended.
    """
    model, training = order.model, order.training
    binding = systems.operations.model(model)
    scratch = systems.state / "training" / run_id
    task = tasks.of(binding.task)
    named = resolve(training.use_experiment, systems.home, binding.features, binding.target, order.known, scratch, task)
    version = named.version()
    deadline = time.monotonic() + order.seconds
    with (systems.trainer or TrainingProcess)() as process:
        holdout_start = holdouts.period(systems, model, order.as_of).start
        start = window.window_start(training.data_window, holdout_start)
        found = rows.read(systems, model, start, holdout_start, order.as_of, training.max_rows)
        split = _split(task, training.data_window, found, holdout_start, order.changed_at)
        cut = split.place_of_cut(found.times)
        searched = study.digest(found.digest, cut, training, order.known, order.objective, order.trials, SEED)
        earlier = study.earlier(systems.store, run_id, searched)
        trials = list(earlier)

        def keep(records: list[TrialRecord]) -> None:
            study.keep(systems.store, run_id, searched, records)
            trials.extend(records)

        left = deadline - time.monotonic()
        job = Job(
            training=training,
            home=systems.home,
            features=binding.features,
            target=binding.target,
            rows=found.rows,
            cut=cut,
            objective=order.objective,
            known=order.known,
            trials=order.trials,
            seed=SEED,
            earlier=earlier,
            search_seconds=left * _SEARCH_SHARE,
            scratch=scratch,
            task=task,
        )
        try:
            made = process.train(job, left, keep)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    threshold = task.threshold(made.outcomes, made.said)
    judged = task.answers(made.outcomes, made.said, threshold)
    computed = tasks.measured(task, judged)
    example = example_of(found.rows.frame)
    return Trained(
        pipeline=made.model,
        recipe=training.use_experiment,
        recipe_version=version,
        parameters=made.parameters,
        threshold=threshold,
        judged=judged if isinstance(judged, Scored) and threshold is not None else None,
        metrics={f"validation_{name}": value for name, value in computed.items() if np.isfinite(value)},
        window=DataWindow(
            declared=training.data_window,
            start=split.start,
            cut=split.cut,
            end=split.end,
            holdout_start=holdout_start,
            rows=len(found.rows),
            labelled_rows=found.labelled,
            changed_at=order.changed_at,
            new_rows=0 if order.changed_at is None else round(float(_since(found, order.changed_at).stands_for.sum())),
            digest=found.digest,
        ),
        # Stopped early, the model knows the training slice alone.
        last_row=found.last if made.stopped is None else found.times[cut - 1].astype("datetime64[us]").item(),
        keys=found.keys,
        example=example,
        example_scores=task.numbers(recipe.predict(made.model, example, task)),
        trials=tuple(trials),
        stopped=made.stopped,
    )


def register(
    systems: Systems, model: str, trained: Trained, *, as_of: datetime, metrics: dict[str, float], tags: dict[str, str]
) -> ModelVersion:
    """Logs and registers a trained model with everything needed to repeat and to check it."""
    name = systems.operations.model(model).registry_name
    example = {"rows": trained.example.to_dict("records"), "scores": trained.example_scores}
    return systems.registry.register(
        name,
        trained.pipeline,
        example=trained.example,
        params={
            **trained.parameters,
            **({} if trained.threshold is None else {THRESHOLD_PARAM: f"{trained.threshold!r}"}),
            RECIPE_PARAM: trained.recipe,
            "data_window": trained.window.declared,
            "seed": SEED,
            "trials": len(trained.trials),
        },
        metrics={**trained.metrics, **metrics},
        tags={
            "guardian.model": model,
            "guardian.data_start": f"{trained.window.start or 'beginning'}",
            TRAIN_END_TAG: trained.last_row.isoformat(),
            AS_OF_TAG: as_of.isoformat(),
            "guardian.data_digest": trained.window.digest,
            "guardian.code_version": provenance.code_version(),
            **({RECIPE_TAG: trained.recipe_version} if trained.recipe_version else {}),
            **({"guardian.stopped": trained.stopped} if trained.stopped else {}),
            **tags,
        },
        artifacts={
            EXAMPLE_FILE: json.dumps(example).encode(),
            KEYS_FILE: rows.written(trained.keys),
            "data_window.json": trained.window.model_dump_json(indent=1).encode(),
            "trials.json": json.dumps([asdict(each) for each in trained.trials], indent=1).encode(),
            "environment.json": json.dumps(provenance.environment(), indent=1).encode(),
            **plots.drawn(trained.judged, trained.trials),
        },
    )


def holdout_metrics(systems: Systems, model: str, trained: Trained, as_of: datetime) -> dict[str, float]:
    """Every metric of the model's task on its holdout, named `holdout_…`."""
    binding = systems.operations.model(model)
    table: pd.DataFrame = holdouts.read(systems, model, as_of).to_pandas().dropna(subset=[binding.target])
    frame = recipe.feature_frame(table, binding.features)
    task = tasks.of(binding.task)
    said, outcomes = (
        recipe.predict(trained.pipeline, frame, task),
        task.outcomes(table[binding.target].to_numpy(), systems.operations.holdout_of(model)),
    )
    computed = tasks.measured(task, task.answers(outcomes, said, trained.threshold))
    return {f"holdout_{name}": value for name, value in computed.items() if np.isfinite(value)}


def stopwatch() -> Any:
    """A function that gives the seconds since now."""
    started = time.perf_counter()
    return lambda: round(time.perf_counter() - started, 3)


def _split(
    task: tasks.Task, data_window: str, found: rows.TrainingRows, holdout_start: datetime, changed_at: datetime | None
) -> window.TemporalSplit:
    """The temporal split; by the known change only where its validation slice has rows enough to judge by."""
    first: datetime = found.times[0].astype("datetime64[us]").item()
    split = window.temporal_split(data_window, first, holdout_start, changed_at)
    if changed_at is None or task.support(found.between(split.cut, split.end).outcomes).enough:
        return split
    return window.temporal_split(data_window, first, holdout_start, None)


def _since(found: rows.TrainingRows, moment: datetime) -> Rows:
    return found.rows.at(np.flatnonzero(found.times >= np.datetime64(moment, "us")))


def example_of(frame: pd.DataFrame) -> pd.DataFrame:
    """A few late rows without gaps where there are any: a signature is read from them."""
    complete = frame.tail(5000).dropna()
    return (complete if len(complete) >= EXAMPLE_ROWS else frame).tail(EXAMPLE_ROWS).reset_index(drop=True)
