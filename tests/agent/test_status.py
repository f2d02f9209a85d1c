"""What `guardian status` says of how the serving version came to serve."""

from __future__ import annotations

import pytest

from agent.status import model_status
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
