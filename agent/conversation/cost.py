"""What checking everything now would cost, from what it did cost before."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import func, select

from agent.budget import Ledger, Spent
from agent.planners.choice import default_planner
from policies.declarations.base import show_duration
from tools.systems.systems import Systems
from tools.systems.tables import ActionRow, SpendRow

MEASURING = ("check_drift", "track_kpis")
_LOOKED_BACK = timedelta(days=30)


def cost_of_checking(systems: Systems, models: list[str]) -> str:
    """Seconds and dollars of a triage over `models` now, and what of the budget is left."""
    operations = systems.operations
    monitors = sum(len(operations.monitors_of(model)) for model in models)
    trackers = sum(len(operations.trackers_of(model)) for model in models)
    lines = [
        f"Measuring {len(models)} model{'s' * (len(models) != 1)} ({monitors} monitor{'s' * (monitors != 1)}, "
        f"{trackers} KPI tracker{'s' * (trackers != 1)}) costs no tokens{_time(systems, monitors, trackers)}."
    ]
    if default_planner() == "runbook" or not operations.agents:
        return "\n".join([*lines, "What is found is worked on by the runbook, without a language model: $0.00."])
    name = next(iter(operations.agents))
    declared = operations.agents[name]
    lines.append(_of_runs(systems, name))
    ledger = Ledger(systems.store, systems.clock, name, operations.budgets[declared.budget])
    if declared.run_budget:
        cap = operations.budgets[declared.run_budget]
        lines.append(f"A run may cost at most ${cap.cost:.2f} and {cap.tokens:,} tokens.")
    return "\n".join([*lines, spent_line(name, ledger.spent(), ledger.declared.cost, ledger.declared.tokens)])


def spent_line(agent: str, spent: Spent, cost: float, tokens: int) -> str:
    """`operator: $0.0312 of $5.00 and 10,200 of 400,000 tokens in the last 24 h`."""
    return f"{agent}: ${spent.cost_usd:.4f} of ${cost:.2f} and {spent.tokens:,} of {tokens:,} tokens in the last 24 h."


def _time(systems: Systems, monitors: int, trackers: int) -> str:
    """How long it takes by the last measurements, one after another."""
    seconds = 0.0
    with systems.store.reading() as session:
        for tool, count in zip(MEASURING, (monitors, trackers), strict=True):
            query = select(ActionRow.started_at, ActionRow.ended_at).where(
                ActionRow.tool == tool, ActionRow.status == "done"
            )
            rows = session.execute(query.order_by(ActionRow.started_at.desc()).limit(20)).all()
            if not rows:
                continue
            seconds += count * sum((ended - began).total_seconds() for began, ended in rows if ended) / len(rows)
    return f" and takes about {show_duration(timedelta(seconds=round(seconds)))}" if seconds >= 1 else ""


def _of_runs(systems: Systems, agent: str) -> str:
    """What runs in which the language model was awake did cost."""
    usd = func.sum(func.coalesce(SpendRow.settled_usd, SpendRow.reserved_usd))
    since = systems.clock.now() - _LOOKED_BACK
    query = select(usd).where(SpendRow.agent == agent, SpendRow.at > since).group_by(SpendRow.run_id)
    with systems.store.reading() as session:
        costs = [float(each) for each in session.scalars(query)]
    if not costs:
        return "Only where something is found the language model is asked; no run of it is on record yet."
    return (
        f"Only where something is found the language model is asked: {len(costs)} runs in 30 days cost "
        f"${sum(costs) / len(costs):.4f} on average, ${max(costs):.4f} at most."
    )
