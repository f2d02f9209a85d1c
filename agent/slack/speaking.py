"""Answering what was said: one durable conversation for each Slack thread."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

from agent.conversation.pictures import picture_of
from agent.conversation.thread import Thread
from agent.slack.inbox import Heard, Inbox
from agent.slack.live import Live
from agent.slack.people import person_of
from agent.untrusted import clean, redact
from policies.errors import GuardianError
from tools.systems.systems import Systems
from tools.systems.tool import Tool

if TYPE_CHECKING:
    from slack_sdk import WebClient

_log = logging.getLogger(__name__)

MOST_ALT = 1000
"""Characters that Slack takes of what a picture shows."""


class Speaker:
    """Answers messages in their threads."""

    def __init__(
        self, systems: Systems, client: WebClient, *, planner: str | None, toolbox: Mapping[str, Tool] | None
    ) -> None:
        self._systems = systems
        self._client = client
        self._planner = planner
        self._toolbox = toolbox
        self.inbox = Inbox(systems)

    def answer(self, event_id: str) -> None:
        """Answers a message once; where Slack takes nothing it stays in the inbox, to be tried again."""
        received = self.inbox.open(event_id)
        if received is None:
            return
        message = received.heard
        try:
            live = Live(
                self._client,
                message.channel,
                message.thread,
                direct=message.direct,
                place=received.place,
                placed=lambda place: self.inbox.placed(event_id, place),
            )
            text, model = self._said(message, live)
            live.end(text)
        except Exception as error:
            _log.warning("the answer to %s is tried again: %s", event_id, clean(repr(error)))
            return
        self.inbox.done(event_id)
        self._show(message, model)

    def _show(self, message: Heard, model: str | None) -> None:
        """The picture that belongs to the answer, under it. What goes wrong here costs a picture, and no answer."""
        try:
            picture = picture_of(self._systems, message.text, model)
            if picture is not None:
                self._client.files_upload_v2(
                    channel=message.channel,
                    thread_ts=message.thread,
                    filename=f"{model}.png",
                    content=picture.png,
                    title=picture.title,
                    alt_txt=picture.alt[:MOST_ALT],
                    request_file_info=False,
                )
        except Exception as error:
            _log.warning("a picture could not be shown: %s", clean(redact(repr(error)), 300))

    def _said(self, message: Heard, live: Live) -> tuple[str, str | None]:
        """The answer, and the model it is about."""
        try:
            thread = Thread(
                self._systems,
                message.session,
                planner=self._planner,
                toolbox=self._toolbox,
                progress=live.progress,
            )
            person = person_of(self._systems, message.user)
            reply = thread.ask(message.text or "help", person, id=f"{message.channel}/{message.ts}")
            return reply.text, reply.model
        except GuardianError as error:
            return f"That did not work: {clean(error, 600)}", None
        except Exception as error:
            _log.exception("a question could not be answered")
            return f"That failed unexpectedly ({type(error).__name__}); the log has the details.", None
