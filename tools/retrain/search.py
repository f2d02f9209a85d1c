"""The search for hyper-parameters: a seeded Optuna study judged on the temporal validation slice, and resumable."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from policies.errors import InputError
from tools import tasks
from tools.retrain import recipe
from tools.retrain.recipes import Recipe
from tools.retrain.sampling import Rows
from tools.tasks import BINARY
from tools.tasks import Task as Foretold
from tools.tasks.predicted import Predicted

if TYPE_CHECKING:
    import optuna

    from tools.retrain.compute import Compute

FIT_ROWS = 30_000
VALIDATION_ROWS = 30_000
PRUNED_FROM = 10
"""Searches of fewer trials have too little to compare a bad start with: they are not pruned."""
EARLY_SHARE = 0.25
"""Share of the rows that a trial is first fitted on where searches are pruned."""
_STARTUP_TRIALS = 4


@dataclass(frozen=True)
class Task:
    """What all trials of a search share. `judged` are the validation rows, `foretold` is what a model foretells."""

    recipe: Recipe
    train: Rows
    judged: Rows
    objective: str
    seed: int
    foretold: Foretold = BINARY
    fit_rows: int = FIT_ROWS

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        train: Rows,
        validation: Rows,
        objective: str,
        seed: int,
        foretold: Foretold = BINARY,
    ) -> Task:
        """A task judged on at most `VALIDATION_ROWS` rows."""
        return cls(recipe, train, validation.thinned(None, VALIDATION_ROWS), objective, seed, foretold)


@dataclass(frozen=True)
class Attempt:
    """One fit: its pickled model, what it says of the judged rows, and the objective, to be maximised; or its error."""

    value: float = float("nan")
    model: bytes = b""
    said: Predicted = field(default_factory=lambda: Predicted(np.zeros(0)))
    error: str | None = None


@dataclass(frozen=True)
class TrialRecord:
    """A finished trial, enough of it to go on with its study: `early` is its value on the first share of the rows.

    A complete trial without a value was judged on rows on which the objective is undefined.
    """

    number: int
    state: Literal["complete", "pruned", "failed"]
    parameters: dict[str, Any]
    distributions: dict[str, str]
    value: float | None = None
    early: float | None = None


@dataclass(frozen=True)
class Best:
    """The best trial so far, with its model fitted on the training slice."""

    number: int
    parameters: dict[str, Any]
    attempt: Attempt

    @property
    def rank(self) -> float:
        """Its objective; an undefined one ranks below all."""
        return -np.inf if np.isnan(self.attempt.value) else self.attempt.value


def attempt(task: Task, parameters: dict[str, Any], share: float = 1.0) -> Attempt:
    """Fits and judges one set of parameters on `share` of the rows. An error is an answer, never raised."""
    import cloudpickle

    try:
        model = task.recipe.fit(parameters, task.train, max(1, round(task.fit_rows * share)), task.seed)
        foretold, outcomes = task.foretold, task.judged.outcomes
        said = recipe.predict(model, task.judged.frame, foretold)
        if not tasks.sound(said):
            return Attempt(error="its scores of the validation rows are not all numbers")
        judge = foretold.metric(task.objective)
        # By the threshold that the model will have: at 0.5 a rare class is never flagged, and F1 is 0 for every trial.
        value = judge(foretold.answers(outcomes, said, foretold.threshold(outcomes, said)))
        return Attempt(value if judge.direction == "higher" else -value, cloudpickle.dumps(model), said)
    except MemoryError:
        return Attempt(error="there was not enough memory under the declared memory_limit_gb")
    except Exception as error:  # a recipe is the user's code: whatever it raises is told
        return Attempt(error=str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}")


def search(
    task: Task,
    compute: Compute,
    *,
    trials: int,
    max_seconds: float,
    earlier: Sequence[TrialRecord] = (),
    on_trials: Callable[[list[TrialRecord]], None] = lambda records: None,
    on_best: Callable[[Best], None] = lambda best: None,
    timer: Callable[[], float] = time.monotonic,
) -> Best:
    """Tries up to `trials` sets of parameters (TPE, seeded), `earlier` ones included, and returns the best.

    `compute.at_once` trials run at a time and are reported in their order; the sampler is seeded by a trial's place in
    the study. So the same rows and seed give the same result, in one go or interrupted and gone on with, as long as
    time does not run out. The first batch always runs; after `max_seconds` no further one starts.

    Raises:
        InputError: every trial failed.
    """
    started = timer()
    starts = task.recipe.starts()
    study = _study(starts, earlier)
    done = list(earlier)
    best = _best_of(task, earlier)
    if best is not None:
        on_best(best)
    failure = ""
    while len(done) < trials and (best is None or timer() - started < max_seconds):
        # Free trials draw from the seed as in a study of their own.
        study.sampler = _sampler(task.seed + max(0, len(done) - len(starts)))
        asked = [study.ask() for _ in range(min(compute.at_once, trials - len(done)))]
        given = [task.recipe.suggest(trial) for trial in asked]
        pruned = _pruned(task, compute, asked, given) if trials >= PRUNED_FROM else [False] * len(asked)
        kept = [parameters for parameters, out in zip(given, pruned, strict=True) if not out]
        attempts = iter(compute.map(task, kept, 1.0))
        records = []
        for trial, parameters, out in zip(asked, given, pruned, strict=True):
            result = None if out else next(attempts)
            records.append(_told(study, trial, parameters, result))
            if result is None or result.error is not None:
                failure = failure or (result.error or "" if result else "")
                continue
            candidate = Best(trial.number, parameters, result)
            if best is None or candidate.rank > best.rank:
                best = candidate
                on_best(best)
        done += records
        on_trials(records)
        if best is None and failure:
            break
    if best is None:
        raise InputError(f"no trial could be fitted: {failure or 'all of them failed before'}", where="training")
    return best


def _sampler(seed: int) -> optuna.samplers.BaseSampler:
    import optuna

    return optuna.samplers.TPESampler(seed=seed)


def _study(starts: list[dict[str, Any]], earlier: Sequence[TrialRecord]) -> optuna.Study:
    """A study that knows the earlier trials and has the remaining starts queued."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    pruner = optuna.pruners.MedianPruner(n_startup_trials=_STARTUP_TRIALS)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    for record in earlier:
        study.add_trial(_frozen(record))
    for parameters in starts[len(earlier) :]:
        study.enqueue_trial(parameters)
    return study


def _frozen(record: TrialRecord) -> optuna.trial.FrozenTrial:
    import optuna
    from optuna.distributions import json_to_distribution
    from optuna.trial import TrialState

    state = TrialState.COMPLETE if record.value is not None else TrialState.FAIL
    if record.state == "pruned":
        state = TrialState.PRUNED
    return optuna.trial.create_trial(
        state=state,
        value=record.value if state == TrialState.COMPLETE else record.early if state == TrialState.PRUNED else None,
        params=record.parameters,
        distributions={name: json_to_distribution(text) for name, text in record.distributions.items()},
        intermediate_values={} if record.early is None else {0: record.early},
    )


def _pruned(task: Task, compute: Compute, asked: list[optuna.Trial], given: list[dict[str, Any]]) -> list[bool]:
    """Whether each trial, fitted on the first share of the rows, is behind the median of those before it."""
    firsts = compute.map(task, given, EARLY_SHARE)
    for trial, first in zip(asked, firsts, strict=True):
        if not np.isnan(first.value):
            trial.report(first.value, 0)
    return [trial.should_prune() for trial in asked]


def _told(study: optuna.Study, trial: optuna.Trial, parameters: dict[str, Any], result: Attempt | None) -> TrialRecord:
    """Tells the study how a trial ended (None: pruned)."""
    from optuna.distributions import distribution_to_json
    from optuna.trial import TrialState

    state: Literal["complete", "pruned", "failed"]
    value = None if result is None or np.isnan(result.value) else result.value
    if result is None:
        study.tell(trial, state=TrialState.PRUNED)
        state = "pruned"
    else:
        study.tell(trial, value, state=TrialState.FAIL if value is None else TrialState.COMPLETE)
        state = "complete" if result.error is None else "failed"
    early = study.trials[trial.number].intermediate_values.get(0)
    names = {name: distribution_to_json(each) for name, each in trial.distributions.items()}
    return TrialRecord(trial.number, state, parameters, names, value, early)


def _best_of(task: Task, earlier: Sequence[TrialRecord]) -> Best | None:
    """The best of the trials of an interrupted search, fitted anew."""
    complete = [record for record in earlier if record.state == "complete"]
    if not complete:
        return None
    record = max(complete, key=lambda each: -np.inf if each.value is None else each.value)
    again = attempt(task, record.parameters)
    return None if again.error is not None else Best(record.number, record.parameters, again)
