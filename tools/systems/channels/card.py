"""An approval as a Slack card: what, the evidence, the numbers, Approve and Deny; how it ended once it did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from tools.systems.channels.mrkdwn import escaped, section

APPROVE, DENY = "guardian_approve", "guardian_deny"
"""The buttons' action ids; their value is the approval's."""


class Card(BaseModel):
    """What a card shows. `says` is how the request stands, empty while it waits."""

    model_config = ConfigDict(frozen=True)

    approval: str
    what: str
    asked_by: str
    until: str
    whom: str
    evidence: Sequence[str]
    numbers: Sequence[str]
    says: str = ""
    approved: bool = False


def card_blocks(given: dict[str, Any]) -> list[dict[str, Any]]:
    """The blocks of a `Card`, given as data."""
    card = Card.model_validate(given)
    sign = ":raised_hand:" if not card.says else ":white_check_mark:" if card.approved else ":no_entry_sign:"
    blocks = [section(f"{sign} *{escaped(card.what)}*")]
    if card.numbers:
        blocks.append(section(escaped("\n".join(f"• {each}" for each in card.numbers))))
    if card.evidence:
        blocks.append(section(escaped("Evidence: " + ", ".join(card.evidence))))
    if card.says:
        blocks.append(section(f"*{escaped(card.says)}*"))
    else:
        blocks.append({"type": "actions", "block_id": card.approval, "elements": _buttons(card)})
    foot = f"{card.approval}, asked by {card.asked_by}; {card.whom} may decide until {card.until} UTC"
    blocks.append({"type": "context", "elements": [{"type": "mrkdwn", "text": escaped(foot)[:2900]}]})
    return blocks


def _buttons(card: Card) -> list[dict[str, Any]]:
    sure = {
        "title": _plain("Approve?"),
        "text": _plain(card.what[:280]),
        "confirm": _plain("Approve"),
        "deny": _plain("Not yet"),
    }
    approve = {"type": "button", "action_id": APPROVE, "text": _plain("Approve"), "style": "primary", "confirm": sure}
    deny = {"type": "button", "action_id": DENY, "text": _plain("Deny…"), "style": "danger"}
    return [{**each, "value": card.approval} for each in (approve, deny)]


def _plain(text: str) -> dict[str, str]:
    return {"type": "plain_text", "text": text}
