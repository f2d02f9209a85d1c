"""A first champion by one fit of the built-in recipe, for rows that all came at once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.errors import InputError
from tools import tasks
from tools.evaluate.metrics import Scored
from tools.retrain import recipe, rows, sampling
from tools.retrain.recipe import Hyperparameters
from tools.retrain.result import DataWindow
from tools.retrain.training import SEED, Order, Trained, example_of
from tools.systems import datasets, holdouts

if TYPE_CHECKING:
    from tools.systems.systems import Systems

_VALIDATION_SHARE = 1 / 4


def fit_once(systems: Systems, run_id: str, order: Order) -> Trained:
    """Fits the recipe's defaults on the labelled rows before the holdout, and once more with the validation rows.

    The validation rows are the last quarter; where rows and holdout have one time, as those of one load have, a quarter
    at random (seeded), and the caller has kept the holdout out of the table. Raises InputError for too few rows.
    """
    model = order.model
    binding = systems.operations.model(model)
    holdout_start = holdouts.period(systems, model, order.as_of).start
    _, last, _ = datasets.time_span(systems, binding.table, binding.time)
    one_load = last == holdout_start
    end = last + timedelta(microseconds=1) if one_load else holdout_start
    found = datasets.labelled(systems, model, rows.EARLIEST, end, order.as_of)
    task = tasks.of(binding.task)
    if len(found) < 2 or found[binding.target].nunique() < 2:
        raise InputError(f"the {len(found):,} labelled rows before the holdout say nothing", where=binding.labels.table)
    if one_load:
        found = found.sample(frac=1.0, random_state=SEED, ignore_index=True)
    whole = len(found)
    found = found.iloc[sampling.thin(np.ones(whole), order.training.max_rows)].reset_index(drop=True)
    frame = recipe.feature_frame(found, binding.features)
    outcomes = task.outcomes(found[binding.target].to_numpy(), binding.labels.table)
    cut = round(len(found) * (1 - _VALIDATION_SHARE))
    parameters = Hyperparameters(min_leaf_rows=max(1, min(Hyperparameters.min_leaf_rows, len(found) // 50)))

    def fitted(upto: int) -> Any:
        pipeline = recipe.build(binding.features, parameters, SEED, task)
        return recipe.fit(pipeline, frame[:upto], outcomes[:upto], task)

    said = recipe.predict(fitted(cut), frame[cut:], task)
    threshold = task.threshold(outcomes[cut:], said)
    judged = task.answers(outcomes[cut:], said, threshold)
    metrics = tasks.measured(task, judged)
    pipeline = fitted(len(found))
    example = example_of(frame)
    times = found[binding.time]
    return Trained(
        pipeline=pipeline,
        recipe=order.training.use_experiment,
        recipe_version=None,
        parameters=parameters.as_params(),
        threshold=threshold,
        judged=judged if isinstance(judged, Scored) and threshold is not None else None,
        metrics={f"validation_{name}": value for name, value in metrics.items() if np.isfinite(value)},
        window=DataWindow(
            declared=order.training.data_window,
            start=None,
            cut=times.iloc[cut].to_pydatetime(),
            end=end,
            holdout_start=holdout_start,
            rows=len(found),
            labelled_rows=whole,
            changed_at=None,
            new_rows=0,
            digest=rows.digest(found),
        ),
        last_row=last if one_load else times.iloc[-1].to_pydatetime(),
        keys=rows.keys(found[binding.id], times),
        example=example,
        example_scores=task.numbers(recipe.predict(pipeline, example, task)),
        trials=(),
        stopped=None,
    )
