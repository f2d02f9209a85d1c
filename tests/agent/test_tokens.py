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
