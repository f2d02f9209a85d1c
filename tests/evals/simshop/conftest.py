from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

import pyarrow as pa
import pytest

from evals.simshop import FULL_STORY, Story, World

SMALL = 3_500


class Shelf:
    """A table writer that keeps in memory what a warehouse would keep in files."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, pa.Table]] = {}

    def append(self, table: str, data: pa.Table, name: str) -> None:
        self.files.setdefault(table, {})[name] = data

    def read(self, table: str) -> pa.Table:
        parts = self.files[table]
        return pa.concat_tables([parts[name] for name in sorted(parts)], promote_options="default")


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture(scope="session")
def lived() -> Callable[..., Shelf]:
    """Worlds of 3,500 customers, seed 5, that lived through a story up to some moment; each is built once."""
    kept: dict[tuple[Story, datetime], Shelf] = {}

    def live(until: datetime, story: Story = FULL_STORY) -> Shelf:
        if (story, until) not in kept:
            shelf = Shelf()
            world = World(5, SMALL, story)
            world.build_history(shelf)
            world.advance(shelf, until)
            kept[story, until] = shelf
        return kept[story, until]

    return live
