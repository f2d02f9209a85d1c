"""Whole rollouts through HAProxy: it alone decides who answers, and what it answered is what the gates judge."""

from __future__ import annotations

import http.client
import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.tools.deploy.conftest import MODEL, NAME, Shop
from tests.tools.systems.routing.lab import Lab, lab
from tools.deploy.rollout import Rollout
from tools.deploy.tool import TOOL, advance, rollback, run
from tools.systems.traffic import Splits


class People:
    """Ask through HAProxy; who answered each, since the last look."""

    def __init__(self, running: Lab) -> None:
        self._lab = running
        self._link = http.client.HTTPConnection("127.0.0.1", running.port, timeout=5)
        self.answers: list[str] = []

    def ask(self, id: str) -> str:
        status, body = self._lab.ask(id, self._link)
        assert status == 200
        self.answers.append(body["version"])
        return body["version"]

    def share(self, version: str) -> tuple[float, int]:
        """The version's part of the answers, and how many there were."""
        answers, self.answers = self.answers, []
        return answers.count(version) / len(answers), len(answers)

    def close(self) -> None:
        self._link.close()


@pytest.fixture
def people(shop: Shop, tmp_path: Path) -> Iterator[People]:
    with lab(tmp_path, str(tmp_path / "haproxy.sock"), deadline_ms=4_000) as running:
        shop.systems.traffic = Splits(shop.systems.store, {MODEL: running.adapter})
        asking = People(running)
        yield asking
        asking.close()


def deploy(shop: Shop) -> Rollout:
    shop.gate("2")
    return run(shop.systems, TOOL.arguments(strategy="CanaryDeploy", model=MODEL, version="2"))


def test_a_better_challenger_is_promoted_stage_by_stage(shop: Shop, people: People) -> None:
    state: Rollout = deploy(shop)
    for percent, hours, requests in ((5, 1, 8_000), (10, 4, 5_000), (25, 12, 5_000), (50, 24, 5_000)):
        assert (state.status, state.traffic_pct) == ("running", percent)
        shop.live(hours, requests, served=people.ask)
        share, asked = people.share("2")
        expected = percent / 100
        assert abs(share - expected) < 3 * math.sqrt(expected * (1 - expected) / asked), f"at {percent}%: {share:.2%}"
        (state,) = advance(shop.systems, shop.now)
    assert (state.status, state.traffic_pct) == ("promoted", 100)
    assert shop.systems.registry.alias(NAME, "champion") == "2"
    assert {people.ask(str(n)) for n in range(200)} == {"2"}
    rollback(shop.systems, MODEL, "it was wrong after all")
    people.answers.clear()
    assert {people.ask(str(n)) for n in range(200)} == {"1"}


def test_a_failing_challenger_gets_no_request_after_its_first_look(shop: Shop, people: People) -> None:
    deploy(shop)
    shop.live(0.25, 4_000, errors=0.05, served=people.ask)
    assert 0 < people.share("2")[0] < 0.1
    (state,) = advance(shop.systems, shop.now)
    assert (state.status, state.stage) == ("rolled_back", 0)
    assert state.reason.startswith("error_rate > 0.01")
    assert {people.ask(str(n)) for n in range(500)} == {"1"}
