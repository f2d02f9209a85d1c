"""Approve and Deny: every click is answered, and what it leads to is for the row to say (`agent.deciding`)."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from agent.approvals import PENDING, approvers_of, current, read
from agent.cards import redraw, says
from agent.deciding import answer
from agent.slack.people import names_of
from agent.untrusted import clean, clean_lines, redact
from policies.approval import may_decide
from policies.errors import GuardianError
from tools.systems.channels.card import APPROVE
from tools.systems.channels.mrkdwn import escaped, split
from tools.systems.systems import Systems
from tools.systems.tool import Tool

if TYPE_CHECKING:
    from slack_sdk import WebClient

_log = logging.getLogger(__name__)

REASON = "guardian_deny_reason"
_NOT_THERE = ("not_in_channel", "channel_not_found", "user_not_in_channel", "is_archived")


class Clicks:
    """Decisions made in Slack. `send_now` brings the redrawn cards to their places."""

    def __init__(
        self,
        systems: Systems,
        client: WebClient,
        *,
        toolbox: Mapping[str, Tool] | None,
        send_now: Callable[[], object],
    ) -> None:
        self._systems = systems
        self._client = client
        self._toolbox = toolbox
        self._send_now = send_now

    def clicked(self, body: Mapping[str, Any]) -> None:
        """A button of a card."""
        action, user, place = body["actions"][0], str(body["user"]["id"]), _place(body)
        id = str(action["value"])
        with self._answered(id, user, place):
            if action["action_id"] == APPROVE:
                self._decide(id, user, place, approve=True, why=None)
            elif (refused := self._refused(id, user)) is not None:
                self._tell(user, place, refused)
            else:
                self._ask_why(id, user, place, str(body["trigger_id"]))

    def reasoned(self, body: Mapping[str, Any]) -> None:
        """The reason of a denial was entered."""
        view = body["view"]
        kept = json.loads(view["private_metadata"])
        why = clean(view["state"]["values"]["why"]["why"]["value"] or "", 500)
        id, user, place = kept["approval"], str(body["user"]["id"]), kept["place"]
        with self._answered(id, user, place):
            self._decide(id, user, place, approve=False, why=why)

    @contextmanager
    def _answered(self, id: str, user: str, place: dict[str, str]) -> Iterator[None]:
        """Whatever fails within: who clicked is told."""
        try:
            yield
        except Exception as error:
            _log.exception("a click on %s failed", id)
            self._tell(user, place, f"{id} failed unexpectedly ({type(error).__name__}); the log has the details.")

    def _ask_why(self, id: str, user: str, place: dict[str, str], trigger: str) -> None:
        from slack_sdk.errors import SlackClientError

        asked = read(current(self._systems, id)).what
        try:
            self._client.views_open(trigger_id=trigger, view=_reason_view(id, asked, place))
        except SlackClientError as error:  # Slack takes a click for a form within three seconds only
            _log.warning("the question for a reason was not taken: %s", clean(repr(error), 300))
            self._tell(user, place, f"{id}: the form did not open; click again, or: guardian deny {id} --why …")

    def _decide(self, id: str, user: str, place: dict[str, str], *, approve: bool, why: str | None) -> None:
        if (refused := self._refused(id, user)) is not None:
            self._tell(user, place, refused)
            return
        person = self._approver(id, user)
        word = "approves" if approve else "denies"
        self._tell_all(user, place, f"{person} {word} {id}" + (f": {why}" if why else "") + ".")
        try:
            decided = answer(self._systems, id, person, approve=approve, why=why, toolbox=self._toolbox)
        except GuardianError as error:
            self._tell_all(user, place, f"{id}: {clean(error, 600)}")
        else:
            self._tell_all(user, place, decided.outcome or f"{id} is {decided.status}.")
        self._send_now()

    def _approver(self, id: str, user: str) -> str:
        """The declared name under which a user decides; the user's id where they have none."""
        names, may = names_of(self._systems, user), approvers_of(self._systems, current(self._systems, id))
        return next((name for name in names if name in may), next(iter(names), user))

    def _refused(self, id: str, user: str) -> str | None:
        """Why a click leads to nothing, None where it may lead on. An outdated card is drawn anew."""
        try:
            row = current(self._systems, id)
        except GuardianError as error:
            return clean(error)
        if row.status not in (PENDING, "approved"):
            redraw(self._systems, row)
            self._send_now()
            return f"{id}: {says(row)}."
        allowed = may_decide(self._approver(id, user), approvers_of(self._systems, row))
        if not allowed.allowed:
            return f"{id}: {'; '.join(allowed.reasons)}."
        return None

    def _tell(self, user: str, place: dict[str, str], text: str) -> None:
        """An answer that only who clicked sees."""
        self._say(user, text, partial(self._client.chat_postEphemeral, channel=place["channel"], user=user))

    def _tell_all(self, user: str, place: dict[str, str], text: str) -> None:
        """An answer in the card's thread."""
        channel, thread = place["channel"], place["ts"] or None
        post = partial(self._client.chat_postMessage, channel=channel, thread_ts=thread, unfurl_links=False)
        self._say(user, text, post)

    def _say(self, user: str, text: str, send: Callable[..., object]) -> None:
        """Where the bot may not speak (a card can be asked for in any channel), who clicked is told directly.

        A message that Slack does not take keeps nobody from deciding: the card shows it, once Slack is back.
        """
        from slack_sdk.errors import SlackApiError, SlackClientError

        direct = partial(self._client.chat_postMessage, channel=user)
        for part in split(escaped(clean_lines(text, 12_000))):
            try:
                try:
                    send(text=part)
                except SlackApiError as error:
                    if error.response.get("error") not in _NOT_THERE:
                        raise
                    direct(text=part)
            except (SlackClientError, OSError) as error:
                _log.warning("an answer to a click was not taken: %s", clean(redact(repr(error)), 300))


def _place(body: Mapping[str, Any]) -> dict[str, str]:
    """Where the card stands; an ephemeral one has no thread."""
    container = body.get("container") or {}
    channel = container.get("channel_id") or (body.get("channel") or {}).get("id") or body["user"]["id"]
    ts = "" if container.get("is_ephemeral") else str(container.get("message_ts") or "")
    return {"channel": str(channel), "ts": ts}


def _reason_view(id: str, asked: str, place: dict[str, str]) -> dict[str, Any]:
    def plain(text: str) -> dict[str, str]:
        return {"type": "plain_text", "text": text}

    return {
        "type": "modal",
        "callback_id": REASON,
        "private_metadata": json.dumps({"approval": id, "place": place}),
        "title": plain(f"Deny {id}"[:24]),
        "submit": plain("Deny"),
        "close": plain("Cancel"),
        "blocks": [
            {"type": "section", "text": plain(clean(asked, 2000))},
            {
                "type": "input",
                "block_id": "why",
                "label": plain("Why? The run is told."),
                "element": {"type": "plain_text_input", "action_id": "why", "multiline": True, "max_length": 500},
            },
        ],
    }
