"""The nightly run: measures everything first, wakes the planner only for a finding. A quiet night costs no tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from agent.approvals import PENDING, current
from agent.budget import Spent
from agent.findings import Finding
from agent.graph import Progress
from agent.night import Night
from agent.planners.choice import choose
from agent.planners.protocol import Planner
from agent.runs import RUNNING, TRIAGE, TRIAGE_BECAUSE, Run, RunBusy, RunRecord, claimed, runs_with
from agent.state import WAITING
from agent.triage_result import Action, ModelTriage, TriageResult
from policies.declarations.base import show_duration
from tools.systems.store import Kind
from tools.systems.systems import Systems
from tools.systems.tool import Tool

__all__ = ["Action", "Finding", "ModelTriage", "TriageResult", "continue_waiting", "triage"]

Advance = Callable[[Systems, datetime], object]

RESUMABLE = timedelta(hours=24)
"""An interrupted run is continued within this time, and given up after it."""

DYING_SECONDS = 2.0
"""A run whose process was killed may be held so long after its triage was let go."""


def triage(
    systems: Systems,
    model: str | None = None,
    planner: str | Planner | None = None,
    at: datetime | None = None,
    progress: Progress = lambda line: None,
    toolbox: Mapping[str, Tool] | None = None,
    advance: Advance | None = None,
    due_only: bool = False,
) -> TriageResult:
    """Checks every model (or one), and lets the planner act on what was found.

    `due_only`: of a monitor none of whose checks is due, the last report stands, and is acted on once.

    A run that waited for a person and need not any more is continued first; an interrupted one over the same models is
    continued instead of a new one. While another triage is at work here nothing is started, and the status is `busy`.
    Raises InputError for an undeclared model or a planner that cannot work; what goes wrong with one model is a finding
    of that model.
    """
    if model is not None:
        systems.operations.model(model)
    tools = tools_of(toolbox)
    chosen = choose(systems, tools, planner) if planner is None or isinstance(planner, str) else planner
    models = [model] if model is not None else list(systems.operations.models)
    try:
        with claimed(systems, TRIAGE):
            asked = RunRecord(
                planner=chosen.name,
                about=dict(chosen.about),
                because=TRIAGE_BECAUSE,
                models=models,
                at=at,
                due_only=due_only,
            )
            return _triage(systems, asked, chosen, tools, advance, progress)
    except RunBusy:
        return _busy(systems, chosen)


def _triage(
    systems: Systems,
    asked: RunRecord,
    chosen: Planner,
    tools: Mapping[str, Tool],
    advance: Advance | None,
    progress: Progress,
) -> TriageResult:
    for run_id in [*runs_with(systems, WAITING), *runs_with(systems, RUNNING)]:
        with suppress(RunBusy):
            continue_waiting(systems, run_id, chosen, tools, advance, progress)
    for run_id in runs_with(systems, RUNNING):
        with suppress(RunBusy):
            if (result := _continue(systems, run_id, asked.models, chosen, tools, advance, progress)) is not None:
                return result
    run = Run.begin(systems, asked)
    with claimed(systems, run.id):
        return Night(systems, run, chosen, tools, advance, progress).work()


def _busy(systems: Systems, planner: Planner) -> TriageResult:
    """What a triage says that finds another one at work: nothing was started."""
    running = next(iter(systems.store.list(Kind.run, status=RUNNING, limit=1)), None)
    what = f"{running.id}, begun {running.created_at:%Y-%m-%d %H:%M}" if running else "another process"
    return TriageResult(
        run_id=running.id if running else "",
        planner=planner.name,
        status="busy",
        models=[],
        budget=Spent(cost_usd=0.0, tokens=0, llm_calls=0),
        report=f"A triage is at work already ({what}); nothing was started.",
    )


def continue_waiting(
    systems: Systems,
    run_id: str,
    planner: Planner,
    toolbox: Mapping[str, Tool] | None = None,
    advance: Advance | None = None,
    progress: Progress = lambda line: None,
) -> TriageResult | None:
    """Goes on with a run that waited for a person, where one of its approvals was decided or expired; else None.

    So does a conversation's that was cut off while it went on: a triage's is continued by the next triage. Raises
    RunBusy where another process works on it.
    """
    with claimed(systems, run_id):
        row, run = systems.store.get(run_id), Run.open(systems, run_id)
        cut_off = row.status == RUNNING and run.record.asked is not None and run.record.resumed_at is not None
        still_waits = all(current(systems, id).status == PENDING for id in run.waits_for())
        if not cut_off and (row.status != WAITING or still_waits):
            return None
        progress(f"continuing {run_id}, which waited for a person")
        run.resume()
        if run.record.asked is not None:
            from agent.conversation.work import Turn

            return Turn(systems, run, tools_of(toolbox), planner.name, progress).work()
        return Night(systems, run, planner, tools_of(toolbox), advance, progress).work()


def _continue(
    systems: Systems,
    run_id: str,
    models: list[str],
    planner: Planner,
    toolbox: Mapping[str, Tool],
    advance: Advance | None,
    progress: Progress,
) -> TriageResult | None:
    """Finishes an interrupted run over the same models; gives up one that is too old; leaves others alone."""
    with claimed(systems, run_id, DYING_SECONDS):
        run, row = Run.open(systems, run_id), systems.store.get(run_id)
        if row.status != RUNNING:
            return None
        if systems.clock.now() - (run.record.resumed_at or row.created_at) > RESUMABLE:
            run.end("abandoned", f"interrupted, and not continued within {show_duration(RESUMABLE)}")
            return None
        if run.record.models != models or run.record.asked is not None:
            return None
        progress(f"continuing {run_id}, which was interrupted")
        return Night(systems, run, planner, toolbox, advance, progress).work()


def tools_of(toolbox: Mapping[str, Tool] | None) -> Mapping[str, Tool]:
    """The tools given, else all."""
    if toolbox is not None:
        return toolbox
    from tools.toolbox import toolbox as all_tools

    return all_tools()
