"""Bounds on prompt tokens hold with and without the vocabulary."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from agent.tokens import PromptBound, cached_vocabulary, count_bytes, counter


def test_without_a_vocabulary_bytes_bound_the_tokens() -> None:
    assert counter("o200k_base") is count_bytes
    assert count_bytes("naïve") == 6


def test_a_damaged_vocabulary_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
    file = tmp_path / hashlib.sha1(address.encode()).hexdigest()
    file.write_text("half")
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    assert cached_vocabulary("o200k_base") is None
    assert counter("o200k_base") is count_bytes
    assert file.read_text() == "half"


def test_with_the_vocabulary_tokens_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(os.environ.get("GUARDIAN_REFERENCE_DATA", "")) / "data" / "tiktoken"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
    if not os.environ.get("GUARDIAN_REFERENCE_DATA") or cached_vocabulary("o200k_base") is None:
        pytest.skip("the o200k_base vocabulary is not in GUARDIAN_REFERENCE_DATA")
    count = counter("o200k_base")
    assert count("Drift was found; retraining starts.") < 12
    assert count("<|endoftext|>") > 1


def test_a_longer_request_is_bounded_by_the_report_and_what_is_new() -> None:
    bound = PromptBound(count_bytes)
    first = "x" * 4000
    assert bound.bound(first) == 4000 + PromptBound.FRAMING
    bound.report(first, 900)
    assert bound.bound(first + "y" * 100) == 900 + 100 + PromptBound.FRAMING
    assert bound.bound("other" * 10) == 50 + PromptBound.FRAMING


def test_system_text_and_tools_are_short() -> None:
    """Measured by the model's own vocabulary where it is here, else by its bytes, of which a token has about four."""
    import json

    from agent.planners.schemas import tool_schemas
    from agent.prompting import load_prompt
    from policies.declarations import load
    from tests.agent.world import OPERATIONS
    from tools.toolbox import toolbox

    folder = os.environ.get("GUARDIAN_REFERENCE_DATA")
    if folder:
        os.environ["TIKTOKEN_CACHE_DIR"] = str(Path(folder) / "data" / "tiktoken")
    try:
        count = counter("o200k_base")
    finally:
        os.environ.pop("TIKTOKEN_CACHE_DIR", None)
    tools = [each.model_dump() for each in tool_schemas(toolbox(), load(OPERATIONS))]
    text = load_prompt("operator").text + json.dumps(tools)
    tokens = count(text) if count is not count_bytes else count(text) / 4
    assert tokens < 1100
