"""Telling who asked what came of it, once a person decided elsewhere: on a card, on the command line."""

from __future__ import annotations

from agent.cards import notice_of
from agent.runs import Run
from agent.triage_result import TriageResult
from tools.systems.systems import Systems

_SLACK = "slack/"


def tell_asker(systems: Systems, run: Run, answer: str) -> None:
    """Brings `answer` into the Slack thread that waited for it, by the outbox: once, and after a crash too.

    A conversation in a terminal is told when it is gone on with (`agent.conversation.thread`).
    """
    asked, before = run.record.asked, run.record.result
    if asked is None or before is None or not asked.session.startswith(_SLACK):
        return
    waited_for = TriageResult.model_validate(before).models[0].approval
    decided = notice_of(systems.store.get(waited_for)) if waited_for else f"{run.id} goes on."
    place = asked.session.removeprefix(_SLACK)
    systems.notifications.reply(asked.by, place, f"{decided}\n{answer}", about=run.id)
