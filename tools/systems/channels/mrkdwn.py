"""Text as Slack shows it: escapes, sections, and messages split where a reader would split them.

https://docs.slack.dev/reference/block-kit/blocks/section-block (3,000 characters; escapes count)
"""

from __future__ import annotations

from typing import Any

MOST_IN_A_SECTION = 2900
_BREAKS = ("\n\n", "\n", ". ", "; ", ", ", " ")
_FENCE = "```"


def escaped(text: str) -> str:
    """Slack's own escapes: nothing in a text may become a mention or a link."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def section(text: str) -> dict[str, Any]:
    """A section block; what is too long for one is cut."""
    shown = text if len(text) <= MOST_IN_A_SECTION else whole(text[: MOST_IN_A_SECTION - 1]) + "…"
    return {"type": "section", "text": {"type": "mrkdwn", "text": shown}}


def split(text: str, limit: int = MOST_IN_A_SECTION) -> list[str]:
    """`text`, escaped already, in parts of at most `limit` characters: at paragraphs, else lines, sentences, words.

    No part begins or ends within an escape, and a code block that goes on is closed and opened again.
    """
    parts, rest, opened = [], text.strip(), ""
    while len(opened + rest) > limit:
        room = limit - len(opened) - len(_FENCE) - 1
        cut = _place(rest, room)
        part, rest = opened + rest[:cut].rstrip(), rest[cut:].lstrip("\n" if opened else None)
        opened = f"{_FENCE}\n" if part.count(_FENCE) % 2 else ""
        parts.append(f"{part}\n{_FENCE}" if opened else part)
    return [*parts, opened + rest] if rest or not parts else parts


def _place(text: str, room: int) -> int:
    """Where to cut: after the last break that leaves at least a third of the room used, else as late as possible."""
    for mark in _BREAKS:
        at = text.rfind(mark, 0, room)
        if at >= room // 3:
            return at + len(mark)
    return len(whole(text[:room]))


def whole(text: str) -> str:
    """`text` without the beginning of an escape at its end."""
    at = text.rfind("&", max(0, len(text) - 5))
    return text if at < 0 or ";" in text[at:] else text[:at]
