"""`/guardian status|triage|why|approvals`; anything else is a question."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from agent.cards import card_of
from agent.conversation.intents import Intent, Question, understood
from agent.conversation.lookups import look_up
from agent.deciding import listed
from agent.slack.people import names_of
from agent.untrusted import clean, clean_lines
from policies.errors import GuardianError
from tools.systems.channels.card import card_blocks
from tools.systems.channels.mrkdwn import escaped, section, split
from tools.systems.systems import Systems

_log = logging.getLogger(__name__)

Respond = Callable[..., Any]
Triage = Callable[[], str]
"""Runs a triage and gives its report."""

_LOOKED_UP = {"status": Intent.status, "why": Intent.why_serving}


class Commands:
    """The slash command."""

    def __init__(self, systems: Systems, triage: Triage) -> None:
        self._systems = systems
        self._triage = triage

    def asked(self, command: Mapping[str, Any], respond: Respond) -> None:
        """Answers one command."""
        word, _, rest = clean(command.get("text") or "status", 1000).partition(" ")
        try:
            if word == "approvals":
                self._approvals(respond)
            elif word == "triage":
                self._run(str(command["user_id"]), respond)
            else:
                _say(respond, look_up(self._systems, self._question(word, rest)))
        except GuardianError as error:
            _say(respond, f"That did not work: {clean(error, 600)}")
        except Exception as error:
            _log.exception("/guardian %s failed", word)
            _say(respond, f"That failed unexpectedly ({type(error).__name__}); the log has the details.")

    def _question(self, word: str, rest: str) -> Question:
        models = list(self._systems.operations.models)
        asked = understood(f"{word} {rest}", models)
        if word in _LOOKED_UP and (word == "status" or asked.intent is None or rest.strip() in ("", *models)):
            return Question(asked.text, _LOOKED_UP[word], asked.models)
        return asked

    def _approvals(self, respond: Respond) -> None:
        waiting = [each for each in listed(self._systems).approvals if each.status == "pending"]
        if not waiting:
            _say(respond, "Nothing waits for a person.")
        for each in waiting[:5]:
            card = card_of(self._systems, self._systems.store.get(each.approval_id))
            respond(text=escaped(card.what), blocks=card_blocks(card.model_dump(mode="json")))
        if len(waiting) > 5:
            _say(respond, f"And {len(waiting) - 5} more: guardian approvals.")

    def _run(self, user: str, respond: Respond) -> None:
        if not names_of(self._systems, user):
            _say(respond, "A triage is started by people whose Slack id is declared under systems.people.")
            return
        respond(text="The triage has begun; its report comes here.", response_type="in_channel")
        _say(respond, self._triage(), response_type="in_channel")


def _say(respond: Respond, text: str, **how: Any) -> None:
    """What a response URL takes: five messages, so what is long is one message of several sections."""
    parts = split(escaped(clean_lines(text, 20_000)))
    respond(text=parts[0], blocks=[section(part) for part in parts[:45]], **how)
