"""`guardian validate`: do the declarations fit the systems they name? Every problem, not the first."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from policies.declarations.binding import ModelBinding
from policies.declarations.drift import DriftMonitor
from policies.errors import DeclarationError, GuardianError, Problem
from tools.systems.registry import CHALLENGER, CHAMPION
from tools.systems.systems import Systems


class Validation(BaseModel):
    """A sound declarations file; `notes` are worth reading but wrong nothing."""

    file: str
    models: list[str]
    notes: list[str]


def validate(systems: Systems, file: Path) -> Validation:
    """Checks tables, columns and versions against the declarations. Raises DeclarationError with every problem."""
    problems = [Problem(str(file), 0, place, cause) for place, cause in _problems(systems)]
    if problems:
        raise DeclarationError(problems)
    return Validation(file=str(file), models=list(systems.operations.models), notes=list(_notes(systems)))


def _problems(systems: Systems) -> Iterator[tuple[str, str]]:
    for name, binding in systems.operations.models.items():
        yield from _model_problems(systems, name, binding)
    for name, monitor in systems.operations.drift_monitors.items():
        yield from _monitor_problems(systems, name, monitor)
    for name, pipeline in systems.operations.retraining_pipelines.items():
        for number, trigger in enumerate(pipeline.triggers):
            table = getattr(trigger, "label_table", None)
            if table:
                yield from _table_problems(
                    systems, f"retraining_pipelines.{name}.triggers[{number}].label_table", table
                )


def _model_problems(systems: Systems, name: str, binding: ModelBinding) -> Iterator[tuple[str, str]]:
    place = f"models.{name}"
    wanted = [binding.id, binding.time, *binding.features.names]
    loaded = [source.loaded_at for source in binding.sources.values() if source.loaded_at]
    yield from _table_problems(systems, f"{place}.table", binding.table, [*wanted, *loaded])
    yield from _table_problems(systems, f"{place}.holdout", binding.holdout, [*wanted, binding.target])
    labels = binding.labels
    columns = [labels.id, labels.time, labels.value, labels.arrived]
    yield from _table_problems(systems, f"{place}.labels", labels.table, columns)
    try:
        if systems.registry.alias(binding.registry_name, CHAMPION) is None:
            yield f"{place}.registry_name", f"no version of {binding.registry_name!r} has the alias 'champion'"
    except GuardianError as error:
        yield f"{place}.registry_name", str(error)


def _monitor_problems(systems: Systems, name: str, monitor: DriftMonitor) -> Iterator[tuple[str, str]]:
    binding = systems.operations.models[monitor.model]
    place = f"drift_monitors.{name}.baseline.dataset"
    yield from _table_problems(systems, place, monitor.baseline.dataset, binding.features.names)


def _table_problems(
    systems: Systems, place: str, table: str, columns: list[str] | None = None
) -> Iterator[tuple[str, str]]:
    try:
        if not systems.warehouse.exists(table):
            there = ", ".join(systems.warehouse.tables()) or "none"
            yield place, f"there is no table {table!r}; there are: {there}"
            return
        there_columns = systems.warehouse.columns(table)
        for column in columns or []:
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
            held = f"version {version} of {registry_name}" if version else "no version yet"
            if label != f"{registry_name}_v{version}":
                yield f"champion_challengers.{name}: the label {label!r} is for people; alias {role!r} is {held}"
        if not challenge.promotion.require_quality_gate:
            yield f"champion_challengers.{name}: THE QUALITY GATE IS SWITCHED OFF (require_quality_gate: false)"
    for name, pipeline in operations.retraining_pipelines.items():
        if not pipeline.promotion.require_gate:
            yield f"retraining_pipelines.{name}: THE QUALITY GATE IS SWITCHED OFF (require_gate: false)"
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
