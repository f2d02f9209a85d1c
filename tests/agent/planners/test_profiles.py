"""Which API a model is asked through."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from agent.planners.profiles import profile_for
from agent.tokens import counter
from policies.errors import InputError


def test_openai_is_asked_through_responses_and_others_through_chat() -> None:
    assert profile_for("gpt-4o").flavour == "responses"
    assert profile_for("gpt-4o", "https://api.openai.com/v1").flavour == "responses"
    assert profile_for("gpt-4o", "http://127.0.0.1:8000/v1").flavour == "chat"
    assert profile_for("gpt-4o", "http://127.0.0.1:8000/v1", "responses").flavour == "responses"


def test_an_unknown_flavour_is_refused() -> None:
    with pytest.raises(InputError, match="responses or chat"):
        profile_for("gpt-4o", None, "grpc")


def test_the_retirement_of_gpt_4o_is_known_and_other_models_have_their_own() -> None:
    assert profile_for("gpt-4o").retires == date(2027, 1, 14)
    assert profile_for("gpt-5-mini").retires is None
    assert profile_for("gpt-5-mini").model == "gpt-5-mini"


@pytest.mark.parametrize("model", ["gpt-5-mini", "gpt-5.1", "o3", "o4-mini"])
def test_models_that_reason_are_given_room_and_no_sampling_options(model: str) -> None:
    profile = profile_for(model)
    assert (profile.temperature, profile.seed, profile.encoding) == (None, None, "o200k_base")
    assert profile.max_output_tokens >= 4000


def test_a_model_with_another_tokenizer_is_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """cl100k_base, which gpt-4-turbo counts by, makes several times the tokens of o200k_base of some scripts."""
    data = Path(os.environ.get("GUARDIAN_REFERENCE_DATA", "")) / "data" / "tiktoken"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(data))
    text = "გამარჯობა, მომხმარებელი"
    assert counter(profile_for("gpt-4-turbo").encoding)(text) == len(text.encode())
    assert profile_for("gpt-4o-2024-08-06").encoding == "o200k_base"
