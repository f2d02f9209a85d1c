"""A rollout routed by an outside system: what was not acknowledged does not count, and is asked for again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from policies.errors import InputError, SystemDown
from tests.tools.deploy.conftest import MODEL, Shop
from tools.deploy.rollout import Status
from tools.deploy.tool import TOOL, advance, rollback, run
from tools.systems.routing.protocol import Asked
from tools.systems.store import Kind
from tools.systems.traffic import Splits


class Outside:
    """Routes by what it was told last; `down` refuses, `lost` forgot."""

    mirrors = False

    def __init__(self) -> None:
        self.down = False
        self.lost = False
        self.challenger_pct = 0.0

    def apply(self, asked: Asked, record: Callable[[], int], seconds: float) -> str:
        if self.down:
            raise SystemDown("does not answer", where="load balancer")
        self.challenger_pct, self.lost = asked.challenger_pct, False
        record()
        return "acknowledged"

    def in_force(self, asked: Asked) -> bool:
        return not self.lost

    def health(self, version: str) -> tuple[int, int]:
        return 44, 0

    def reachable(self) -> str:
        return "answers"


@pytest.fixture
def outside(shop: Shop) -> Outside:
    adapter = Outside()
    shop.systems.traffic = Splits(shop.systems.store, {MODEL: adapter})
    return adapter


def share(shop: Shop) -> float:
    split = shop.systems.traffic.split(MODEL)
    assert split is not None
    return split.challenger_pct


def test_a_share_that_was_not_acknowledged_is_not_recorded_and_no_further_stage_begins(
    shop: Shop, outside: Outside
) -> None:
    shop.gate("2")
    run(shop.systems, TOOL.arguments(strategy="ErrorsOnly", model=MODEL, version="2"))
    assert (share(shop), outside.challenger_pct) == (50, 50)
    rollback(shop.systems, MODEL, "again, from the start")
    shop.set(shop.now.replace(hour=shop.now.hour + 1))
    shop.gate("2")
    outside.down = True
    with pytest.raises(SystemDown, match="load balancer: does not answer"):
        run(shop.systems, TOOL.arguments(strategy="ErrorsOnly", model=MODEL, version="2"))
    assert (share(shop), outside.challenger_pct) == (0, 0)
    shop.live(2, 4_000)
    for _ in range(2):
        with pytest.raises(SystemDown):
            advance(shop.systems, shop.now)
    row = shop.systems.store.latest(Kind.rollout, MODEL)
    assert row is not None
    assert (row.status, row.body["stage"], row.body["settled"]) == ("running", 0, False)
    outside.down = False
    (state,) = advance(shop.systems, shop.now)
    assert (state.stage, state.settled, outside.challenger_pct) == (0, True, 50)


def test_a_rollback_that_was_not_acknowledged_is_tried_again(shop: Shop, outside: Outside) -> None:
    shop.gate("2")
    run(shop.systems, TOOL.arguments(strategy="ErrorsOnly", model=MODEL, version="2"))
    outside.down = True
    with pytest.raises(SystemDown):
        rollback(shop.systems, MODEL, "it looks bad")
    assert share(shop) == 50, "what is recorded is what is known to be in force"
    with pytest.raises(SystemDown):
        advance(shop.systems, shop.now)
    outside.down = False
    advance(shop.systems, shop.now)
    assert (share(shop), outside.challenger_pct) == (0, 0)
    row = shop.systems.store.latest(Kind.rollout, MODEL)
    assert row is not None
    assert row.status == Status.ROLLED_BACK.value


def test_what_an_outside_system_lost_is_put_in_force_again(shop: Shop, outside: Outside) -> None:
    shop.gate("2")
    run(shop.systems, TOOL.arguments(strategy="ErrorsOnly", model=MODEL, version="2"))
    rollback(shop.systems, MODEL, "over")
    outside.lost, outside.challenger_pct = True, 77.0
    advance(shop.systems, shop.now)
    assert outside.challenger_pct == 0


def test_a_blue_green_without_copies_asks_the_new_environment_whether_it_is_well(shop: Shop, outside: Outside) -> None:
    operations = shop.systems.operations
    told = operations.model_dump(mode="json", by_alias=True)
    told["deployment_strategies"]["Switch"] = {
        "type": "blue_green",
        "environments": {"blue": {"endpoint": "/a", "model": "v3"}, "green": {"endpoint": "/b", "model": "v4"}},
        "switch": {"method": "load_balancer", "health_check_seconds": 30, "rollback_timeout_seconds": 300},
    }
    shop.systems.operations = type(operations).model_validate(told)
    shop.gate("2")
    run(shop.systems, TOOL.arguments(strategy="Switch", model=MODEL, version="2"))
    shop.set(shop.now + timedelta(seconds=31))
    (state,) = advance(shop.systems, shop.now)
    assert (state.stage, state.traffic_pct, outside.challenger_pct) == (1, 100, 100)


def test_a_strategy_that_cannot_be_carried_out_is_refused_before_anything(shop: Shop) -> None:
    routing = {"type": "haproxy", "socket": "/run/h.sock", "map": "/m", "blue": ["a:1"], "green": ["b:1"]}
    operations = shop.systems.operations
    told = operations.model_dump(mode="json", by_alias=True)
    told["systems"]["traffic"] = {MODEL: routing}
    shop.systems.operations = type(operations).model_validate(told)
    shop.gate("2")
    with pytest.raises(InputError, match="HAProxy copies no requests"):
        run(shop.systems, TOOL.arguments(strategy="ShadowDeploy", model=MODEL, version="2"))
    assert shop.systems.store.latest(Kind.rollout, MODEL) is None
