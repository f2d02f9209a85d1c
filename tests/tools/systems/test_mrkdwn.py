"""What is too long for one Slack message is split where a reader would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.systems.channels.mrkdwn import escaped, split


@given(st.text(alphabet="ab &<>\n.`,", max_size=600), st.integers(40, 200))
def test_no_part_is_too_long_none_breaks_an_escape_and_no_word_is_lost(text: str, limit: int) -> None:
    shown = escaped(text)
    parts = split(shown, limit)
    assert all(len(part) <= limit for part in parts)
    for part in parts:
        assert "&" not in part.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "")
    plain = "".join("".join(parts).split()).replace("```", "")
    assert plain == "".join(shown.split()).replace("```", "")


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("one two three.\n\nfour five six seven eight nine ten", "one two three."),
        ("- one two three\n- four five six seven eight nine", "- one two three"),
        ("One two three. Four five six seven eight nine ten", "One two three."),
    ],
)
def test_paragraphs_come_before_lines_and_sentences(text: str, first: str) -> None:
    assert split(text, 44)[0] == first


def test_a_code_block_goes_on_in_the_next_part() -> None:
    parts = split("```\n" + "\n".join(f"row {n}" for n in range(40)) + "\n```", 100)
    assert all(part.startswith("```") and part.endswith("```") for part in parts)
