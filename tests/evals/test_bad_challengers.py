"""Challengers that must not win, over the real gateway, registry, store and warehouse of a small shop."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import Pipeline

from agent.cli.app import run as guardian
from evals.demo.shop import DAY, DEPLOYED, HOUR, MODEL, Shop
from policies.errors import PolicyRefusal
from tests.evals.faulty_models import CALM_TENURE, Failing, Faulty, Slow
from tools.deploy.permission import serving_version
from tools.deploy.tool import DeployArguments, Rollout, advance
from tools.deploy.tool import run as deploy
from tools.evaluate.result import EvaluateArguments, GateResult
from tools.evaluate.tool import run as evaluate
from tools.retrain import recipe
from tools.serving.client import Response, send
from tools.systems.registry import CHALLENGER, CHAMPION, ModelVersion
from tools.systems.store import Kind

NAME = "churn_model"
REQUESTS_AN_HOUR = 900
CANARY = "CanaryDeploy"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A shop on the morning after its first night; version 1 answers all live requests."""
    shop = Shop(tmp_path_factory.mktemp("bad-challengers") / "shop", 20, "runbook", customers=4_000)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow warns about its own type hints while it is imported
            shop.open()
        shop.live(DEPLOYED + DAY)
        yield shop
    finally:
        shop.close()


def holdout(shop: Shop) -> tuple[pd.DataFrame, np.ndarray]:
    binding = shop.systems.operations.model(MODEL)
    rows = shop.systems.warehouse.read(binding.holdout).to_pandas().dropna(subset=[binding.target])
    return recipe.feature_frame(rows, binding.features), rows[binding.target].to_numpy(int)


def register(shop: Shop, pipeline: Any, example: pd.DataFrame) -> ModelVersion:
    registered = shop.systems.registry.register(NAME, pipeline, example=example, params={}, metrics={}, tags={})
    shop.systems.registry.set_alias(NAME, CHALLENGER, registered.version)
    return registered


def register_faulty(shop: Shop, model: Faulty) -> ModelVersion:
    frame, outcomes = holdout(shop)
    pipeline = Pipeline([("model", model)]).fit(frame.head(10), outcomes[:10])
    return register(shop, pipeline, frame.head(5).fillna(0.0).assign(tenure_days=CALM_TENURE))


def give_passed_gate(shop: Shop, version: ModelVersion) -> None:
    """The row that `evaluate` writes for a version that passed: whatever it missed is live traffic's to find."""
    now = shop.now
    passed = GateResult(
        gate_id=None,
        status="passed",
        checks=[],
        version=version.version,
        artifact_digest=version.digest,
        champion=serving_version(shop.systems, MODEL),
        holdout_digest="0" * 64,
        expires_at=now + timedelta(days=7),
    )
    shop.systems.store.add(Kind.gate, MODEL, passed, at=now, version=version.version, status="passed")


def live_an_hour(shop: Shop) -> tuple[list[Response], list[Rollout]]:
    """An hour's requests over HTTP in order of time, then a reconcile step: the answers, and the rollouts after it.

    They carry no id: in so small a shop the places of the few customers of an hour would decide who is asked.
    """
    gateway = shop.gateway
    assert gateway is not None
    start, end = shop.now, shop.now + HOUR
    requests = list(shop.world.live_requests(start, end, REQUESTS_AN_HOUR))
    answers: list[Response] = []
    for first in range(0, len(requests), 300):
        part = requests[first : first + 300]
        shop.set_time(part[-1].at)
        answers += send(gateway.predict_url, [{"features": each.features} for each in part])
        gateway.wait_log_drained()
    shop.set_time(end)
    shop.world.advance(shop.systems.warehouse, end)
    return answers, advance(shop.systems, end)


def logged(shop: Shop, since: datetime) -> pd.DataFrame:
    log = shop.systems.warehouse.read("ml_predictions.churn_requests").to_pandas()
    return log[log["at"] >= since]


def cli(shop: Shop, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = guardian([*arguments, "--operations", str(shop.home / "operations.yaml"), "--json"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, document


def test_a_worse_challenger_loses_and_cannot_be_deployed(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    frame, outcomes = holdout(shop)
    shuffled = np.random.default_rng(3).permutation(outcomes)
    features = shop.systems.operations.model(MODEL).features
    pipeline = recipe.build(features, recipe.Hyperparameters(), seed=3).fit(frame, shuffled)
    worse = register(shop, pipeline, frame.head(5))

    result = evaluate(shop.systems, EvaluateArguments(challenge="ChurnChallenger"))

    assert result.challenger.version == worse.version
    assert result.challenger.metrics["auc_roc"] < result.champion.metrics["auc_roc"] - 0.1
    assert result.verdict == "champion_wins"
    assert result.gate.status == "not_run"
    assert shop.systems.registry.alias(NAME, CHALLENGER) is None, "a challenger that lost is archived"
    with pytest.raises(PolicyRefusal) as refused:
        deploy(shop.systems, DeployArguments(strategy=CANARY, model=MODEL, version=worse.version))
    assert refused.value.policy == "promotion_needs_passed_gate"
    assert refused.value.exit_code == 3
    code, document = cli(shop, capsys, "deploy", CANARY, "--model", MODEL, "--version", worse.version)
    assert code == 3
    assert document["error"]["kind"] == "policy"
    assert "promotion_needs_passed_gate" in document["error"]["message"]
    assert shop.systems.store.latest(Kind.rollout, MODEL, version=worse.version) is None
    assert_champion_alone(shop)


@pytest.mark.parametrize(("model", "says"), [(Slow(), "deadline"), (Failing(), "ValueError")], ids=["slow", "failing"])
def test_a_challenger_that_misbehaves_live_is_rolled_back_in_its_first_stage(
    shop: Shop, capsys: pytest.CaptureFixture[str], model: Faulty, says: str
) -> None:
    faulty = register_faulty(shop, model)
    give_passed_gate(shop, faulty)
    began = shop.now
    started = deploy(shop.systems, DeployArguments(strategy=CANARY, model=MODEL, version=faulty.version))
    assert (started.status, started.stage, started.traffic_pct) == ("running", 0, 5)
    split = shop.systems.traffic.split(MODEL)
    assert split is not None
    assert (split.champion, split.challenger, split.challenger_pct) == ("1", faulty.version, 5)

    during, rollouts = live_an_hour(shop)

    assert [each.version for each in rollouts] == [faulty.version]
    ended = rollouts[0]
    assert ended.status == "rolled_back"
    assert ended.stage == 0
    assert ended.last_gate is not None
    assert "error_rate > 0.01" in ended.last_gate.breached
    assert [each.traffic_pct for each in ended.stages if each.started_at] == [5]
    asked = logged(shop, began)
    asked = asked[asked["variant"] == "challenger"]
    assert len(asked) >= 20, "the challenger was really asked"
    assert asked["error"].notna().all()
    assert asked["error"].str.contains(says).any()
    assert_champion_alone(shop)
    assert shop.systems.registry.alias(NAME, CHALLENGER) is None
    code, document = cli(shop, capsys, "status")
    (told,) = document["models"]
    assert (told["serving_version"], told["deploy_strategy"]) == ("1", "canary"), "the canary decided for version 1"

    moment = shop.now
    after, rollouts = live_an_hour(shop)

    assert rollouts == []
    assert set(logged(shop, moment)["variant"]) == {"champion"}
    assert len(during) + len(after) == 2 * REQUESTS_AN_HOUR
    assert {each.status for each in (*during, *after)} == {200}
    assert {each.body["version"] for each in (*during, *after)} == {"1"}, "the champion answered for the challenger"

    code, document = cli(shop, capsys, "deploy", CANARY, "--model", MODEL, "--version", faulty.version)
    assert code == 3, "a gate judged before the rollback lets nobody try again"
    assert "rolled_back_needs_new_gate" in document["error"]["message"]


def test_the_night_left_its_run(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    code, document = cli(shop, capsys, "runs")
    assert code == 0
    assert [each["model"] for each in document["runs"]] == [MODEL]


def assert_champion_alone(shop: Shop) -> None:
    split = shop.systems.traffic.split(MODEL)
    assert split is not None
    assert (split.champion, split.challenger, split.challenger_pct) == ("1", None, 0)
    assert shop.systems.registry.alias(NAME, CHAMPION) == "1"
