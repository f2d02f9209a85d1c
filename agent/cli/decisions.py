"""Commands by which people decide what waits for them, and take what is open."""

from __future__ import annotations

import getpass
from typing import Annotated

import typer

from agent.cli import render
from agent.cli.session import Session

Id = Annotated[str, typer.Argument(metavar="ID")]
Person = Annotated[
    str | None,
    typer.Option("--by", metavar="NAME", help="Who decides, as declared in systems.people; your login unless told."),
]


def approvals(
    context: typer.Context,
    decided: Annotated[bool, typer.Option("--all", help="Also those that were decided or expired.")] = False,
) -> None:
    """What waits for a person: for which version, on which evidence, who may decide, until when."""
    from agent.deciding import listed

    session: Session = context.obj
    session.emit(listed(session.systems, everything=decided), render.approvals)


def approve(context: typer.Context, approval: Id, by: Person = None) -> None:
    """Approves, and carries out exactly what was asked; where the evidence changed meanwhile it asks again."""
    from agent.deciding import answer

    session: Session = context.obj
    person = by or getpass.getuser()
    session.emit(answer(session.systems, approval, person, approve=True, progress=session.say), render.decision)


def deny(
    context: typer.Context,
    approval: Id,
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="The reason; the run is told.")],
    by: Person = None,
) -> None:
    """Denies, says why, and lets the run that asked go on without it."""
    from agent.deciding import answer

    session: Session = context.obj
    person = by or getpass.getuser()
    result = answer(session.systems, approval, person, approve=False, why=why, progress=session.say)
    session.emit(result, render.decision)


def alerts(context: typer.Context) -> None:
    """Incidents that are open: since when, how bad, who was told, and what could not be delivered yet."""
    from agent.open_alerts import listed

    session: Session = context.obj
    session.emit(listed(session.systems), render.alerts)


def acknowledge(
    context: typer.Context, alert: Annotated[int, typer.Argument(metavar="NUMBER")], by: Person = None
) -> None:
    """Takes an incident: it calls nobody again unless it gets worse."""
    session: Session = context.obj
    session.emit(session.systems.notifications.acknowledge(alert, by or getpass.getuser()), render.alert)


COMMANDS = {
    "approvals": approvals,
    "approve": approve,
    "deny": deny,
    "alerts": alerts,
    "acknowledge": acknowledge,
}
