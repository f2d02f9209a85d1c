"""`guardian init`: asks on a terminal only for what the table does not say."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from agent.cli.session import Session
from policies.errors import InputError

if TYPE_CHECKING:
    from tools.onboarding.choices import Choices
    from tools.onboarding.onboard import Onboarded
    from tools.onboarding.plan import Plan
    from tools.onboarding.source import Source

TASKS = ("binary", "multiclass", "regression")


def init(
    context: typer.Context,
    data: Annotated[
        str,
        typer.Option("--data", metavar="FILE|TABLE", help="CSV, Parquet, Arrow; or a table of GUARDIAN_WAREHOUSE_URL."),
    ],
    target: Annotated[str | None, typer.Option("--target", metavar="COL", help="The outcome; must be there.")] = None,
    prediction: Annotated[
        str | None,
        typer.Option(
            "--prediction",
            metavar="COL",
            help="A served model's predictions: watch them, train nothing; needs --target too.",
        ),
    ] = None,
    time: Annotated[str | None, typer.Option("--time", metavar="COL", help="When a row was made.")] = None,
    identity: Annotated[str | None, typer.Option("--id", metavar="COL", help="What names a row.")] = None,
    label_time: Annotated[
        str | None, typer.Option("--label-time", metavar="COL", help="When the outcome became known.")
    ] = None,
    positive: Annotated[
        str | None, typer.Option("--positive", metavar="VALUE", help="Of two outcomes, this one.")
    ] = None,
    task: Annotated[str | None, typer.Option("--task", metavar="TASK", help=", ".join(TASKS) + ".")] = None,
    features: Annotated[str | None, typer.Option("--features", metavar="A,B", help="Only these features.")] = None,
    ignore: Annotated[str | None, typer.Option("--ignore", metavar="A,B", help="Not these columns.")] = None,
    mlflow_model: Annotated[
        str | None, typer.Option("--mlflow-model", metavar="URI", help="models:/NAME/3: guard this one, train none.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", metavar="NAME", help="What to call it.")] = None,
    directory: Annotated[Path | None, typer.Option("--dir", metavar="D", help="The working folder to make.")] = None,
) -> None:
    """A user's own table to a guarded model: baseline, declarations, first champion."""
    from tools.onboarding.choices import Choices, Task
    from tools.onboarding.onboard import Wanted, model_name, onboard, snake
    from tools.onboarding.source import read

    session: Session = context.obj
    if task is not None and task not in TASKS:
        raise InputError(f"{task!r} is no task: {', '.join(TASKS)}", where="--task")
    name = model or model_name(Path(data).stem if Path(data).exists() else data.rpartition(".")[2])
    if model_name(name) != name:
        raise InputError(f"{name!r} is no model name: letters and digits, say {model_name(name)}", where="--model")
    warehouse = None if Path(data).exists() else os.environ.get("GUARDIAN_WAREHOUSE_URL")
    choices = Choices(
        target=target,
        prediction=prediction,
        time=time,
        id=identity,
        label_time=label_time,
        positive=positive,
        task=cast(Task | None, task),
        ignore=_names(ignore) or (),
        features=_names(features),
    )
    source = read(Path(data), choices) if warehouse is None else _of_warehouse(warehouse, data, choices)
    plan = _plan(session, source, choices)
    wanted = Wanted(directory or Path(snake(name)), name, mlflow_model, warehouse)
    session.emit(onboard(source, plan, wanted, session.say), show)


def _of_warehouse(url: str, table: str, choices: Choices) -> Source:
    from tools.onboarding.source import read_table
    from tools.systems.systems import warehouse_at

    if "://" not in url and not Path(url).is_absolute():
        raise InputError(f"{url!r} is relative; write the whole path of the folder", where="GUARDIAN_WAREHOUSE_URL")
    warehouse = warehouse_at(Path.cwd(), url)
    try:
        named = {each.replace('"', ""): each for each in warehouse.tables()}
        return read_table(warehouse, named.get(table, table), choices)
    finally:
        warehouse.close()


def _plan(session: Session, source: Source, choices: Choices) -> Plan:
    """The plan; on a terminal, what is undecided is asked."""
    from tools.onboarding.choices import decided
    from tools.onboarding.plan import Undecided, plan

    while True:
        try:
            return plan(source, choices)
        except Undecided as open_question:
            if session.as_json or not (sys.stdin.isatty() and sys.stderr.isatty()):
                raise
            session.say(open_question.message)
            answer = str(typer.prompt(open_question.option, default=open_question.candidates[0], err=True))
            if answer not in source.rows.column_names:
                session.say(f"there is no column {answer!r}")
                continue
            choices = decided(choices, cast(Literal["target", "time"], open_question.option), answer)


def _names(text: str | None) -> tuple[str, ...] | None:
    """Column names separated by commas; one that holds a comma itself is quoted as in a CSV file."""
    import csv

    return None if text is None else tuple(next(csv.reader([text], skipinitialspace=True), []))


def show(made: Onboarded) -> str:
    """What was found and what to do next."""
    lines = [
        f"{made.model}: {made.task}, foretells {made.target} from {len(made.numeric)} numbers and "
        f"{len(made.categorical)} categories",
        f"rows       {made.rows:,}, id {made.id or 'none (numbered)'}, time {made.time or 'none: all are one load'}",
    ]
    lines += [f"left out   {name}: {why}" for name, why in list(made.left_out.items())[:10]]
    if len(made.left_out) > 10:
        lines.append(f"left out   and {len(made.left_out) - 10:,} more: see {made.operations}")
    lines += [f"note       {each}" for each in made.notes]
    if made.champion is None:
        lines.append(f"champion   none here: the predictions in {made.prediction} are watched")
    else:
        shown = [f"{key.removeprefix('holdout_')} {made.metrics[f'holdout_{key}']:.3f}" for key in _SHOWN[made.task]
                 if f"holdout_{key}" in made.metrics]  # fmt: skip
        lines.append(f"champion   version {made.champion}{', ' if shown else ''}{', '.join(shown)}"
                     f"{' on rows it has not seen' if shown else ''}")  # fmt: skip
    lines += [
        f"written    {made.operations}",
        "",
        f"Next: cd {made.directory}; guardian validate; guardian start-monitor {made.monitor}; guardian triage",
    ]
    if made.time is not None:
        check = f"guardian check-drift {made.monitor} --at {made.end:%Y-%m-%dT%H:%M:%S}"
        lines.append(f"A try, on the baseline's own last rows: {check}")
    else:
        lines.append("Without a time column the first load is the baseline; add one to see the past too.")
    return "\n".join(lines)


_SHOWN = {
    "binary": ("auc_roc", "log_loss"),
    "multiclass": ("accuracy", "log_loss"),
    "regression": ("r2", "mae"),
}

COMMANDS = {"init": init}
