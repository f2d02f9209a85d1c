"""A world with a first champion of day 30 that changes on day 31 and lives until day 44, made once and copied."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.tools.retrain.tiny_world import MODEL, TinyWorld
from tools.retrain.tool import train_first_champion
from tools.systems.systems import Systems


@pytest.fixture(scope="session")
def _champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("champion")
    world = TinyWorld(home, change_on=31)
    world.live(30)
    train_first_champion(world.systems, MODEL, world.systems.clock.now())
    world.live(44)
    world.now(32)
    world.report()
    world.now(44)
    world.report()
    world.systems.close()
    return home


@pytest.fixture
def opened(_champion: Path, tmp_path: Path) -> Iterator[Callable[[str], Systems]]:
    """Opens a copy of that world by a name; the same name gives the same copy."""
    systems: list[Systems] = []

    def copy(name: str) -> Systems:
        if not (tmp_path / name).exists():
            shutil.copytree(_champion, tmp_path / name)
        systems.append(Systems.open(tmp_path / name / "operations.yaml"))
        return systems[-1]

    yield copy
    for each in systems:
        each.close()
