"""The tool `retrain`: from the pipeline's triggers to a registered challenger, or the reason why not."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from policies.declarations.training import Training
from policies.errors import InputError
from tools.retrain import evidence, training
from tools.retrain.case import Case
from tools.retrain.evidence import COMPLETED, FAILED, RUNNING, WITHDRAWN
from tools.retrain.recipe import Hyperparameters
from tools.retrain.result import RetrainArguments, RetrainResult, TriggerAnswer
from tools.systems.registry import CHALLENGER, CHAMPION
from tools.systems.store import Evidence, Kind
from tools.systems.tool import Effect, Tool

if TYPE_CHECKING:
    from datetime import datetime

    from tools.retrain.training import Trained
    from tools.systems.registry import ModelVersion
    from tools.systems.systems import Systems


def run(systems: Systems, arguments: RetrainArguments) -> RetrainResult:
    """Trains a challenger if one of the pipeline's triggers fires and no policy refuses, and registers it. Use it when
    drift was found and its cause is a changed world, not broken data. It may not start: then `started` is false and
    `skipped_because` says which rule refused and until when. It never changes what serves.

    Policies (cooldown, sound data, no rollout running) hold under `force_trigger` too; whether there is something to
    learn yet is asked of unforced runs only.

    Raises:
        InputError: the pipeline is unknown, or there are no rows to learn from.
    """
    case = Case.open(systems, arguments.pipeline)
    for decision in case.policies():
        if not decision.allowed:
            why = "; ".join(decision.reasons)
            return case.skipped(why, [], policy=decision.policy, until=case.until(decision))
    asked = case.ask(arguments.force_trigger)
    if not asked[-1].fired:
        why = "no trigger fired: " + "; ".join(f"{each.trigger}: {each.reason}" for each in asked)
        return case.skipped(why, asked, until=min((each.until for each in asked if each.until), default=None))
    if arguments.force_trigger is None and (refusal := case.nothing_to_learn(asked[-1].trigger)) is not None:
        return case.skipped(str(refusal), asked, until=refusal.until)
    return _start(case, asked)


def _start(case: Case, asked: list[TriggerAnswer]) -> RetrainResult:
    """Stores the run as started, trains, registers the challenger. A failure is stored with its reason, and raised."""
    store, opening = case.systems.store, {"pipeline": case.name, "process": os.getpid(), "host": socket.gethostname()}
    rests_on = case.seen[0].report_id if case.seen else None
    row = store.add(Kind.training_run, case.model, opening, at=case.now, status=RUNNING, rests_on=rests_on)
    if (rival := _rival(case, row)) is not None:
        store.update(row.id, status=WITHDRAWN)
        until = rival.created_at + case.cooldown
        return case.skipped(f"{rival.id} started first", asked, policy="retraining_cooldown", until=until)
    try:
        result = _train(case, row.id, asked)
    except BaseException as error:
        store.update(row.id, status=FAILED, body={**opening, "failure": str(error) or type(error).__name__})
        raise
    store.update(row.id, status=COMPLETED, version=result.version, body=result)
    return result


def _rival(case: Case, row: Evidence) -> Evidence | None:
    """A run that another process started between our look at the store and our row; the lowest number goes on."""
    for other in case.runs():
        recent = other.status == RUNNING or case.now - other.created_at < case.cooldown
        if _number(other) < _number(row) and recent:
            return other
    return None


def _number(row: Evidence) -> int:
    return int(row.id.rpartition("-")[2])


def _train(case: Case, run_id: str, asked: list[TriggerAnswer]) -> RetrainResult:
    systems, declared = case.systems, case.pipeline.training
    trained = training.train(
        systems,
        case.model,
        declared,
        objective=case.pipeline.promotion.metric,
        as_of=case.now,
        base=Hyperparameters.from_params(case.serving.params if case.serving else {}),
        changed_at=case.began,
        trials=declared.trials if declared.auto_hyperparameter_tune else 1,
    )
    tags = {"guardian.run": run_id, "guardian.triggered_by": asked[-1].trigger}
    version = training.register(systems, case.model, trained, as_of=case.now, metrics={}, tags=tags)
    systems.registry.set_alias(version.name, CHALLENGER, version.version)
    return _completed(run_id, case.name, case.model, asked, trained, trained.metrics, version, case.seconds())


def train_first_champion(systems: Systems, model: str, at: datetime) -> RetrainResult:
    """Trains a model's first champion by the recipe, on rows before the holdout, and gives it the alias `champion`.

    There is nothing yet to compare it with: that a person adopts it is what its evidence row says. Its metrics hold
    the holdout's too (`holdout_auc_roc`, …), as the baseline for later.

    Raises:
        InputError: the model has a champion already, or there are no rows to learn from.
    """
    seconds = training.stopwatch()
    standing = evidence.champion(systems, model)
    if standing is not None:
        raise InputError(f"version {standing.version} is its champion already; retrain it instead", where=model)
    name = systems.operations.pipeline_of(model)
    declared = (
        systems.operations.retraining_pipelines[name].training
        if name
        else Training(use_experiment=model, data_window="expanding")
    )
    trained = training.train(
        systems, model, declared, objective="auc_roc", as_of=at, base=Hyperparameters(), changed_at=None, trials=1
    )
    judged = training.holdout_metrics(systems, model, trained)
    tags = {"guardian.adopted_by": "a person, as the first champion"}
    version = training.register(systems, model, trained, as_of=at, metrics=judged, tags=tags)
    systems.registry.set_alias(version.name, CHAMPION, version.version)
    asked = [TriggerAnswer(trigger="first_champion", fired=True, reason="adopted by a person: there was none before")]
    opening = {"pipeline": None}
    row = systems.store.add(Kind.training_run, model, opening, at=at, version=version.version, status=RUNNING)
    metrics = {**trained.metrics, **judged}
    result = _completed(row.id, None, model, asked, trained, metrics, version, seconds())
    systems.store.update(row.id, status=COMPLETED, body=result)
    return result


def _completed(
    run_id: str,
    name: str | None,
    model: str,
    asked: list[TriggerAnswer],
    trained: Trained,
    metrics: dict[str, float],
    version: ModelVersion,
    seconds: float,
) -> RetrainResult:
    return RetrainResult(
        run_id=run_id,
        pipeline=name,
        triggered_by=asked[-1].trigger,
        started=True,
        skipped_because=None,
        model=model,
        version=version.version,
        mlflow_run_id=version.run_id,
        metrics=metrics,
        data_window=trained.window,
        best_params=trained.parameters.as_params(),
        seconds=seconds,
        triggers=asked,
    )


TOOL = Tool(
    name="retrain",
    effect=Effect.WRITE,
    arguments=RetrainArguments,
    result=RetrainResult,
    run=run,
    references={"pipeline": "retraining_pipelines"},
)
