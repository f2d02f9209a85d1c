"""Splits change under load without a failed request; one that cannot be loaded changes nothing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from tools.serving.client import Response, failures, send
from tools.serving.process import GatewayProcess

Payload = Callable[..., dict[str, Any]]


def test_rollout_promotion_and_rollback_under_load_fail_no_request(world: Any, gateway: Any, payload: Payload) -> None:
    responses: list[Response] = []
    stop = threading.Event()

    def load() -> None:
        while not stop.is_set():
            responses.extend(send(gateway.predict_url, [payload(id=str(i)) for i in range(200)], connections=4))

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for pct in (5, 50, 100):
            world.split("one", "two", pct)
        world.split("two")
        after_promotion = send(gateway.predict_url, [payload() for _ in range(20)])
        world.split("two", "misbehaving", 50)
        started = time.monotonic()
        world.split("two")
        back = time.monotonic() - started
        after_rollback = send(gateway.predict_url, [payload() for _ in range(50)])
    finally:
        stop.set()
        thread.join()
    assert not list(failures(responses)) and len(responses) >= 200
    assert {response.body["version"] for response in after_promotion} == {world.versions["two"]}
    assert {response.body["variant"] for response in after_rollback} == {"champion"}
    assert back < 1.0


def test_a_split_that_cannot_be_loaded_is_shown_not_acknowledged(world: Any, gateway: Any, payload: Payload) -> None:
    number = gateway.readiness()["split"]
    world.versions["absent"] = "4711"
    changed = world.systems.traffic.set(
        "ChurnModel", "4711", at=world.systems.clock.now(), why="test", rests_on=None, wait_seconds=0.1
    )
    until = time.monotonic() + 60
    while gateway.readiness()["not_loaded"] is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    state = gateway.readiness()
    assert state["ready"] and state["split"] == number
    assert state["not_loaded"]["split"] == changed.number and "4711" in state["not_loaded"]["reason"]
    assert max(world.systems.traffic.live_workers("ChurnModel").values()) == number
    assert send(gateway.predict_url, [payload()])[0].body["version"] == world.versions["one"]
    world.split("one")
    assert gateway.readiness()["not_loaded"] is None


def test_a_tampered_model_is_never_opened(world: Any, gateway: Any, payload: Payload) -> None:
    from conftest import boosted

    version = world.cache("tampered", boosted(3, trees=5))
    file = world.systems.registry.cache / "churn_model" / version / "model.pkl"
    file.write_bytes(file.read_bytes() + b"x")
    world.systems.traffic.set(
        "ChurnModel", world.versions["one"], version, 50.0, at=world.systems.clock.now(), why="test", rests_on=None,
        wait_seconds=0.1,
    )  # fmt: skip
    until = time.monotonic() + 30
    while gateway.readiness()["not_loaded"] is None:
        assert time.monotonic() < until
        time.sleep(0.05)
    assert "was changed" in gateway.readiness()["not_loaded"]["reason"]
    assert not list(failures(send(gateway.predict_url, [payload() for _ in range(20)])))


def test_not_ready_before_a_split_then_fetches_from_the_registry(world: Any, payload: Payload, tmp_path: Any) -> None:
    """A gateway with an empty cache and a store of its own: its first split is fetched through MLflow."""
    from conftest import NOW, OPERATIONS, _path

    from tools.systems.systems import Systems

    (tmp_path / "warehouse").mkdir()
    operations = tmp_path / "operations.yaml"
    operations.write_text(OPERATIONS)
    environment = {"PYTHONPATH": _path(), "MLFLOW_TRACKING_URI": world.systems.registry.tracking_uri}
    systems = Systems.open(operations)
    with GatewayProcess(operations, environment=environment, wait_ready=False) as gateway:
        while not (state := gateway.readiness()):
            time.sleep(0.02)
        assert not state["ready"]
        [refused] = send(gateway.predict_url, [payload()])
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        systems.traffic.set("ChurnModel", world.versions["one"], at=NOW, why="test", rests_on=None, wait_seconds=60.0)
        assert send(gateway.predict_url, [payload()])[0].status == 200
    systems.close()
