"""Two machines with one PostgreSQL store: either goes on where the other stopped, and never both at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.deciding import answer
from agent.triage import triage
from tests.agent.world import World, build_world, declare_approvals
from tests.postgres import database_url
from tools.systems.store import Kind


@pytest.fixture
def machines(postgres: Path, tmp_path: Path) -> Iterator[tuple[World, World]]:
    """Two folders of state, as two machines have them, and one database."""
    url = database_url(postgres)
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        (folder / ".guardian").mkdir(parents=True)
    one, other = (build_world(folder, store_url=url) for folder in folders)
    for machine in (one, other):
        declare_approvals(machine, deploy={"mode": "approve", "approvers": ["oncall"]})
    yield one, other


def test_a_night_that_waits_on_one_machine_is_continued_on_the_other(machines: tuple[World, World]) -> None:
    one, other = machines
    assert triage(one.systems, toolbox=one.toolbox()).status == "waiting_approval"
    decided = answer(other.systems, "approval-1", "oncall", approve=True, toolbox=other.toolbox())
    assert decided.status == "used"
    assert other.systems.store.get("run-1").status == "finished"
    assert (one.calls.count("deploy"), other.calls.count("deploy")) == (0, 1)
    assert len(one.systems.store.list(Kind.rollout)) == 1
    assert "retrain" in one.calls
    assert "retrain" not in other.calls, "what one machine did is not done again on the other"


def test_while_one_machine_is_at_work_the_other_leaves(machines: tuple[World, World]) -> None:
    one, other = machines
    started, ended = threading.Event(), threading.Event()

    def waits(line: str) -> None:
        started.set()
        ended.wait(30)

    at_work = threading.Thread(target=triage, args=(one.systems,), kwargs={"toolbox": one.toolbox(), "progress": waits})
    at_work.start()
    try:
        assert started.wait(30)
        assert triage(other.systems, toolbox=other.toolbox()).status == "busy"
        assert other.calls == []
    finally:
        ended.set()
        at_work.join()
