"""Somebody writes to the Guardian in Slack: a turn of a conversation, worked on as the daemon does."""

from __future__ import annotations

from agent.conversation.work import Turn, begin
from agent.planners.protocol import Planner
from agent.runs import Asked as Question
from agent.runs import claimed
from evals.suite.scenario import Asked
from tools.systems.systems import Systems
from tools.toolbox import toolbox


def answer(systems: Systems, asked: Asked, planner: Planner) -> None:
    """Works on what was written; who is not declared under `systems.people` may only ask and measure."""
    stranger = asked.by not in systems.operations.systems.people
    question = Question(session="slack/C1/1", text=asked.text, by=asked.by, read_only=stranger)
    run = begin(systems, question, asked.model, planner.name)
    with claimed(systems, run.id):
        Turn(systems, run, toolbox(), planner, lambda line: None).work()
