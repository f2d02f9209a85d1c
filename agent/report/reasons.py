"""Why something was done, or not, in words for people who do not know our names."""

from __future__ import annotations

import re
from datetime import datetime

from agent.report.numbers import moment, words

_TRIGGERS = {
    "first_champion": "as the first champion",
    "drift_detected": "because drift was found",
    "performance_decay": "because its performance had fallen",
    "scheduled": "on schedule",
    "data_volume": "because enough new labels had come in",
}
_RULE = re.compile(r"^([a-z]+(?:_[a-z]+)+): ")
_DATE = re.compile(r"\b(\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d)?)?)\b")


def trigger(name: str) -> str:
    """What set a training off: `drift_detected` → because drift was found. Another name is given as it is."""
    return _TRIGGERS.get(name, f"because of {words(name)}" if name else "")


def refusal(text: str) -> str:
    """A reason for doing nothing, as sentences: `not_due: not since 2026-01-07` → not due. Not since 7 Jan 2026.

    A rule's name before the colon becomes words, dates are written as everywhere in a report.
    """
    rule = _RULE.match(text)
    said = _DATE.sub(lambda found: moment(datetime.fromisoformat(found[1])), text[rule.end() :] if rule else text)
    said = sentence(said) if rule else said.rstrip(".")
    return f"{words(rule[1])}. {said}" if rule else said


def rule(text: str) -> str:
    """The shortest form of such a reason: its rule in words, else all of it."""
    found = _RULE.match(text)
    return words(found[1]) if found else text.rstrip(".")


def sentence(text: str) -> str:
    """`text` with a capital letter and a full stop."""
    said = text.strip()
    ended = said.endswith((".", "!", "?", "…"))
    return f"{said[:1].upper()}{said[1:]}{'' if ended or not said else '.'}"
