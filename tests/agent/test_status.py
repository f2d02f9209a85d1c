"""What `guardian status` says of how the serving version came to serve."""

from __future__ import annotations

import pytest

from agent.cli import render
from agent.conversation.lookups import status as status_in_words
from agent.doctor import examine
from agent.status import model_status
from agent.status import status as status_of_all
from tests.agent.world import MODEL, NIGHT, World
from tools.systems.store import Kind

CANARY = "CanaryDeploy"


@pytest.mark.parametrize(
    ("serves", "rollouts", "strategy"),
    [
        ("1", [], "manual"),
        ("2", [(CANARY, "2", "1", "promoted")], "canary"),
        ("1", [(CANARY, "2", "1", "rolled_back")], "canary"),
        ("1", [(CANARY, "2", "1", "running")], "manual"),
        ("1", [(CANARY, "2", "1", "aborted")], "manual"),
        ("2", [(CANARY, "2", "1", "promoted"), (CANARY, "3", "2", "running")], "canary"),
        ("1", [(CANARY, "2", "1", "promoted"), ("rollback", "2", "1", "rolled_back")], "manual"),
    ],
    ids=["adopted", "promoted", "rolled back to", "not yet judged", "aborted", "next one runs", "undone by a person"],
)
def test_the_strategy_is_what_last_decided_for_the_serving_version(
    world: World, serves: str, rollouts: list[tuple[str, str, str, str]], strategy: str
) -> None:
    systems = world.systems
    systems.traffic.set(MODEL, serves, at=NIGHT, why="test", rests_on=None)
    for name, version, champion, status in rollouts:
        stages = [{"traffic_pct": 5}] if name == CANARY else []
        body = {"strategy": name, "version": version, "champion": champion, "stages": stages}
        systems.store.add(Kind.rollout, MODEL, body, at=NIGHT, version=version, status=status)
    assert model_status(systems, MODEL).deploy_strategy == strategy


def test_what_rolled_back_is_not_shown_as_how_the_version_serves(world: World) -> None:
    systems = world.systems
    systems.traffic.set(MODEL, "1", at=NIGHT, why="test", rests_on=None)
    body = {"strategy": CANARY, "version": "2", "champion": "1", "stages": [{"traffic_pct": 5}]}
    systems.store.add(Kind.rollout, MODEL, body, at=NIGHT, version="2", status="rolled_back")
    kept = "kept: canary rolled version 2 back"
    assert kept in render.status(status_of_all(systems))
    assert f"version 1 serves ({kept})" in status_in_words(systems, MODEL)
    systems.store.add(Kind.rollout, MODEL, {**body, "version": "3"}, at=NIGHT, version="1", status="promoted")
    assert "version 1 serves (canary)" in status_in_words(systems, MODEL)


def test_doctor_tells_of_an_alias_moved_by_hand(world: World) -> None:
    def champion() -> list[str]:
        return [each.says for each in examine(world.systems).checks if each.subject == f"champion of {MODEL}"]

    assert champion() == []
    world.systems.traffic.set(MODEL, "2", at=NIGHT, why="test", rests_on=None)
    (told,) = champion()
    assert "is on version 1 in MLflow, and version 2 serves" in told
