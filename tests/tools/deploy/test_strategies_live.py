"""Shadow, blue-green and A/B tests, each by real requests to a real gateway, to promotion and out again."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.tools.deploy.conftest import MODEL, NAME
from tests.tools.deploy.faulty import TROUBLE
from tests.tools.deploy.live import OPERATIONS, LiveShop, answered, measured, opened, said
from tools.deploy.tool import rollback
from tools.serving.buckets import BucketRouter, threshold
from tools.serving.client import send
from tools.serving.process import GatewayProcess
from tools.systems.systems import Systems


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, registered: Path) -> Iterator[LiveShop]:
    """One gateway for all tests here."""
    home = tmp_path_factory.mktemp("live")
    (home / "operations.yaml").write_text(OPERATIONS)
    (home / "warehouse").mkdir()
    (home / ".guardian").mkdir()
    shutil.copy(registered / "mlflow.db", home / ".guardian" / "mlflow.db")
    systems = Systems.open(home / "operations.yaml")
    with GatewayProcess(home / "operations.yaml", MODEL, wait_ready=False) as gateway:
        shop = opened(systems, gateway)
        while not gateway.readiness().get("ready"):
            time.sleep(0.05)
        yield shop
    systems.close()


@pytest.fixture
def shop(served: LiveShop) -> Iterator[LiveShop]:
    """Version 1 serves alone."""
    yield served
    served.reset()


def test_a_shadow_that_wins_takes_over_and_nobody_got_its_answers_before(shop: LiveShop) -> None:
    began = shop.deploy("ShadowDeploy")
    assert (began.status, began.traffic_pct, shop.share()) == ("running", 0.0, ("1", "2", 0.0))
    for _ in range(4):
        assert answered(shop.ask(900)) == {"1"}
        shop.wait(days=1.5)
    early = shop.step()
    assert (early.status, early.last_gate and early.last_gate.verdict) == ("running", "pass"), said(early)
    shop.wait(days=1)
    done = shop.step()
    assert (done.status, shop.share()) == ("promoted", ("2", None, 0.0))
    assert measured(done) == {
        "error_rate": "pass", "p99_increase_pct": "pass", "auc_roc": "pass", "f1": "pass",
        "precision_at_10": measured(done)["precision_at_10"],
    }  # fmt: skip
    assert done.last_gate is not None
    assert "3,600 of 3,600 answered requests were copied, 0 were dropped" in done.last_gate.detail
    assert "the same label for" in done.last_gate.detail
    assert answered(shop.ask(20)) == {"2"}


@pytest.mark.parametrize(("version", "loses_on"), [("3", "auc_roc"), ("4", "p99_increase_pct")])
def test_a_shadow_that_is_worse_or_slower_is_never_promoted(shop: LiveShop, version: str, loses_on: str) -> None:
    shop.deploy("StrictShadow", version)
    for _ in range(3):  # no more at once than the mirror's queue holds
        assert answered(shop.ask(500)) == {"1"}
    shop.wait(hours=2)
    ended = shop.step()
    assert (ended.status, measured(ended)[loses_on]) == ("rolled_back", "fail"), said(ended)
    assert loses_on in ended.reason
    assert shop.share() == ("1", None, 0.0)
    assert shop.systems.registry.alias(NAME, "champion") == "1"


def test_a_shadow_without_evidence_waits_then_asks_people(shop: LiveShop) -> None:
    shop.deploy("ShadowDeploy")
    shop.ask(50)
    shop.wait(days=8)
    waits = shop.step()
    assert (waits.status, waits.events[-1].event) == ("running", "prolonged")
    assert "at least 1,000 are needed" in waits.events[-1].detail
    shop.wait(days=14)
    assert shop.step().status == "paused"
    assert answered(shop.ask(10)) == {"1"}


def test_blue_green_switches_at_once_and_back_at_once(shop: LiveShop) -> None:
    shop.deploy("BlueGreenDeploy")
    blue, green = "/v1/churn/predict-blue", "/v1/churn/predict-green"
    assert [shop.ask_at(each).body["version"] for each in (blue, green)] == ["1", "2"], "both are warm"
    assert answered(shop.ask(60)) == {"1"}
    shop.wait(seconds=29)
    assert shop.step().stage == 0
    shop.wait(seconds=1)
    assert shop.step().traffic_pct == 100.0
    assert answered(shop.ask(600)) == {"2"}
    shop.wait(seconds=300)
    done = shop.step()
    assert (done.status, shop.share()) == ("promoted", ("2", None, 0.0))
    assert shop.ask_at(green).body["version"] == "2"
    assert shop.ask_at(blue).status == 404
    shop.deploy("BlueGreenDeploy", "1")
    assert [shop.ask_at(each).body["version"] for each in (blue, green)] == ["1", "2"], "green is live, blue is new"
    rollback(shop.systems, MODEL, "a person says so")
    assert answered(shop.ask(10)) == {"2"}


def test_blue_green_that_fails_after_the_switch_costs_no_request_and_goes_back(shop: LiveShop) -> None:
    shop.deploy("BlueGreenDeploy", "5")
    shop.ask(60)
    shop.wait(seconds=30)
    assert shop.step().traffic_pct == 100.0
    answers = shop.ask(300, trouble=0.2, a=TROUBLE)
    assert answered(answers) == {"1", "5"}, "what the new one fails on, the old one answers"
    shop.wait(seconds=10)
    ended = shop.step()
    assert (ended.status, shop.share()) == ("rolled_back", ("1", None, 0.0))
    assert ended.reason.startswith("error_rate > 0.01")
    assert answered(shop.ask(50)) == {"1"}


def test_blue_green_whose_health_check_fails_never_gets_traffic(shop: LiveShop) -> None:
    shop.deploy("BlueGreenDeploy", "5")
    assert answered(shop.ask(100, trouble=0.5, a=TROUBLE)) == {"1"}
    shop.wait(seconds=5)
    ended = shop.step()
    assert (ended.status, ended.stage) == ("rolled_back", 0)
    assert shop.share() == ("1", None, 0.0)


def converted(shop: LiveShop, requests: int, treatment: float, control: float) -> dict[str, str]:
    """New customers ask, and later accept the offer or not, by arm; id → version that answered."""
    first = shop._customers
    answers = shop.ask(requests)
    arms = {str(first + i): answer.body["version"] for i, answer in enumerate(answers)}
    accepted = [shop.rng.random() < (treatment if version == "2" else control) for version in arms.values()]
    shop.offers(list(arms), np.array(accepted))
    return arms


def test_an_ab_test_is_sticky_by_its_own_salt_and_promotes_a_treatment_that_sells(shop: LiveShop) -> None:
    began = shop.deploy("ABTestDeploy")
    arms = converted(shop, 2_000, treatment=0.30, control=0.15)
    share = sum(version == "2" for version in arms.values())
    assert abs(share - 1_000) < 4 * np.sqrt(500)
    bucket = BucketRouter(MODEL, began.salt).bucket
    assert all((version == "2") == (bucket(id) < threshold(50)) for id, version in arms.items())
    plain = BucketRouter(MODEL).bucket
    both = sum(plain(id) < threshold(50) for id, version in arms.items() if version == "2") / share
    assert 0.4 < both < 0.6, "the arms are not those of a canary"
    url, ids = shop.gateway.predict_url, list(arms)[:200]
    again = send(url, [{"id": id, "features": {"a": 0.0, "b": 0.0}} for id in ids])
    assert [answer.body["version"] for answer in again] == [arms[id] for id in ids]

    shop.wait(days=2)
    early = shop.step()
    assert (early.status, early.stage) == ("running", 0), "the first look is after a fifth of 14 days"
    assert "needs more" in early.last_gate.measurements[0].detail if early.last_gate else ""
    shop.wait(days=1)
    done = shop.step()
    assert (done.status, shop.share()) == ("promoted", ("2", None, 0.0))
    result = done.last_gate.measurements[0] if done.last_gate else None
    assert result is not None and result.interval is not None
    assert 0 < result.interval[0] < 0.15 < result.interval[1] < 0.3
    assert "look 1 of 5" in result.detail and result.detail.endswith("treatment")
    assert "relative +" in result.detail


def test_an_ab_test_without_a_difference_runs_to_its_end_and_keeps_the_champion(shop: LiveShop) -> None:
    shop.deploy("ABTestDeploy")
    for _ in range(3):
        converted(shop, 500, treatment=0.2, control=0.2)
        shop.wait(days=4)
        assert shop.step().status == "running"
    shop.wait(days=1, hours=23)
    assert shop.step().status == "running"
    shop.wait(hours=2)
    ended = shop.step()
    assert (ended.status, shop.share()) == ("rolled_back", ("1", None, 0.0))
    assert ended.reason.startswith("undecided after 14d, as declared")
    assert "no difference shown" in ended.reason


def test_an_ab_test_that_loses_people_is_aborted(shop: LiveShop) -> None:
    bucket = BucketRouter(MODEL, shop.deploy("ABTestDeploy").salt).bucket
    shop.ask(1_500, keep=lambda id: bucket(id) >= threshold(50) or int(id) % 3 != 0)
    shop.wait(days=1)
    ended = shop.step()
    assert (ended.status, shop.share()) == ("aborted", ("1", None, 0.0))
    assert ended.reason.startswith("sample ratio mismatch")
