"""Slack: one message an alert, edited in place; a reply in its thread, shown in the channel, calls people again.

`chat.postMessage` takes no idempotency key. Each message therefore carries the letter's token as message metadata, and
where an earlier attempt may have arrived, the channel's history is searched for it before anything is posted again.
That needs the scope channels:history (groups:history); without it such a letter is posted again: rather twice than not.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from policies.alerting import AlertStatus
from policies.declarations import Severity
from tools.systems.channels.card import card_blocks
from tools.systems.channels.channel import TIMEOUT_SECONDS, Letter, Undelivered, footer, headline
from tools.systems.channels.mrkdwn import escaped, section, split

if TYPE_CHECKING:
    from slack_sdk import WebClient

_quiet = logging.getLogger(f"{__name__}.requests")
_quiet.setLevel(logging.CRITICAL)  # what goes wrong is told by the outbox

API_URL = "https://slack.com/api/"
EVENT = "guardian_alert"
_SIGNS = {Severity.critical: ":red_circle:", Severity.warning: ":large_yellow_circle:"}
_PAGES_LOOKED_AT = 5
MOST_PARTS = 4
"""Sections of one message: `chat.postMessage` takes about 13,200 characters of blocks, whatever each may hold
(https://github.com/slackapi/bolt-js/issues/2509)."""


class SlackChannel:
    """Posts as the bot of `token`."""

    def __init__(self, token: str, url: str = API_URL) -> None:
        self._token = token
        self._url = url.rstrip("/") + "/"
        self._made: WebClient | None = None

    def send(self, letter: Letter) -> dict[str, Any]:
        """Posts the alert's message, or edits it and calls people in its thread. Raises Undelivered."""
        place, told = letter.place, letter.calls_sent
        if place is None and letter.doubtful:
            place, told = self._found(letter)
        if place is None:
            to, thread = _address(letter)
            posted = self._call(
                lambda client: client.chat_postMessage(
                    channel=to, thread_ts=thread, metadata=_metadata(letter.token, letter.alert.calls), **_shown(letter)
                )
            )
            return {"channel": posted["channel"], "ts": posted["ts"]}
        channel, ts = place["channel"], place["ts"]
        self._call(lambda client: client.chat_update(channel=channel, ts=ts, **_shown(letter)))
        if told < letter.alert.calls and not (letter.doubtful and self._called_in(place, letter)):
            text = f"{_sign(letter)} {escaped(headline(letter.alert))}"
            metadata = _metadata(letter.call_token, letter.alert.calls)
            self._call(
                lambda client: client.chat_postMessage(
                    channel=channel, thread_ts=ts, reply_broadcast=True, text=text, metadata=metadata
                )
            )
        return place

    @property
    def _client(self) -> WebClient:
        if self._made is None:
            from slack_sdk import WebClient

            # No retries within the library: it repeats a request of which it is not known whether it arrived.
            self._made = WebClient(
                token=self._token, base_url=self._url, timeout=int(TIMEOUT_SECONDS), retry_handlers=[], logger=_quiet
            )
        return self._made

    def _call(self, ask: Callable[[WebClient], Any]) -> Any:
        from slack_sdk.errors import SlackApiError, SlackClientError

        try:
            return ask(self._client)
        except SlackApiError as error:
            raise _refused(error) from error
        except (OSError, HTTPException, SlackClientError) as error:
            reason = getattr(error, "reason", None)
            told, refused = type(reason or error).__name__, isinstance(reason, ConnectionRefusedError)
            raise Undelivered(f"did not answer: {told}", "slack", doubtful=not refused) from error

    def _found(self, letter: Letter) -> tuple[dict[str, Any] | None, int]:
        """Where an earlier attempt's message stands and the calls it told of; None where it did not arrive."""
        to, thread = _address(letter)
        channel = self._channel_id(to)
        method, where = ("conversations.replies", {"ts": thread}) if thread else ("conversations.history", {})
        found = self._search(method, {"channel": channel, **where}, letter.token)
        if found is None:
            return None, 0
        return {"channel": channel, "ts": found["ts"]}, int(found["metadata"]["event_payload"]["calls"])

    def _called_in(self, place: dict[str, Any], letter: Letter) -> bool:
        """Whether an earlier attempt did reply in the thread already."""
        return self._search("conversations.replies", place, letter.call_token) is not None

    def _search(self, method: str, where: dict[str, Any], token: str) -> dict[str, Any] | None:
        """The message with `token` in its metadata; None also where the bot may not look."""
        asked = {**where, "include_all_metadata": True, "limit": 200}
        for _ in range(_PAGES_LOOKED_AT):
            try:
                page = self._call(lambda client: client.api_call(method, params=asked))
            except Undelivered as error:
                if error.doubtful or error.wait is not None:
                    raise
                return None
            for message in page["messages"]:
                metadata = message.get("metadata") or {}
                if metadata.get("event_type") == EVENT and metadata["event_payload"].get("letter") == token:
                    return dict(message)
            asked["cursor"] = (page.get("response_metadata") or {}).get("next_cursor")
            if not asked["cursor"]:
                return None
        return None

    def _direct(self, member: str) -> str:
        try:
            opened = self._call(lambda client: client.api_call("conversations.open", params={"users": member}))
        except Undelivered as error:
            if error.doubtful or error.wait is not None:
                raise
            return member
        return str(opened["channel"]["id"])

    def _channel_id(self, name: str) -> str:
        """The id of `#name`, or of the direct message with a member, or the name where the bot may not look it up."""
        if name[:1] in ("U", "W"):
            return self._direct(name)
        asked: dict[str, Any] = {"types": "public_channel,private_channel", "exclude_archived": True, "limit": 1000}
        while name.startswith("#"):
            try:
                page = self._call(lambda client: client.api_call("conversations.list", params=asked))
            except Undelivered as error:
                if error.doubtful or error.wait is not None:
                    raise
                return name
            for each in page["channels"]:
                if each["name"] == name[1:]:
                    return str(each["id"])
            asked["cursor"] = (page.get("response_metadata") or {}).get("next_cursor")
            if not asked["cursor"]:
                return name
        return name


def _refused(error: Any) -> Undelivered:
    """What Slack's refusal means; only its error code is kept."""
    response = error.response
    status = getattr(response, "status_code", 0)
    headers = {str(key).lower(): value for key, value in (getattr(response, "headers", None) or {}).items()}
    if status == 429:
        wait = headers.get("retry-after", "30")
        return Undelivered("asks to wait (rate limited)", "slack", wait=float(wait) if wait.isdigit() else 30.0)
    code = response.get("error") if status == 200 else f"HTTP {status}"
    return Undelivered(f"refused: {code}", "slack", doubtful=status >= 500)


def _address(letter: Letter) -> tuple[str, str | None]:
    """The channel or member, and the thread there: `#oncall`, `U0ANNA`, `C0ONCALL/1770000000.000100`."""
    to, _, thread = letter.address.partition("/")
    return to, thread or None


def _metadata(token: str, calls: int) -> dict[str, Any]:
    return {"event_type": EVENT, "event_payload": {"letter": token, "calls": calls}}


def _shown(letter: Letter) -> dict[str, Any]:
    alert = letter.alert
    if card := alert.facts.get("card"):
        return {"text": escaped(alert.title), "blocks": card_blocks(card), "unfurl_links": False}
    head = f"{_sign(letter)} *{escaped(headline(alert))}*"
    blocks: list[dict[str, Any]] = [section(head)]
    if alert.text:
        blocks += [section(part) for part in split(escaped(alert.text))[:MOST_PARTS]]
    if foot := footer(alert):
        blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": foot}]})
    return {"text": f"{_sign(letter)} {escaped(headline(alert))}", "blocks": blocks, "unfurl_links": False}


def _sign(letter: Letter) -> str:
    if letter.alert.status is AlertStatus.resolved:
        return ":white_check_mark:"
    return _SIGNS.get(letter.alert.severity, ":information_source:")
