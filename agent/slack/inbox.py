"""Events that Slack delivered: each id once, kept until it was answered, also by the next process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import delete, select

from agent.untrusted import clean_lines
from tools.systems.systems import Systems
from tools.systems.tables import SlackEventRow

KEPT = timedelta(days=7)
ANSWERED_LATE = timedelta(hours=6)
"""A question older than this is not answered any more after a restart."""

MOST_TEXT = 4000
_MENTION = re.compile(r"<@[A-Z0-9]+(\|[^>]*)?>")
_ESCAPES = (("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"))


class Heard(BaseModel):
    """A message for the Guardian: where, in which thread, by whom. `direct`: in a direct message or assistant pane."""

    model_config = ConfigDict(frozen=True)

    channel: str
    thread: str
    ts: str
    user: str
    text: str
    direct: bool

    @property
    def session(self) -> str:
        """The conversation it belongs to."""
        return f"slack/{self.channel}/{self.thread}"


class Received(BaseModel):
    """A message that was not answered yet, and the message that will hold the answer, where there is one."""

    model_config = ConfigDict(frozen=True)

    event_id: str
    heard: Heard
    place: dict[str, Any] | None


def heard(event: Mapping[str, Any]) -> Heard | None:
    """The message in an event that is to be answered, None where there is none: edits, bots, what is not for us."""
    direct = event.get("type") == "message" and event.get("channel_type") == "im"
    if not (direct or event.get("type") == "app_mention"):
        return None
    if event.get("subtype") not in (None, "file_share") or event.get("bot_id") or not event.get("user"):
        return None
    text = _MENTION.sub(" ", str(event.get("text") or ""))
    for escape, plain in _ESCAPES:
        text = text.replace(escape, plain)
    return Heard(
        channel=str(event["channel"]),
        thread=str(event.get("thread_ts") or event["ts"]),
        ts=str(event["ts"]),
        user=str(event["user"]),
        text=clean_lines(text, MOST_TEXT),
        direct=direct,
    )


class Inbox:
    """The events of a workspace, in the state store."""

    def __init__(self, systems: Systems) -> None:
        self._systems = systems

    def receive(self, event_id: str, message: Heard | None) -> bool:
        """Records an event; False where it was delivered before."""
        now = self._systems.clock.now()
        with self._systems.store.writing() as session:
            if session.get(SlackEventRow, event_id) is not None:
                return False
            body = message.model_dump(mode="json") if message else None
            session.add(SlackEventRow(event_id=event_id, at=now, heard=body, place=None, done=message is None))
        return True

    def placed(self, event_id: str, place: Mapping[str, Any]) -> None:
        """The message that will hold the answer is there."""
        with self._systems.store.writing() as session:
            session.get_one(SlackEventRow, event_id).place = dict(place)

    def done(self, event_id: str) -> None:
        """It was answered."""
        with self._systems.store.writing() as session:
            session.get_one(SlackEventRow, event_id).done = True

    def open(self, event_id: str) -> Received | None:
        """The message of an event, None where it was answered."""
        with self._systems.store.reading() as session:
            row = session.get(SlackEventRow, event_id)
        return None if row is None or row.done else Received.model_validate(row, from_attributes=True)

    def unanswered(self) -> list[str]:
        """Ids of events that an earlier process, or a Slack that was down, left unanswered. Forgets what is old."""
        now: datetime = self._systems.clock.now()
        with self._systems.store.writing() as session:
            session.execute(delete(SlackEventRow).where(SlackEventRow.at < now - KEPT))
        query = select(SlackEventRow).where(SlackEventRow.done.is_(False), SlackEventRow.at > now - ANSWERED_LATE)
        with self._systems.store.reading() as session:
            return [each.event_id for each in session.scalars(query.order_by(SlackEventRow.at))]
