"""Prompts by name: text files of the `prompts` package, each with its version on the first line (`version: 3`).

A user's own `agent.md`, beside the declarations, is added to them: who owns what, known issues of the data. It is read
once a run, so that a prompt's bytes stay the same, and it is context: it cannot change what is allowed.
"""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from agent.tokens import count_bytes, counter
from agent.untrusted import clean_lines, fenced

CONTEXT_FILE = "agent.md"
MOST_CONTEXT_TOKENS = 400
"""Of `agent.md`; what is longer is cut at a line."""


class Prompt(BaseModel):
    """A prompt's text, without its version line."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    text: str
    context: str = ""

    @property
    def label(self) -> str:
        """What is logged with every run: name, version, and the digest of the user's context."""
        digest = hashlib.sha256(self.context.encode()).hexdigest()[:8]
        return f"{self.name} {self.version}" + (f" + {CONTEXT_FILE} {digest}" if self.context else "")


def organisation(home: Path, encoding: str | None) -> str:
    """The user's `agent.md` in `home`, at most MOST_CONTEXT_TOKENS of it; empty where there is none.

    Without a vocabulary a token is taken for three bytes of text.
    """
    file = home / CONTEXT_FILE
    if not file.is_file():
        return ""
    count = counter(encoding)
    most = MOST_CONTEXT_TOKENS * (3 if count is count_bytes else 1)
    kept: list[str] = []
    for line in clean_lines(file.read_text(encoding="utf-8", errors="replace"), 8000).splitlines():
        if count("\n".join([*kept, line])) > most:
            kept.append(f"(cut: {CONTEXT_FILE} is longer than {MOST_CONTEXT_TOKENS} tokens)")
            break
        kept.append(line)
    return "\n".join(kept)


def load_prompt(name: str, context: str = "") -> Prompt:
    """The prompt `prompts/NAME.txt`, followed by the user's context.

    Raises FileNotFoundError, or ValueError where the version line is missing.
    """
    first, _, text = files("prompts").joinpath(f"{name}.txt").read_text(encoding="utf-8").partition("\n")
    label, _, version = first.partition(":")
    if label != "version" or not version.strip():
        raise ValueError(f"prompts/{name}.txt: the first line must be 'version: N', it is {first!r}")
    told = f"{text.strip()}\n\n{fenced('organisation', context)}" if context else text.strip()
    return Prompt(name=name, version=version.strip(), text=told, context=context)
