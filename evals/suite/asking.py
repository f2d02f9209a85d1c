"""Somebody writes to the Guardian: a run of the same loop, whose briefing says who asked for what."""

from __future__ import annotations

from agent.briefing import brief
from agent.graph import Loop
from agent.planners.protocol import Briefing, Planner
from agent.runs import Run, RunRecord, claimed
from evals.suite.scenario import Asked
from tools.systems.systems import Systems
from tools.toolbox import toolbox


def answer(systems: Systems, asked: Asked, planner: Planner) -> None:
    """Works on what was written, and ends the run with its account."""
    because = f"{asked.by} writes in Slack: {asked.text}"
    record = RunRecord(planner=planner.name, about=dict(planner.about), because=because, models=[asked.model])
    run = Run.begin(systems, record)

    def briefing() -> Briefing:
        return brief(systems, asked.model, because=because)

    with claimed(systems, run.id):
        ending = Loop(systems, toolbox(), planner, saved=run.saved).run(run.id, f"{run.id}/{asked.model}", briefing)
        run.end(ending.status, ending.summary, {"report": ending.account})
