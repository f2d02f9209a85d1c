"""The application: global options, exit codes, and errors as people or programs can read them."""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.exceptions import TyperException

from agent.cli import change, daemon, decisions, look, measure, onboard, talk
from agent.cli.ending import TERMINATED, cleaning_up_on_sigterm
from agent.cli.session import Session
from agent.untrusted import printable, redact
from policies.errors import DeclarationError, GuardianError

HELP = """Operates machine-learning models in production: watches for drift, retrains, judges, gates,
rolls out, follows KPIs.

A language model (or a runbook) decides what to do next; every number, verdict and permission comes from code.

Exit codes: 0 done · 1 failed · 2 bad usage, declaration or input · 3 blocked by a policy · 4 waiting for approval.
"""

TELLING = ("triage", "evaluate", "retrain", "deploy", "advance", "rollback", "approve", "deny", "acknowledge", "chat")
"""The commands that may have something to tell people."""

CLEANING = ("init",)
"""The commands that leave nothing behind where SIGTERM ends them. The others are carried on by their next run, or are
over at once.
"""

_INTERRUPTED = 130
"""128 + SIGINT, as shells have it; also what typer makes of a KeyboardInterrupt."""

_TOLD = (
    "interrupted: what was done so far is left as it is; run the same command again: "
    "triage goes on where it was; init, which leaves nothing, demo and eval begin anew"
)


def _globals(
    context: typer.Context,
    operations: Annotated[
        Path, typer.Option("--operations", metavar="FILE", help="The declarations file.", show_default=True)
    ] = Path("operations.yaml"),
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    context.obj = Session(operations, as_json)
    context.call_on_close(context.obj.close)


def _delivering(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """The command, with the alerts that it records on their way to people meanwhile."""

    @functools.wraps(command)
    def whole(context: typer.Context, *given: Any, **named: Any) -> int | None:
        from agent.delivering import delivering

        session: Session = context.obj
        with delivering(session.systems, session.say):
            return command(context, *given, **named)

    return whole


def _cleaning(command: Callable[..., int | None]) -> Callable[..., int | None]:
    """The command, which SIGTERM ends as Ctrl-C does."""

    @functools.wraps(command)
    def whole(*given: Any, **named: Any) -> int | None:
        with cleaning_up_on_sigterm() as terminated:
            try:
                return command(*given, **named)
            except KeyboardInterrupt:
                if not terminated():
                    raise
                return TERMINATED

    return whole


def build_app() -> typer.Typer:
    """All commands: this package's, and those of the entry point group `guardian.commands`."""
    app = typer.Typer(
        name="guardian", help=HELP, callback=_globals, no_args_is_help=True, add_completion=False, rich_markup_mode=None
    )
    for module in (onboard, look, measure, change, decisions, talk, daemon):
        for name, command in module.COMMANDS.items():
            telling = _delivering(command) if name in TELLING else command
            app.command(name)(_cleaning(telling) if name in CLEANING else telling)
    for point in sorted(entry_points(group="guardian.commands"), key=lambda each: each.name):
        app.command(point.name)(point.load())
    return app


def run(arguments: Sequence[str]) -> int:
    """Runs one command; the exit code. Global options may stand anywhere on the line."""
    os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads of the models wait without burning a core
    ordered = _globals_first(list(arguments))
    as_json = "--json" in ordered
    try:
        code = build_app()(ordered, standalone_mode=False)
    except TyperException as error:
        return _fail("usage", error.format_message(), "command line", as_json, 2)
    except GuardianError as error:
        problems = [vars(each) for each in error.problems] if isinstance(error, DeclarationError) else None
        return _fail(error.kind, error.message, error.where, as_json, error.exit_code, problems)
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    except Exception as error:
        if os.environ.get("GUARDIAN_DEBUG"):
            raise
        text = redact(f"{type(error).__name__}: {error}")
        return _fail("bug", f"{text} (set GUARDIAN_DEBUG=1 for the traceback)", "guardian", as_json, 1)
    if code in (_INTERRUPTED, TERMINATED):
        if as_json:
            sys.stderr.write(f"{_TOLD}\n")
        return _fail("interrupted", _TOLD, "", as_json, code)
    return int(code or 0)


def main() -> None:
    """The entry point `guardian`."""
    sys.exit(run(sys.argv[1:]))


def _globals_first(arguments: list[str]) -> list[str]:
    front: list[str] = []
    rest: list[str] = []
    following = iter(arguments)
    for each in following:
        if each == "--":
            rest += [each, *following]
        elif each == "--json" or each.startswith("--operations="):
            front.append(each)
        elif each == "--operations":
            front += [each, *[value for value in [next(following, None)] if value is not None]]
        else:
            rest.append(each)
    return [*dict.fromkeys(front), *rest] if front.count("--json") > 1 else [*front, *rest]


def _fail(
    kind: str, message: str, where: str, as_json: bool, code: int, problems: list[dict[str, object]] | None = None
) -> int:
    if as_json:
        error: dict[str, object] = {"kind": kind, "message": message, "where": where}
        if problems is not None:
            error["problems"] = problems
        sys.stdout.write(json.dumps({"error": error}, indent=2) + "\n")
    else:
        sys.stderr.write(printable(f"{where}: {message}\n" if where and problems is None else f"{message}\n"))
    return code
