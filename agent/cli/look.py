"""Commands that look: declarations, status, evidence, runs and reports."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from agent.cli import render
from agent.cli.session import Session
from policies.errors import InputError, SystemDown


def validate(context: typer.Context) -> None:
    """Checks declarations, references, tables, columns and model versions; prints every problem."""
    from agent.validation import validate as check

    session: Session = context.obj
    session.emit(check(session.systems, session.operations), render.validation)


def schema() -> None:
    """Prints the JSON Schema of the declarations file, for editors."""
    from policies.declarations import Operations

    sys.stdout.write(json.dumps(Operations.model_json_schema(), indent=2) + "\n")


def status(context: typer.Context) -> None:
    """What serves, how it got there, and how healthy it is."""
    from agent.status import status as look_up

    session: Session = context.obj
    session.emit(look_up(session.systems), render.status)


def why(context: typer.Context, model: Annotated[str, typer.Argument(metavar="MODEL")]) -> None:
    """The chain of evidence from what serves now back to the drift it rests on."""
    from agent.status import why as explain

    session: Session = context.obj
    session.emit(explain(session.systems, model), render.why)


def runs(
    context: typer.Context,
    limit: Annotated[int, typer.Option("--limit", metavar="N", min=1, help="The newest N runs.")] = 20,
) -> None:
    """The newest runs: when, which planner, how they ended."""
    from agent.status import runs as list_runs

    session: Session = context.obj
    session.emit(list_runs(session.systems, limit), render.runs)


def report(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN")],
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Where to; RUN.html unless told.")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Markdown instead of HTML.")] = False,
) -> None:
    """Writes a run's report: one self-contained HTML file, or Markdown."""
    from agent.report import write_report

    session: Session = context.obj
    path = out or Path(f"{run}.{'md' if markdown else 'html'}")
    session.emit(write_report(session.systems, run, path, markdown=markdown), lambda written: str(written.path))


def doctor(context: typer.Context) -> None:
    """What is installed, reachable and configured; when the model retires; what falls back to what."""
    from agent.doctor import examine, examine_without_store

    session: Session = context.obj
    try:
        found = examine(session.systems)
    except SystemDown as down:
        found = examine_without_store(down)
    session.emit(found, render.doctor)


def audit(context: typer.Context, what: Annotated[str, typer.Argument(metavar="verify")]) -> None:
    """`audit verify`: whether any row of the audit log was edited, or is missing between others."""
    from agent.auditing import verify

    if what != "verify":
        raise InputError(f"{what!r} is not known; write audit verify", where="audit")
    session: Session = context.obj
    session.emit(verify(session.systems), render.audit)


def haproxy_config(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    bind: Annotated[str, typer.Option("--bind", metavar="HOST:PORT", help="Where it is asked.")] = "127.0.0.1:8080",
) -> None:
    """HAProxy's configuration for a model that systems.traffic routes by haproxy."""
    from policies.declarations import load
    from policies.declarations.routing import HAProxyRouting
    from tools.systems.routing.haproxy import configuration

    session: Session = context.obj
    declared = load(session.operations).systems.traffic.get(model)
    if not isinstance(declared, HAProxyRouting):
        raise InputError(f"write {model}: {{type: haproxy, …}}", where="systems.traffic")
    sys.stdout.write(configuration(model, declared, bind))


COMMANDS = {
    "validate": validate,
    "schema": schema,
    "status": status,
    "why": why,
    "runs": runs,
    "report": report,
    "doctor": doctor,
    "audit": audit,
    "haproxy-config": haproxy_config,
}
