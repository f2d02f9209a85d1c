"""Prompts by name: text files of the `prompts` package, each with its version on the first line (`version: 3`)."""

from __future__ import annotations

from importlib.resources import files

from pydantic import BaseModel, ConfigDict


class Prompt(BaseModel):
    """A prompt's text, without its version line."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    text: str


def load_prompt(name: str) -> Prompt:
    """The prompt `prompts/NAME.txt`. Raises FileNotFoundError, or ValueError where the version line is missing."""
    first, _, text = files("prompts").joinpath(f"{name}.txt").read_text(encoding="utf-8").partition("\n")
    label, _, version = first.partition(":")
    if label != "version" or not version.strip():
        raise ValueError(f"prompts/{name}.txt: the first line must be 'version: N', it is {first!r}")
    return Prompt(name=name, version=version.strip(), text=text.strip())
