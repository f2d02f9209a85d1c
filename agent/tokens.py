"""Upper bounds on the tokens of a request, before it is sent."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

Counter = Callable[[str], int]

VOCABULARIES = {
    "o200k_base": (
        "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken",
        "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    )
}
"""Encoding: the address that names its cached file (tiktoken names it by SHA-1 of the address), and its SHA-256."""


def cached_vocabulary(encoding: str | None) -> Path | None:
    """The vocabulary file of `encoding` in TIKTOKEN_CACHE_DIR, None where absent, damaged or not known."""
    folder = os.environ.get("TIKTOKEN_CACHE_DIR")
    if not folder or encoding is None or encoding not in VOCABULARIES:
        return None
    address, digest = VOCABULARIES[encoding]
    file = Path(folder) / hashlib.sha1(address.encode(), usedforsecurity=False).hexdigest()
    # tiktoken deletes a damaged file and fetches it again: it must not come to that
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != digest:
        return None
    return file


def counter(encoding: str | None) -> Counter:
    """tiktoken's count where the vocabulary is on this machine, else UTF-8 bytes (a token has at least one)."""
    if encoding is None or cached_vocabulary(encoding) is None:
        return count_bytes
    import tiktoken

    vocabulary = tiktoken.get_encoding(encoding)
    return lambda text: len(vocabulary.encode(text, disallowed_special=()))


def count_bytes(text: str) -> int:
    """UTF-8 bytes of `text`."""
    return len(text.encode())


class PromptBound:
    """Bounds the prompt tokens of growing requests of one conversation.

    The first request is counted whole. Once the provider has reported a request's prompt tokens, a later request that
    starts with the same text is bounded by that figure plus the count of what is new.
    """

    FRAMING = 64
    """Tokens a provider adds around messages and tools that are not in the request's text."""

    def __init__(self, count: Counter) -> None:
        self._count = count
        self._text = ""
        self._reported = 0

    def bound(self, request: str) -> int:
        """An upper bound on the prompt tokens of `request` (its messages and tools as one text)."""
        whole = self._count(request) + self.FRAMING
        if self._reported and request.startswith(self._text):
            return min(whole, self._reported + self._count(request[len(self._text) :]) + self.FRAMING)
        return whole

    def report(self, request: str, prompt_tokens: int) -> None:
        """Notes the provider's own figure for `request`."""
        self._text, self._reported = request, prompt_tokens
