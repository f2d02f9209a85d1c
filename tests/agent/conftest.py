from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.world import World, build_world


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world of its own for each test."""
    built = build_world(tmp_path)
    yield built
    built.systems.close()


@pytest.fixture(autouse=True)
def _no_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "GUARDIAN_OPENAI_API", "TIKTOKEN_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
