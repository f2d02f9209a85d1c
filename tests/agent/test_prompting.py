"""Prompts are files with a version."""

from __future__ import annotations

from importlib.resources import files

import pytest

from agent.prompting import load_prompt


def test_every_prompt_loads_and_has_a_version() -> None:
    names = [file.name.removesuffix(".txt") for file in files("prompts").iterdir() if file.name.endswith(".txt")]
    assert "operator" in names
    for name in names:
        prompt = load_prompt(name)
        assert prompt.version.isdigit()
        assert not prompt.text.startswith("version")


def test_an_unknown_prompt_is_not_found() -> None:
    with pytest.raises(FileNotFoundError):
        load_prompt("oracle")
