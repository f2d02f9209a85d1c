"""Text from outside (column names, tags, error texts, a model's answers) is data: bounded, one line, without secrets.

Nothing here decides what is allowed; it only keeps such text from looking like anything but data.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from tools.systems.credentials import hidden

SECRETS = (
    "OPENAI_API_KEY", "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET",
    "GUARDIAN_DNS_KEY", "GUARDIAN_KUBERNETES_TOKEN",
    "PAGERDUTY_ROUTING_KEY", "SMTP_URL",
)  # fmt: skip
"""Environment variables (and those that begin like them: PAGERDUTY_ROUTING_KEY_ML_PLATFORM) whose values never reach a
prompt, a report, a log or the state store."""

_KEY = re.compile(r"\b(?:sk|xox[abprs]|xapp)-[A-Za-z0-9_-]{6,}")


def clean(text: object, limit: int = 200) -> str:
    """One line of at most `limit` characters: control and format characters become spaces, secrets `[secret]`."""
    shown = redact(str(text)[: limit * 8])
    shown = "".join(" " if unicodedata.category(each)[0] in "CZ" else each for each in shown)
    shown = " ".join(shown.split())
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def clean_lines(text: object, limit: int = 4000) -> str:
    """Like `clean`, but keeps line breaks: for prose such as a summary or a report."""
    lines = [clean(line, limit) for line in str(text)[: limit * 8].splitlines()]
    shown = "\n".join(line for line in lines if line)
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def printable(text: str) -> str:
    """`text` for a terminal: line breaks stay, nothing else moves a cursor, sets a colour or turns letters."""
    return "".join(each if each == "\n" or unicodedata.category(each)[0] != "C" else " " for each in text)


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """`text` without the values of secret variables, API keys and the credentials of URLs."""
    values = os.environ if environment is None else environment
    for name, value in values.items():
        if name.startswith(SECRETS) and len(value) >= 6:
            text = text.replace(value, "[secret]")
    return hidden(_KEY.sub("[secret]", text))


def redacted(value: Any) -> Any:
    """Plain data without secrets, in keys and values alike: a model may speak a secret it got elsewhere."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {redact(str(key)): redacted(each) for key, each in value.items()}
    return [redacted(each) for each in value] if isinstance(value, list) else value


def fenced(name: str, text: str) -> str:
    """`text` between `<name>` tags that it cannot close itself."""
    harmless = re.sub(rf"<(/?)\s*{re.escape(name)}", rf"‹\1{name}", text, flags=re.IGNORECASE)
    return f"<{name}>\n{harmless}\n</{name}>"
