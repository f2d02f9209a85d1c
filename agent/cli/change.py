"""Commands that change something: retraining and rollouts. The policies hold here as for any planner."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli import render
from agent.cli.session import Session
from policies.errors import InputError, PolicyRefusal

if TYPE_CHECKING:
    from tools.systems.tool import Tool


def retrain(
    context: typer.Context,
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE")],
    force_trigger: Annotated[
        str | None,
        typer.Option("--force-trigger", metavar="NAME", help="Skips this trigger's condition, never a policy."),
    ] = None,
) -> None:
    """Retrains a model where a trigger fires and the policies allow it; registers the challenger."""
    from agent.deciding import consent
    from tools.retrain.result import RetrainResult
    from tools.retrain.tool import TOOL

    session: Session = context.obj
    try:
        arguments = TOOL.arguments(pipeline=pipeline, force_trigger=force_trigger)
    except ValueError as error:
        known = "drift_detected, performance_decay, scheduled, data_volume"
        raise InputError(f"{force_trigger!r} is no type of trigger: {known}", where="--force-trigger") from error
    declared = session.systems.operations.named("retraining_pipelines", pipeline)
    consent(session.systems, TOOL, arguments, str(getattr(declared, "model", "")))
    _audit(session, TOOL, {"pipeline": pipeline, "force_trigger": force_trigger})
    result = TOOL.run(session.systems, arguments)
    assert isinstance(result, RetrainResult)
    if result.policy is not None:
        raise PolicyRefusal(result.policy, result.skipped_because or "", where=pipeline)
    session.emit(result, render.training)


def deploy(
    context: typer.Context,
    strategy: Annotated[str, typer.Argument(metavar="STRATEGY")],
    model: Annotated[str, typer.Option("--model", metavar="NAME")],
    version: Annotated[str, typer.Option("--version", metavar="V")],
) -> None:
    """Starts a rollout of a version that passed its quality gate."""
    from agent.deciding import consent
    from tools.deploy.champion import moved_alias
    from tools.deploy.tool import TOOL

    session: Session = context.obj
    arguments = TOOL.arguments(strategy=strategy, model=model, version=version)
    session.systems.operations.model(model)
    consent(session.systems, TOOL, arguments, model)
    if told := moved_alias(session.systems, model):
        session.say(f"note: {told}")
    _audit(session, TOOL, {"strategy": strategy, "model": model, "version": version})
    session.emit(TOOL.run(session.systems, arguments), render.rollout)


def advance(context: typer.Context) -> None:
    """One reconcile step over all rollouts: gates are judged, stages advance, failures roll back."""
    from agent.reconcile import reconcile

    session: Session = context.obj
    session.emit(reconcile(session.systems), lambda result: render.rollouts(result.rollouts))


def rollback(
    context: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL")],
    why: Annotated[str, typer.Option("--why", metavar="TEXT")] = "asked for on the command line",
) -> None:
    """Gives all traffic back to the champion, now: no model, no approval, no budget."""
    from tools.deploy.tool import rollback as give_back

    session: Session = context.obj
    systems = session.systems
    began = systems.clock.now()
    result = give_back(systems, model, why)
    if result.events[-1].at < began:
        session.say(
            f"{result.rollout_id} was rolled back a moment ago: nothing to change. The same command, a minute later, "
            f"goes back to the champion before version {result.champion}"
        )
    systems.store.audit("command line", "rollback", {"model": model, "why": why}, at=systems.clock.now())
    session.emit(result, render.rollout)


def _audit(session: Session, tool: Tool, arguments: dict[str, object]) -> None:
    session.systems.store.audit("command line", tool.name, arguments, at=session.systems.clock.now())


COMMANDS = {"retrain": retrain, "deploy": deploy, "advance": advance, "rollback": rollback}
