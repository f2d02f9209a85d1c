"""`guardian validate`: do the declarations fit the systems they name? Every problem, not the first."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from pydantic import BaseModel

from agent.prices import price
from policies.declarations.binding import Labels, ModelBinding
from policies.declarations.drift import DriftMonitor
from policies.declarations.kpis import BusinessKpiTracker
from policies.declarations.loader import line_of
from policies.declarations.serving import Batch, ServingInfra
from policies.declarations.training import RetrainingPipeline
from policies.errors import DeclarationError, GuardianError, Problem
from policies.routing import unroutable
from policies.strategies import StrategyFacts, may_use_strategy
from tools.retrain.recipes import BUILT_IN, BuiltIn, UserFunction, resolve
from tools.systems.datasets import misfit
from tools.systems.registry import CHALLENGER, CHAMPION
from tools.systems.systems import Systems
from tools.systems.warehouse import TIMES
from tools.track_kpis.readings import parameters


class Validation(BaseModel):
    """A sound declarations file; `notes` are worth reading but wrong nothing."""

    file: str
    models: list[str]
    notes: list[str]


def validate(systems: Systems, file: Path) -> Validation:
    """Checks tables, columns and versions against the declarations. Raises DeclarationError with every problem."""
    found = list(_problems(systems))
    if found:
        line = line_of(file)
        raise DeclarationError([Problem(str(file), line(place), place, cause) for place, cause in found])
    return Validation(file=str(file), models=list(systems.operations.models), notes=list(_notes(systems)))


def _problems(systems: Systems) -> Iterator[tuple[str, str]]:
    if not systems.operations.models:
        yield "models", "no model is declared: bind at least one to its registry name, tables and features"
    for name, binding in systems.operations.models.items():
        yield from _model_problems(systems, name, binding)
    for name, monitor in systems.operations.drift_monitors.items():
        yield from _monitor_problems(systems, name, monitor)
    for name, pipeline in systems.operations.retraining_pipelines.items():
        yield from _recipe_problems(systems, name, pipeline)
        for number, trigger in enumerate(pipeline.triggers):
            table = getattr(trigger, "label_table", None)
            if table:
                place = f"retraining_pipelines.{name}.triggers[{number}].label_table"
                yield from _table_problems(
                    systems, place, table, _told(systems.operations.model(pipeline.model).labels)
                )
    for name, infra in systems.operations.serving_infra.items():
        if infra.batch is not None:
            yield from _batch_problems(systems, name, infra, infra.batch)
    for name, tracker in systems.operations.business_kpi_trackers.items():
        yield from _kpi_problems(systems, name, tracker)
    for name, agent in systems.operations.agents.items():
        try:
            price(agent.model, 1, 1, provider=agent.provider)
        except GuardianError as error:
            yield f"agents.{name}.model", error.message


def _told(labels: Labels) -> list[str]:
    """The columns of a table of labels or outcomes."""
    return [labels.id, labels.time, labels.value, labels.arrived]


def _model_problems(systems: Systems, name: str, binding: ModelBinding) -> Iterator[tuple[str, str]]:
    place = f"models.{name}"
    wanted = [binding.id, binding.time, *binding.features.names]
    loaded = [source.loaded_at for source in binding.sources.values() if source.loaded_at]
    yield from _table_problems(systems, f"{place}.table", binding.table, [*wanted, *loaded])
    yield from _time_problems(systems, f"{place}.time", binding.table, binding.time)
    if isinstance(binding.holdout, str):
        yield from _table_problems(systems, f"{place}.holdout", binding.holdout, [*wanted, binding.target])
    labels = binding.labels
    yield from _table_problems(systems, f"{place}.labels", labels.table, _told(labels))
    for outcome, told in binding.outcomes.items():
        yield from _table_problems(systems, f"{place}.outcomes.{outcome}", told.table, _told(told))
    yield from _unfit_strategy(systems, name, binding)
    if binding.predictions is not None:
        recorded = [binding.id, binding.time, "model_version", "score"]
        recorded += ["label"] if binding.task == "multiclass" else []
        known = _table_problems if binding.served == "elsewhere" else _written_table_problems
        yield from known(systems, f"{place}.predictions", binding.predictions, recorded)
    if binding.prediction_log is not None:
        yield from _written_table_problems(systems, f"{place}.prediction_log", binding.prediction_log)
    if binding.served == "elsewhere":
        return
    try:
        if systems.registry.alias(binding.registry_name, CHAMPION) is None:
            yield f"{place}.registry_name", f"no version of {binding.registry_name!r} has the alias 'champion'"
    except GuardianError as error:
        yield f"{place}.registry_name", str(error)


def _unfit_strategy(systems: Systems, name: str, binding: ModelBinding) -> Iterator[tuple[str, str]]:
    """A strategy that the model's challenge is to be rolled out by, and that `deploy` would refuse."""
    challenge = systems.operations.challenge_of(name)
    strategy = systems.operations.champion_challengers[challenge].promotion.deployment_strategy if challenge else None
    declared = systems.operations.deployment_strategies.get(strategy or "")
    if strategy is not None and declared is not None:
        for reason in may_use_strategy(strategy, declared, binding, StrategyFacts(labelled=True)).reasons:
            yield f"champion_challengers.{challenge}.promotion.deployment_strategy", reason
        for reason in unroutable(strategy, declared, systems.operations.systems.traffic.get(name)):
            yield f"systems.traffic.{name}", reason


def _time_problems(systems: Systems, place: str, table: str, column: str) -> Iterator[tuple[str, str]]:
    with suppress(GuardianError):  # of the table itself another problem tells
        kind = systems.warehouse.columns(table).get(column)
        if kind is not None and not kind.upper().startswith(TIMES):
            yield place, f"{table}: {misfit(column, kind, 'times')}"


def _monitor_problems(systems: Systems, name: str, monitor: DriftMonitor) -> Iterator[tuple[str, str]]:
    binding = systems.operations.models[monitor.model]
    place = f"drift_monitors.{name}.baseline.dataset"
    moving = [binding.time] if monitor.baseline.period is not None else []
    yield from _table_problems(systems, place, monitor.baseline.dataset, [*moving, *binding.features.names])
    day, tomorrow = monitor.baseline.timestamp, systems.clock.now().date() + timedelta(days=1)
    if day is not None and day > tomorrow:
        told = f"{day} is yet to come; write the last day of the baseline's rows"
        yield f"drift_monitors.{name}.baseline.timestamp", told


def _recipe_problems(systems: Systems, name: str, pipeline: RetrainingPipeline) -> Iterator[tuple[str, str]]:
    """A `use_experiment` that names nothing: a training would fail, or quietly take the built-in recipe."""
    binding, written = systems.operations.models[pipeline.model], pipeline.training.use_experiment
    if written in (BUILT_IN, pipeline.model, binding.registry_name):
        return
    place = f"retraining_pipelines.{name}.training.use_experiment"
    try:
        recipe = resolve(written, systems.home, binding.features, binding.target, {}, systems.home)
        if isinstance(recipe, UserFunction) and not recipe.is_there():
            yield place, f"there is no module {written.partition(':')[0]!r} in {systems.home}, and none is installed"
        elif isinstance(recipe, BuiltIn) and not systems.registry.has_experiment(written):
            allowed = f"{BUILT_IN}, {pipeline.model}, module:function, a folder with an MLproject file"
            yield place, f"{written!r} names nothing there is; write {allowed} or an experiment of MLflow's"
    except GuardianError as error:
        yield place, error.message


def _batch_problems(systems: Systems, name: str, infra: ServingInfra, batch: Batch) -> Iterator[tuple[str, str]]:
    operations, place = systems.operations, f"serving_infra.{name}.patterns[{infra.patterns.index(batch)}]"
    served = [binding for model, binding in operations.models.items() if operations.serving_of(model) is infra]
    for binding in served:
        wanted = [binding.id, binding.time, *binding.features.names]
        yield from _table_problems(systems, f"{place}.input", batch.input, wanted)
    yield from _written_table_problems(systems, f"{place}.output", batch.output)


def _kpi_problems(systems: Systems, name: str, tracker: BusinessKpiTracker) -> Iterator[tuple[str, str]]:
    now = systems.clock.now()
    known: dict[str, object] = {"current": "1", "since_deploy": now}
    with suppress(GuardianError):  # a registry that does not answer is a problem of its own
        known |= parameters(systems, tracker.model, now)
    for number, kpi in enumerate(tracker.kpis):
        try:
            systems.warehouse.check(kpi.query, known)
        except GuardianError as error:
            yield f"business_kpi_trackers.{name}.kpis[{number}].query", error.message


def _written_table_problems(
    systems: Systems, place: str, table: str, columns: Sequence[str] = ()
) -> Iterator[tuple[str, str]]:
    """Of a table that the Guardian or its users write in time: it may be missing, but not be another one."""
    try:
        there = systems.warehouse.exists(table)
    except GuardianError as error:
        yield place, str(error)
        return
    if there:
        yield from _table_problems(systems, place, table, columns)


def _table_problems(systems: Systems, place: str, table: str, columns: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    try:
        if not systems.warehouse.exists(table):
            there = ", ".join(systems.warehouse.tables()) or "none"
            yield place, f"there is no table {table!r}; there are: {there}"
            return
        there_columns = systems.warehouse.columns(table)
        for column in columns:
            if column not in there_columns:
                yield place, f"table {table} has no column {column!r}; it has: {', '.join(there_columns)}"
    except GuardianError as error:
        yield place, str(error)


def _notes(systems: Systems) -> Iterator[str]:
    operations = systems.operations
    for name, challenge in operations.champion_challengers.items():
        registry_name = operations.models[operations.model_of_challenge(name)].registry_name
        for role, label in ((CHAMPION, challenge.champion.model), (CHALLENGER, challenge.challenger.model)):
            version = systems.registry.alias(registry_name, role)
            if version is not None and label != f"{registry_name}_v{version}":
                held = f"version {version} of {registry_name}"
                yield f"champion_challengers.{name}: the label {label!r} is for people; alias {role!r} is {held}"
    for model in operations.models:
        for switch in operations.gate_off_by(model):
            yield f"models.{model}: THE QUALITY GATE IS SWITCHED OFF by {switch}"
    for name, monitor in operations.drift_monitors.items():
        if "slack" in monitor.alerts.channels and not _credential("SLACK_BOT_TOKEN"):
            yield f"drift_monitors.{name}: alerts go to slack, but SLACK_BOT_TOKEN is not set; they are only recorded"
        if "pagerduty" in monitor.alerts.channels and not _credential("PAGERDUTY_ROUTING_KEY"):
            yield f"drift_monitors.{name}: alerts go to pagerduty, but PAGERDUTY_ROUTING_KEY is not set; only recorded"
    for agent_name, agent in operations.agents.items():
        if agent.provider == "openai" and not (_credential("OPENAI_API_KEY") or _credential("OPENAI_BASE_URL")):
            yield f"agents.{agent_name}: OPENAI_API_KEY is not set; the runbook planner decides"


def _credential(name: str) -> bool:
    return bool(os.environ.get(name))
