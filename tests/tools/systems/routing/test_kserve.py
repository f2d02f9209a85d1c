"""KServe's canaryTrafficPercent, against an API server that validates by KServe's published schema."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from policies.declarations.deployment import ABTest, Canary
from policies.declarations.routing import KServeRouting, Routing
from policies.errors import InputError, SystemDown
from policies.routing import unroutable
from tests.fakes.kubernetes_server import Cluster, problems, running
from tools.systems.routing.kserve import TOKEN, KServeTraffic
from tools.systems.store import Store
from tools.systems.traffic import Splits

NOW = datetime(2026, 1, 6)
MODEL = "ChurnModel"
SCHEMA = yaml.safe_load(Path(__file__).with_name("inferenceservice_crd.yaml").read_text())


def declared(api: str) -> KServeRouting:
    return KServeRouting(
        type="kserve", namespace="ml", service="churn", storage_uri="s3://m/{version}/model", api=api, wait_seconds=0.5
    )


@dataclass
class Lab:
    cluster: Cluster
    traffic: Splits
    adapter: KServeTraffic

    def split(self, champion: str, challenger: str | None = None, challenger_pct: float = 0) -> dict[str, int]:
        """Sets a split and tells the shares by version."""
        self.traffic.set(MODEL, champion, challenger, challenger_pct, at=NOW, why="test", rests_on=None)
        return {uri.split("/")[3]: percent for uri, percent in self.cluster.shares().items()}


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv(TOKEN, "secret-token")
    cluster = Cluster(SCHEMA, "s3://m/1/model", "secret-token")
    with running(cluster) as api:
        adapter, store = KServeTraffic(declared(api)), Store(f"sqlite:///{tmp_path}/state.db")
        yield Lab(cluster, Splits(store, {MODEL: adapter}), adapter)
        store.close()


def test_a_canary_rises_and_is_promoted_and_the_next_one_goes_back(lab: Lab) -> None:
    assert lab.split("1") == {"1": 100}
    assert [lab.split("1", "2", share) for share in (5, 25, 50)] == [
        {"1": 95, "2": 5},
        {"1": 75, "2": 25},
        {"1": 50, "2": 50},
    ]
    assert lab.split("2") == {"2": 100}
    assert "canaryTrafficPercent" not in lab.cluster.object["spec"]["predictor"]
    assert lab.split("2", "3", 10) == {"2": 90, "3": 10}
    assert lab.split("2") == {"2": 100}
    assert lab.cluster.object["spec"]["predictor"]["canaryTrafficPercent"] == 0
    assert lab.split("2", "4", 10) == {"2": 90, "4": 10}
    assert lab.split("2", "4", 100) == {"4": 100}
    assert lab.split("2") == {"2": 100}, "also where KServe already took the challenger for rolled out"
    assert list(problems(lab.cluster.object, SCHEMA)) == []


def test_a_share_that_the_status_does_not_show_is_not_recorded_and_asked_for_again(lab: Lab) -> None:
    lab.split("1", "2", 5)
    before = lab.traffic.split(MODEL)
    lab.cluster.stuck = True
    with pytest.raises(SystemDown, match=r"canaryTrafficPercent 25 is not in the status after 0\.5 s"):
        lab.split("1", "2", 25)
    assert lab.traffic.split(MODEL) == before
    lab.cluster.stuck = False
    lab.cluster.reconcile()
    patches = len(lab.cluster.patches)
    assert lab.split("1", "2", 25) == {"1": 75, "2": 25}
    assert len(lab.cluster.patches) == patches, "what is asked for already is not patched again"


def test_somebody_elses_change_is_put_right(lab: Lab) -> None:
    lab.split("1", "2", 5)
    lab.cluster.object["spec"]["predictor"]["canaryTrafficPercent"] = 90
    lab.cluster.reconcile()
    lab.traffic.restore(MODEL, at=NOW)
    assert lab.cluster.shares() == {"s3://m/1/model": 95, "s3://m/2/model": 5}


def test_what_kserve_cannot_do_or_does_not_allow_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"cannot give a share of 0\.5%, only whole percents"):
        lab.split("1", "2", 0.5)
    with pytest.raises(InputError, match="serves 1, not champion 7"):
        lab.split("7", "8", 5)
    monkeypatch.setenv(TOKEN, "another")
    with pytest.raises(InputError, match="HTTP 401: Unauthorized"):
        lab.adapter.reachable()
    assert lab.traffic.split(MODEL) is None


def test_the_fake_refuses_what_the_schema_does_not_know(lab: Lab) -> None:
    version = lab.cluster.object["metadata"]["resourceVersion"]
    for predictor in ({"canaryTrafficPercent": "5"}, {"canaryPercent": 5}):
        patch = {"metadata": {"resourceVersion": version}, "spec": {"predictor": predictor}}
        assert lab.cluster.patch(patch)[0] == 422


def test_only_canaries_of_whole_percents_fit() -> None:
    def canary(share: float) -> Canary:
        first = {"traffic_pct": share, "duration": "1h", "gate": "none"}
        last = {"traffic_pct": 100, "duration": "stable", "gate": "none"}
        return Canary.model_validate({"type": "canary", "stages": [first, last]})

    routing = declared("http://127.0.0.1:1")
    assert list(unroutable("C", canary(5), routing)) == []
    (half,) = unroutable("C", canary(0.5), routing)
    assert half.endswith("is a whole number, and a stage has traffic_pct 0.5")
    arms = {"control": {"model": "a", "traffic_pct": 50}, "treatment": {"model": "b", "traffic_pct": 50}}
    statistical = {"test": "chi_squared", "significance": 0.05, "min_sample_size": 10}
    test = {"type": "ab_test", "variants": arms, "success_metric": "m", "duration": "1d", "statistical": statistical}
    (sticky,) = unroutable("AB", ABTest.model_validate(test), routing)
    assert "deploy by a canary" in sticky
    for change, says in (({"api": "http://10.0.0.1"}, "is no https"), ({"storage_uri": "s3://m"}, "must hold")):
        with pytest.raises(ValidationError, match=says):
            TypeAdapter(Routing).validate_python({**routing.model_dump(), **change})
