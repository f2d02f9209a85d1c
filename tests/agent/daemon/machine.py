"""A machine with a daemon of its own on a shared store, whose night stops in the middle until it is killed.

Run as `python -m tests.agent.daemon.machine FOLDER STORE_URL`: prints `evaluating` when it has trained.
"""

from __future__ import annotations

import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

from agent.daemon.daemon import Daemon, Settings
from agent.daemon.schedule import NIGHTLY
from agent.triage import triage
from tests.agent.world import NIGHT, World, build_world


class StuckWorld(World):
    """Its judgement never comes."""

    def evaluate(self, systems: Any, arguments: Any) -> Any:
        """Judges challenger against champion on the holdout, and runs the quality gate."""
        print("evaluating", flush=True)
        threading.Event().wait()


class Job:
    """A triage in this process."""

    doing = ""

    def __init__(self, world: World) -> None:
        self._world = world

    def run(self) -> str:
        """The nightly run."""
        return triage(self._world.systems, toolbox=self._world.toolbox(), advance=lambda systems, now: []).report

    def stop(self) -> None:
        """Only a signal ends it."""


def main(folder: Path, url: str) -> None:
    """Serves from before the nightly run is due, until killed."""
    world = StuckWorld(build_world(folder, store_url=url).systems)
    clock: Any = world.systems.clock
    clock.set(NIGHT - timedelta(hours=1))
    settings = Settings(NIGHTLY, "127.0.0.1", 0, "runbook")
    daemon = Daemon(world.systems, settings, job=Job(world), gateways=None, slack=None, say=lambda text: None)
    clock.set(NIGHT)
    daemon.serve(lambda page: None)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
