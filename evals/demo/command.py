"""The command `guardian demo`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agent.cli.session import Session

if TYPE_CHECKING:
    from evals.demo.result import DemoResult


def demo(
    context: typer.Context,
    directory: Annotated[Path, typer.Option("--dir", metavar="D", help="Where the shop lives.")] = Path("simshop-demo"),
    seed: Annotated[int, typer.Option("--seed", metavar="N")] = 20,
    planner: Annotated[str, typer.Option("--planner", metavar="P", help="runbook or openai.")] = "runbook",
    without_agent: Annotated[
        bool, typer.Option("--without-agent", help="Nobody watches: the seed's ablation A4.")
    ] = False,
) -> None:
    """Runs the whole loop on SimShop: six weeks of a shop's life in two minutes, then a report."""
    from agent.planners.choice import must_exist, must_work
    from evals.demo.run import run_demo

    must_exist(planner)
    if not without_agent:
        must_work(planner)
    session: Session = context.obj
    started = time.monotonic()

    def say(line: str) -> None:
        session.say(f"{time.monotonic() - started:6.1f} s  {line}")

    result = run_demo(directory, seed, None if without_agent else planner, say)
    session.emit(result, _show)


def _show(result: DemoResult) -> str:
    outcome = result.outcome
    weeks = "  ".join(f"{each.week:%m-%d} {each.auc:.3f}" for each in outcome.live_auc)
    without = "  ".join(f"{each.week:%m-%d} {each.without:.3f}" for each in outcome.live_auc)
    kpis = "  ".join(f"{each['kpi']} {each['value']:.3f}" for each in outcome.kpis if each.get("value") is not None)
    flagged = outcome.flagged
    lines = [
        f"Seed {result.seed}, planner {result.planner}, {result.seconds:.0f} s",
        f"  Drift detection  {outcome.drift_detection or '--'}    drift detected: {_yes(outcome.drift_detected)}",
        f"  Retrained        {_yes(outcome.retrained)}    verdict: {outcome.verdict or '--'}"
        f"    gate: {outcome.gate or '--'}",
        f"  Rollout          {outcome.rollout_status or '--'}    stages: {_stages(outcome.stages)}",
        f"  Serving          version {outcome.serving_version}    strategy: {outcome.deploy_strategy}"
        f"    health: {outcome.deploy_health}",
        f"  Model AUC        {outcome.model_auc:.3f} on the holdout of its deployment day",
        f"  Live AUC         {weeks}",
        f"  … left alone     {without}",
        f"  Flagged          {flagged.customers} customers in the third week: {flagged.already_churned} had already"
        f" churned, {flagged.never_leaving} never meant to",
        f"  KPIs             {kpis or '--'}",
        f"  Spend            ${result.budget.cost_usd:.2f}, {result.budget.tokens} tokens",
        f"  Report           {result.report}",
    ]
    return "\n".join(lines)


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _stages(stages: list[float]) -> str:
    return " → ".join(f"{each:g}%" for each in stages) or "--"
