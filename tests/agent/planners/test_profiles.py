"""Which API a model is asked through."""

from __future__ import annotations

from datetime import date

import pytest

from agent.planners.profiles import profile_for
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
