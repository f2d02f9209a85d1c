"""A killed night goes on where it was, and nothing is done twice."""

from __future__ import annotations

import json
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
from tools.systems.systems import Systems


def test_a_night_killed_at_every_step_boundary_ends_like_an_undisturbed_one(tmp_path: Path) -> None:
    """Measured, retrained, judged, approved, deployed, told: see `crash_night` for what a boundary is."""
    command = [sys.executable, "-m", "tests.agent.crash_night", str(tmp_path)]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], timeout=280, check=True, capture_output=True)
    report = json.loads(done.stdout)
    assert report["killed"] == report["boundaries"] > 80
    assert len(report["ends"]) == 1, done.stderr.decode()
    often, end = report["ends"][0]
    assert often == report["boundaries"]
    assert end["runs"][0][1] == "finished"
    assert [row[1:3] for row in end["changes"]["rollout"]] == [["2", "running"]]
    assert len(end["changes"]["train"]) == len(end["changes"]["approval"]) == 1
    assert (end["audit"], end["checkpoints"]) == (None, 0)


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
