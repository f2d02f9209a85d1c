"""What differs between language models: one profile each. All else is the same code."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal
from urllib.parse import urlsplit

from policies.errors import InputError

Flavour = Literal["responses", "chat"]


@dataclass(frozen=True)
class Profile:
    """A model: how it is asked, how its tokens are counted, whose prices apply, and when it is retired.

    `encoding` is None where the tokenizer is not known: bytes bound the tokens. `temperature` and `seed` are None where
    the model does not take them.
    """

    model: str
    flavour: Flavour
    encoding: str | None = "o200k_base"
    provider: str = "openai"
    max_output_tokens: int = 600
    temperature: float | None = 0.0
    seed: int | None = 7
    output_limit: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    retires: date | None = None


PROFILES: dict[str, Profile] = {
    "gpt-4o": Profile("gpt-4o", "responses", retires=date(2027, 1, 14)),
    "gpt-4o-mini": Profile("gpt-4o-mini", "responses"),
    "gpt-4.1": Profile("gpt-4.1", "responses"),
    "gpt-4.1-mini": Profile("gpt-4.1-mini", "responses"),
}
"""Known models, and their dated snapshots. Another name must have a price too."""

_REASONING = re.compile(r"(o\d|gpt-5)(?![a-z0-9])")
"""Models that think before they answer: that is output too, and they take neither temperature nor seed
(https://platform.openai.com/docs/guides/latest-model)."""

OPENAI_HOST = "api.openai.com"


def profile_for(model: str, base_url: str | None = None, flavour: str | None = None) -> Profile:
    """The profile of `model` as asked at `base_url`: Chat Completions anywhere but at OpenAI, unless told by `flavour`.

    Compatible servers all speak Chat Completions, few of them Responses. Raises InputError for an unknown flavour.
    """
    known = PROFILES.get(model) or _alike(model)
    if flavour is None:
        elsewhere = base_url is not None and urlsplit(base_url).hostname != OPENAI_HOST
        return replace(known, flavour="chat") if elsewhere else known
    if flavour not in ("responses", "chat"):
        raise InputError(f"{flavour!r} is not an API flavour; write responses or chat", where="GUARDIAN_OPENAI_API")
    return replace(known, flavour="responses" if flavour == "responses" else "chat")


def _alike(model: str) -> Profile:
    """The profile of a model that has none of its own."""
    for known in PROFILES.values():
        if model.startswith(f"{known.model}-20"):
            return replace(known, model=model, retires=None)
    if _REASONING.match(model):
        return Profile(model, "responses", max_output_tokens=4000, temperature=None, seed=None)
    return Profile(model, "responses", encoding=None)
