"""The tool `retrain`: from the pipeline's triggers to a registered challenger, or the reason why not."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from policies.declarations.training import RetrainingPipeline, Training
from policies.errors import GuardianError, InputError, PolicyRefusal
from policies.promotion import Decision
from policies.retraining import BROKEN_DATA, one_run_at_a_time
from tools import tasks
from tools.retrain import claim, evidence, training
from tools.retrain.case import Case
from tools.retrain.claim import RUNNING, Claim
from tools.retrain.result import RetrainArguments, RetrainResult, TriggerAnswer
from tools.retrain.settle import Settled, complete, fail, settle
from tools.retrain.training import Order, Trained
from tools.systems.registry import CHALLENGER, CHAMPION, RUN_TAG
from tools.systems.store import Evidence
from tools.systems.tool import Effect, Tool

if TYPE_CHECKING:
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
    settled = _settled(systems, arguments.pipeline)
    case = Case.open(systems, arguments.pipeline)
    if settled.resumable is not None:
        return _go_on(case, settled.resumable)
    if settled.finished is not None:
        return settled.finished
    for decision in case.policies():
        if not decision.allowed:
            return _refused(case, decision, [])
    asked = case.ask(arguments.force_trigger)
    if not asked[-1].fired:
        why = "no trigger fired: " + "; ".join(f"{each.trigger}: {each.reason}" for each in asked)
        return case.skipped(why, asked, until=min((each.until for each in asked if each.until), default=None))
    if arguments.force_trigger is None and (refusal := case.nothing_to_learn(asked[-1].trigger)) is not None:
        return case.skipped(str(refusal), asked, until=refusal.until)
    return _start(case, asked)


def _settled(systems: Systems, name: str) -> Settled:
    pipeline = systems.operations.named("retraining_pipelines", name)
    assert isinstance(pipeline, RetrainingPipeline)
    return settle(systems, pipeline.model, name, timedelta(hours=pipeline.training.max_training_hours))


def _refused(case: Case, decision: Decision, asked: list[TriggerAnswer]) -> RetrainResult:
    if decision.policy == BROKEN_DATA:
        case.alert_owners()
    return case.skipped("; ".join(decision.reasons), asked, policy=decision.policy, until=case.until(decision))


def _start(case: Case, asked: list[TriggerAnswer]) -> RetrainResult:
    """Stores the run as started, unless another process was faster, and carries it out."""
    about = {
        "pipeline": case.name,
        "alias": CHALLENGER,
        "changed_at": case.began,
        "triggers": [each.model_dump(mode="json") for each in asked],
    }
    started = claim.start(case.systems, case.model, about, case.permitted, rests_on=case.grounds)
    if isinstance(started, Decision):
        return _refused(case, started, asked)
    return _carry_out(case.systems, started, _ordered(case, started.row))


def _go_on(case: Case, held: Claim) -> RetrainResult:
    """Goes on with a run whose process was killed, as long as the circumstances allow it; else it failed."""
    systems, row = case.systems, held.row
    for decision in case.circumstances():
        if not decision.allowed:
            fail(systems, row, f"its process was killed, and now {decision.policy}: {'; '.join(decision.reasons)}")
            held.release()
            return _refused(case, decision, [])
    body = {**row.body, **claim.here(), "attempt": int(row.body["attempt"]) + 1}
    resumed = replace(held, row=systems.store.update(row.id, body=body))
    return _carry_out(systems, resumed, _ordered(case, resumed.row))


def _ordered(case: Case, row: Evidence) -> Order:
    declared, changed_at = case.pipeline.training, row.body["changed_at"]
    return Order(
        model=case.model,
        training=declared,
        objective=case.pipeline.promotion.metric,
        as_of=row.created_at,
        known=case.serving.params if case.serving else {},
        changed_at=datetime.fromisoformat(changed_at) if changed_at else None,
        trials=declared.trials if declared.auto_hyperparameter_tune else 1,
        seconds=claim.seconds_left(row, timedelta(hours=declared.max_training_hours)),
    )


def train_first_champion(
    systems: Systems, model: str, at: datetime, train: Callable[[Systems, str, Order], Trained] = training.train
) -> RetrainResult:
    """Trains a model's first champion by the recipe, on rows before the holdout, and gives it the alias `champion`.

    `train` is how: by the search of any retraining, or by one fit (`once.fit_once`), for rows of one load. There is
    nothing yet to compare it with: that a person adopts it is what its evidence row says. Its metrics hold the
    holdout's too (`holdout_auc_roc`, …), as the baseline for later.

    Raises:
        InputError: the model has a champion already, or there are no rows to learn from.
    """
    name = systems.operations.pipeline_of(model)
    declared = (
        systems.operations.retraining_pipelines[name].training
        if name
        else Training(use_experiment=model, data_window="expanding")
    )
    limit = timedelta(hours=declared.max_training_hours)
    settled = settle(systems, model, None, limit)
    if settled.finished is not None:
        return settled.finished
    standing = evidence.champion(systems, model)
    if standing is not None:
        raise InputError(f"version {standing.version} is its champion already; retrain it instead", where=model)
    held = settled.resumable or _first(systems, model)
    objective = tasks.of(systems.operations.model(model).task).objective
    order = Order(model, declared, objective, at, {}, None, 1, claim.seconds_left(held.row, limit))
    return _carry_out(systems, held, order, train)


def _first(systems: Systems, model: str) -> Claim:
    asked = TriggerAnswer(trigger="first_champion", fired=True, reason="adopted by a person: there was none before")
    about = {"pipeline": None, "alias": CHAMPION, "triggers": [asked.model_dump(mode="json")]}

    def permitted(rows: list[Evidence], _: datetime) -> list[Decision]:
        first = (row.id for row in rows if row.status == RUNNING and row.body.get("pipeline") is None)
        return [one_run_at_a_time(next(first, None))]

    started = claim.start(systems, model, about, permitted, rests_on=None)
    if isinstance(started, Decision):
        raise PolicyRefusal(started.policy, "; ".join(started.reasons), where=model)
    return started


def _carry_out(
    systems: Systems, held: Claim, order: Order, train: Callable[[Systems, str, Order], Trained] = training.train
) -> RetrainResult:
    """Trains and registers for a claimed run. A failure is stored with its reason, and raised."""
    row, seconds = held.row, training.stopwatch()
    try:
        trained = train(systems, row.id, order)
        adopted = row.body["alias"] == CHAMPION
        judged = training.holdout_metrics(systems, order.model, trained, order.as_of) if adopted else {}
        asked = [TriggerAnswer.model_validate(each) for each in row.body["triggers"]]
        result = RetrainResult(
            run_id=row.id,
            pipeline=row.body["pipeline"],
            triggered_by=asked[-1].trigger,
            started=True,
            skipped_because=None,
            model=order.model,
            version=None,
            mlflow_run_id=None,
            metrics={**trained.metrics, **judged},
            data_window=trained.window,
            best_params=trained.parameters,
            seconds=seconds(),
            triggers=asked,
            stopped=trained.stopped,
        )
        # Kept before the registry is touched: a restart that finds a version there can finish the run with it.
        row = systems.store.update(row.id, body={**row.body, "trained": result.model_dump(mode="json")})
        tags = {RUN_TAG: row.id, "guardian.triggered_by": asked[-1].trigger}
        if adopted:
            tags["guardian.adopted_by"] = "a person, as the first champion"
        version = training.register(systems, order.model, trained, as_of=order.as_of, metrics=judged, tags=tags)
    except BaseException as error:
        with suppress(GuardianError):  # of a registry that is down: the run's own error is what to tell
            fail(systems, row, str(error) or type(error).__name__)
        raise
    else:
        # What fails from here on fails no run: its version is registered, and the next request completes it.
        return complete(systems, row, version)
    finally:
        held.release()


TOOL = Tool(
    name="retrain",
    effect=Effect.WRITE,
    arguments=RetrainArguments,
    result=RetrainResult,
    run=run,
    references={"pipeline": "retraining_pipelines"},
)
