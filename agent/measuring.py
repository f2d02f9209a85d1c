"""The deterministic part of a night: every monitor and tracker of a model, once a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from agent.actions import begun, carry_out
from agent.rendering import facts_of, headline
from agent.runs import Run
from tools.check_drift.schedule import due_checks, last_report
from tools.systems.systems import Systems
from tools.systems.tool import Tool

NOTHING: Mapping[str, list[Any]] = {"drift": [], "kpis": [], "failures": []}
"""What is known of a model that was not measured."""


def measure(
    systems: Systems, run: Run, toolbox: Mapping[str, Tool], model: str, progress: Callable[[str], None]
) -> None:
    """Measures a model and saves it with the run: compact facts, and what could not be measured."""
    if model in run.record.measured:
        return
    operations = systems.operations
    measured: dict[str, list[Any]] = {kind: [] for kind in NOTHING}
    asked = [("drift", "check_drift", {"monitor": name}) for name in operations.monitors_of(model)]
    asked += [("kpis", "track_kpis", {"tracker": name}) for name in operations.trackers_of(model)]
    for kind, name, given in asked:
        tool = toolbox[name]
        subject = next(iter(given.values()))
        key = f"{run.id}/{model}/{name}/{subject}"
        standing = None
        if kind == "drift" and not begun(systems, key):
            standing = _standing_report(systems, run, tool, subject)
        if standing is not None:
            measured[kind].append(standing)
            progress(f"{model}: {subject} is not due; {headline(standing)} stands")
            continue
        arguments = tool.arguments.model_validate({**given, "at": run.record.at})
        outcome = carry_out(systems, tool, arguments, model=model, key=key, run_id=run.id, actor=f"{run.id} triage")
        if outcome.status == "done":
            measured[kind].append(outcome.facts)
            progress(f"{model}: {name} {subject}: {headline(outcome.facts)}")
        else:
            measured["failures"].append(f"{subject}: {outcome.text}")
            progress(f"{model}: {outcome.text}")
    run.measured(model, measured)


def _standing_report(systems: Systems, run: Run, tool: Tool, monitor: str) -> dict[str, Any] | None:
    """The facts of a monitor's last report where none of its checks is due; None where it is to run.

    After a report that could not judge it runs, due or not.
    """
    if not run.record.due_only or run.record.at is not None:
        return None
    if due_checks(systems, monitor, systems.clock.now()):
        return None
    row = last_report(systems, monitor)
    if row is None or row.body.get("status") != "checked":
        return None
    return facts_of(tool.result.model_validate({**row.body, "report_id": row.id}))
