"""A message that says what is being done, until it holds the answer."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from agent.untrusted import clean, clean_lines
from tools.systems.channels.mrkdwn import escaped, section, split

if TYPE_CHECKING:
    from slack_sdk import WebClient

_log = logging.getLogger(__name__)

EVERY_SECONDS = 1.5
"""Slack takes about one change of a message a second."""
MOST_ANSWER = 20_000


class Live:
    """One answer in a thread. `place`: the message an earlier attempt left; `placed` is told of a new one.

    The assistant pane shows a status of its own; elsewhere a message stands in for it.
    """

    def __init__(
        self,
        client: WebClient,
        channel: str,
        thread: str,
        *,
        direct: bool,
        place: Mapping[str, Any] | None,
        placed: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._client = client
        self._channel = channel
        self._thread = thread
        self._ts = str(place["ts"]) if place else None
        self._placed = placed
        self._changed = 0.0
        self._in_pane = direct and self._ts is None and self._pane("is looking …")
        self._lock = threading.Lock()
        if not self._in_pane and self._ts is None:
            self._ts = self._posted("_looking …_")

    def progress(self, line: str) -> None:
        """What is being done now; most lines are skipped, and a Slack that does not take one holds up nothing."""
        with self._lock:
            if time.monotonic() - self._changed < EVERY_SECONDS:
                return
            self._changed = time.monotonic()
            shown = clean(line, 140)
            try:
                if self._in_pane:
                    self._pane(shown)
                elif self._ts is not None:
                    self._client.chat_update(channel=self._channel, ts=self._ts, text=f"_{escaped(shown)}_", blocks=[])
            except Exception as error:
                _log.warning("the status could not be shown: %s", type(error).__name__)

    def end(self, text: str) -> None:
        """The answer: in the place of the status, what is longer in further messages."""
        parts = split(escaped(clean_lines(text, MOST_ANSWER)) or "…")
        with self._lock:
            if self._ts is None:
                self._ts = self._posted(parts[0])
            else:
                self._client.chat_update(channel=self._channel, ts=self._ts, text=parts[0], blocks=[section(parts[0])])
        for part in parts[1:]:
            self._client.chat_postMessage(channel=self._channel, thread_ts=self._thread, text=part, unfurl_links=False)

    def _posted(self, text: str) -> str:
        posted = self._client.chat_postMessage(
            channel=self._channel, thread_ts=self._thread, text=text, unfurl_links=False
        )
        self._placed({"ts": str(posted["ts"])})
        return str(posted["ts"])

    def _pane(self, status: str) -> bool:
        """Whether this is a thread of the assistant pane."""
        from slack_sdk.errors import SlackApiError

        try:
            self._client.assistant_threads_setStatus(channel_id=self._channel, thread_ts=self._thread, status=status)
        except SlackApiError:
            return False
        return True
