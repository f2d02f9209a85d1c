"""Going back: out of a running rollout, and to the champion before this one."""

from __future__ import annotations

import pytest

from agent.status import model_status, why
from policies.errors import InputError
from tests.tools.deploy import test_tool as deployed
from tests.tools.deploy.conftest import MODEL, NAME, Shop
from tests.tools.deploy.test_tool import deploy, share
from tools.deploy.rollout import Event, Rollout, Status
from tools.deploy.tool import SAME_MOMENT, rollback
from tools.systems.store import Kind


def test_rollback_of_a_running_rollout_needs_no_gate_and_no_approval(shop: Shop) -> None:
    shop.gate("2")
    deploy(shop)
    result = rollback(shop.systems, MODEL, "a person saw something")
    assert (result.status, result.reason) == (Status.ROLLED_BACK, "a person saw something")
    assert share(shop) == ("1", None, 0.0)


def test_rollback_after_promotion_returns_to_the_champion_before(shop: Shop) -> None:
    with pytest.raises(InputError, match="no champion before it"):
        rollback(shop.systems, MODEL, "?")
    deployed.test_a_better_challenger_passes_all_stages_in_nominal_time(shop)
    result = rollback(shop.systems, MODEL, "sales fell")
    assert (result.status, result.version, result.champion) == ("rolled_back", "2", "1")
    assert share(shop) == ("1", None, 0.0)
    assert shop.systems.registry.alias(NAME, "champion") == "1"
    assert [r.kind for r in shop.systems.store.chain(result.rollout_id)] == [Kind.rollout, Kind.rollout, Kind.gate]
    assert [(link.version, link.says) for link in why(shop.systems, MODEL).chain] == [
        ("1", "version 2 rolled back: sales fell: all traffic to version 1"),
        ("2", "version 2 was rolled back: sales fell"),
    ]
    state = model_status(shop.systems, MODEL)
    assert (state.serving_version, state.rollout and state.rollout["status"]) == ("1", "rolled_back")
    shop.set(shop.now + SAME_MOMENT)
    with pytest.raises(InputError, match="version 1 serves and no champion before it is known"):
        rollback(shop.systems, MODEL, "again")
    assert share(shop) == ("1", None, 0.0)


def test_a_second_rollback_in_the_same_moment_changes_nothing(shop: Shop) -> None:
    promoted(shop, "2", "1")
    shop.set(shop.now + SAME_MOMENT)
    shop.gate("3")
    deploy(shop, "3")
    first = rollback(shop.systems, MODEL, "the canary hurts")
    assert (first.version, first.champion) == ("3", "2")
    shop.set(shop.now + SAME_MOMENT / 2)
    assert rollback(shop.systems, MODEL, "me too") == first
    assert share(shop) == ("2", None, 0.0)
    shop.set(shop.now + SAME_MOMENT)
    assert rollback(shop.systems, MODEL, "version 2 hurts too").champion == "1"
    assert rollback(shop.systems, MODEL, "me too").version == "2"
    assert share(shop) == ("1", None, 0.0)
    promoted(shop, "2", "1")
    assert rollback(shop.systems, MODEL, "a promotion since can be taken back at once").champion == "1"


def promoted(shop: Shop, version: str, champion: str) -> str:
    """What a promotion of `version` in place of `champion` leaves behind; the id of its row."""
    shop.systems.traffic.set(MODEL, version, at=shop.now, why="promoted", rests_on=None)
    shop.systems.registry.set_alias(NAME, "previous", champion)
    shop.systems.registry.set_alias(NAME, "champion", version)
    body = Rollout(
        strategy="CanaryDeploy",
        model=MODEL,
        version=version,
        champion=champion,
        status=Status.PROMOTED,
        started_at=shop.now,
        stages=(),
        events=(Event(at=shop.now, event="promoted", stage=0, traffic_pct=100.0, detail=""),),
        settled=True,
    )
    store = shop.systems.store
    return store.add(Kind.rollout, MODEL, body, at=shop.now, version=version, status="promoted").id


@pytest.mark.parametrize(
    ("promotions", "back"), [([("2", "1"), ("1", "2")], "2"), ([("2", "1"), ("3", "2")], "2"), ([("2", "1")], "1")]
)
def test_a_second_rollback_does_not_bring_back_what_the_first_took_away(
    shop: Shop, promotions: list[tuple[str, str]], back: str
) -> None:
    for version, champion in promotions:
        promoted(shop, version, champion)
    assert rollback(shop.systems, MODEL, "sales fell").champion == back
    taken_away = promotions[-1][0]
    shop.set(shop.now + SAME_MOMENT)
    if taken_away == "3":
        assert rollback(shop.systems, MODEL, "again").champion == "1"
        shop.set(shop.now + SAME_MOMENT)
    with pytest.raises(InputError, match=r"itself rolled back by rollout-\d|no champion before it is known"):
        rollback(shop.systems, MODEL, "again")
    serving = share(shop)[0]
    assert serving != taken_away


def test_a_version_deployed_anew_after_its_rollback_can_be_gone_back_to(shop: Shop) -> None:
    promoted(shop, "2", "1")
    rollback(shop.systems, MODEL, "sales fell")
    promoted(shop, "2", "1")
    promoted(shop, "3", "2")
    assert rollback(shop.systems, MODEL, "sales fell more").champion == "2"
