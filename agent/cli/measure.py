"""Commands that measure: monitors, evaluation, KPIs, triage."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from agent.cli import render
from agent.cli.session import Session
from policies.errors import InputError


def _utc(at: datetime | None) -> datetime | None:
    """Windows and baselines reach back from a time by up to years: the calendar must have room for them."""
    if at is None:
        return None
    if not 1970 <= at.year < 2200:
        raise InputError(f"{at:%Y-%m-%d} is out of reach; write a time between 1970 and 2200", where="--at")
    return at.astimezone(UTC).replace(tzinfo=None) if at.tzinfo else at


At = Annotated[
    datetime | None,
    typer.Option("--at", metavar="TIME", callback=_utc, help="As of this time (UTC unless it names a zone), not now."),
]


def start_monitor(context: typer.Context, monitor: Annotated[str, typer.Argument(metavar="MONITOR")]) -> None:
    """Registers a drift monitor's schedule."""
    from tools.check_drift.tool import start_monitor as register

    session: Session = context.obj
    session.emit(register(session.systems, monitor), render.monitor)


def check_drift(
    context: typer.Context,
    monitor: Annotated[str, typer.Argument(metavar="MONITOR")],
    at: At = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show the queries instead of the report.")] = False,
    dialect: Annotated[
        str | None,
        typer.Option("--dialect", metavar="D", help="duckdb, postgres, spark, databricks, snowflake or bigquery."),
    ] = None,
) -> None:
    """Runs a drift monitor now: all its checks against the baseline, each with its numbers."""
    from tools.check_drift.explain import explain as explained
    from tools.check_drift.result import Unjudged, told
    from tools.check_drift.tool import TOOL

    session: Session = context.obj
    if dialect is not None and not explain:
        raise InputError("says in which dialect to --explain; add that", where="--dialect")
    if explain:
        session.emit(explained(session.systems, monitor, at, dialect), lambda found: ";\n\n".join(found.queries) + ";")
        return
    report = told(TOOL.run(session.systems, TOOL.arguments(monitor=monitor, at=at)))
    session.emit(report, render.drift)
    if isinstance(report, Unjudged):
        raise typer.Exit(report.exit_code)


def evaluate(context: typer.Context, challenge: Annotated[str, typer.Argument(metavar="CHALLENGE")]) -> None:
    """Judges challenger against champion on the holdout, and a winner by the quality gate."""
    from agent.deciding import consent
    from tools.evaluate.tool import TOOL

    session: Session = context.obj
    systems, arguments = session.systems, TOOL.arguments(challenge=challenge)
    consent(systems, TOOL, arguments, systems.operations.model_of_challenge(challenge))
    session.emit(TOOL.run(systems, arguments), render.evaluation)


def kpis(context: typer.Context, tracker: Annotated[str, typer.Argument(metavar="TRACKER")], at: At = None) -> None:
    """Reads a tracker's business KPIs against their targets and baselines."""
    from tools.track_kpis.tool import TOOL

    session: Session = context.obj
    session.emit(TOOL.run(session.systems, TOOL.arguments(tracker=tracker, at=at)), render.kpis)


def score(
    context: typer.Context,
    pattern: Annotated[str, typer.Argument(metavar="PATTERN", help="A batch pattern of serving_infra.")],
    at: At = None,
) -> None:
    """Scores the last whole period of a batch pattern's schedule by the champion; run again, what is missing."""
    from tools.serving.batch_run import run_batch

    session: Session = context.obj
    result = run_batch(session.systems, pattern, at, told=lambda rows: session.say(f"{rows:,} rows scored"))
    session.emit(result, render.scoring)


def export(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    to: Annotated[Path, typer.Option("--to", metavar="DIR", help="A new folder.")],
    version: Annotated[str | None, typer.Option("--version", metavar="V", help="The champion unless told.")] = None,
) -> None:
    """Writes a model for the edge: ONNX, what it takes, and its parity with the registered one."""
    from tools.serving.edge import export as write

    session: Session = context.obj
    session.emit(write(session.systems, model, version, to), render.export)


Planner = Annotated[
    str | None,
    typer.Option("--planner", metavar="P", help="openai or runbook; openai where a key is set, else runbook."),
]


def triage(
    context: typer.Context,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="Only this model.")] = None,
    planner: Planner = None,
    at: At = None,
    due: Annotated[
        bool, typer.Option("--due", help="Only monitors that are due: for a schedule of many runs a day.")
    ] = False,
) -> int:
    """The nightly run, once: measures everything, and wakes the planner only where something was found."""
    from agent.triage import triage as run_triage
    from tools.systems.clock import looked_back_from

    session: Session = context.obj
    if at is not None:
        at = looked_back_from(session.systems.clock, at)
    result = run_triage(session.systems, model=model, planner=planner, at=at, progress=session.say, due_only=due)
    session.emit(result, render.triage)
    return 4 if result.status == "waiting_approval" else 0


COMMANDS = {
    "start-monitor": start_monitor,
    "check-drift": check_drift,
    "evaluate": evaluate,
    "kpis": kpis,
    "score": score,
    "export": export,
    "triage": triage,
}
