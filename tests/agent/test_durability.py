"""A killed night goes on where it was, and nothing is done twice."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.runs import RunBusy, claimed
from agent.triage import triage
from tests.agent.world import World
from tools.systems.store import Kind
from tools.systems.systems import Systems

CHILD = """
import os, sys
from pathlib import Path
from tests.agent.world import build_world
from agent.triage import triage

world = build_world(Path(sys.argv[1]))
world.systems.clock.set(world.systems.clock.now())
left = int(sys.argv[2])

def progress(line):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), 9)

triage(world.systems, toolbox=world.toolbox(), progress=progress)
"""
KINDS = (Kind.drift_report, Kind.training_run, Kind.evaluation, Kind.gate, Kind.rollout)


def kept(world: World) -> list[tuple[str, int]]:
    return [(kind.value, len(world.systems.store.list(kind))) for kind in KINDS]


@pytest.mark.parametrize("lines", [1, 2, 3, 4, 5, 6, 7, 8, 10])
def test_a_night_killed_anywhere_ends_like_an_undisturbed_one(world: World, tmp_path: Path, lines: int) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(lines)]
    killed = subprocess.run(command, cwd=Path(__file__).parents[2], timeout=120, check=False)
    assert killed.returncode == -9
    result = triage(world.systems, toolbox=world.toolbox())
    assert (result.run_id, result.status) == ("run-1", "finished")
    assert [action.tool for action in result.models[0].actions] == ["retrain", "evaluate", "deploy", "track_kpis"]
    assert kept(world) == [(kind.value, 1) for kind in KINDS]


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_write_that_was_cut_off_after_it_acted_is_not_repeated(world: World) -> None:
    box = world.toolbox()
    whole = box["deploy"]

    def act_and_die(systems: Systems, arguments: Any) -> Any:
        whole.run(systems, arguments)
        raise Killed

    box["deploy"] = replace(whole, run=act_and_die)
    with pytest.raises(Killed):
        triage(world.systems, toolbox=box)
    result = triage(world.systems, toolbox=world.toolbox())
    assert result.run_id == "run-1"
    assert world.calls.count("deploy") == 1
    assert "rollout-1" in result.report


def test_an_old_interrupted_run_is_given_up(world: World) -> None:
    world.drift = False
    box = world.toolbox()
    box["track_kpis"] = replace(box["track_kpis"], run=_die)
    with pytest.raises(Killed):
        triage(world.systems, toolbox=box)
    world.systems.clock.set(world.systems.clock.now() + timedelta(days=2))  # type: ignore[attr-defined]
    result = triage(world.systems, toolbox=world.toolbox())
    assert result.run_id == "run-2"
    assert world.systems.store.get("run-1").status == "abandoned"


def test_two_processes_never_work_on_one_run(world: World) -> None:
    with claimed(world.systems, "run-1"), pytest.raises(RunBusy), claimed(world.systems, "run-1"):
        pass


def test_checkpoints_of_an_ended_run_are_removed(world: World) -> None:
    import sqlite3

    triage(world.systems, toolbox=world.toolbox())
    with sqlite3.connect(world.systems.state / "checkpoints.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM checkpoints").fetchone() == (0,)


def _die(systems: object, arguments: object) -> Any:
    raise Killed
