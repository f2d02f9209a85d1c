"""Several workers behind one socket: they come, go and die without a caller noticing, and act as one."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tools.serving.buckets import BucketRouter, threshold
from tools.serving.client import Response, failures, send
from tools.serving.process import GatewayProcess
from tools.serving.supervisor import HUNG_SECONDS
from tools.systems.systems import Systems

Payload = Callable[..., dict[str, Any]]

CONNECTIONS = 12
PATIENCE = 30.0
SCALING = """instances: {min: 2, max: 4}
        autoscaling: {metric: requests_per_second, target: 50, scale_up_cooldown: 0, scale_down_cooldown: 0.5}"""


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A world of its own, whose gateway has two to four workers, 50 requests a second each."""
    from conftest import OPERATIONS, World, boosted

    home = tmp_path_factory.mktemp("crowd")
    operations = home / "operations.yaml"
    text = OPERATIONS.replace("instances: {min: 1, max: 1}", SCALING).replace("clock: virtual", "clock: wall")
    operations.write_text(text)
    (home / "warehouse").mkdir()
    systems = Systems.open(operations)
    built = World(systems, operations)
    built.cache("one", boosted(1))
    built.cache("two", boosted(2))
    built.split("one")
    yield built
    systems.close()


@pytest.fixture(scope="module")
def workers(crowd: Any) -> Iterator[GatewayProcess]:
    """The gateway that the tests share, until the last of them kills it."""
    with start(crowd.operations) as process:
        until(lambda: len(serving(process)) == 2)
        yield process


def start(operations: Path, port: int = 0) -> GatewayProcess:
    """A gateway that is not started yet."""
    from conftest import _path

    return GatewayProcess(operations, port=port, environment={"PYTHONPATH": _path()})


def serving(gateway: GatewayProcess) -> list[int]:
    """The process ids of the workers that serve."""
    found: list[int] = gateway.readiness().get("instances", {}).get("serving", [])
    return found


def waited_for(world: Any) -> set[int]:
    """The process ids of the workers for whom a change of the split waits."""
    return {int(name.rpartition("-")[2]) for name in world.systems.traffic.live_workers("ChurnModel")}


def until(holds: Callable[[], bool]) -> None:
    """Waits for it."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


class Load:
    """Requests at a rate (a second), in a thread, until the block ends; every answer is kept."""

    def __init__(self, gateway: GatewayProcess, payload: Payload, prefix: str, rate: float) -> None:
        self._arguments = gateway, payload, prefix, rate
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.responses: list[Response] = []

    def _run(self) -> None:
        gateway, payload, prefix, rate = self._arguments
        bodies = [payload(id=f"{prefix}{i}") for i in range(int(rate * PATIENCE))]
        self.responses = send(gateway.predict_url, bodies, CONNECTIONS, rate, self._stop.is_set)

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_instances_follow_the_load_without_a_failed_request(
    crowd: Any, workers: GatewayProcess, payload: Payload
) -> None:
    with Load(workers, payload, "grow-", 250) as peak:
        until(lambda: len(serving(workers)) == 4)
    with Load(workers, payload, "shrink-", 40) as calm:
        until(lambda: len(serving(workers)) == 2)
    answered = peak.responses + calm.responses
    assert not list(failures(answered))
    workers.wait_log_drained()
    log = crowd.log()
    assert log["id"].nunique() == len(log) == len(answered), "every worker's answers, those of workers that left too"
    assert workers.metrics()['guardian_requests_total{variant="champion"}'] == len(answered)


def test_a_split_and_its_rollback_hold_in_every_worker(crowd: Any, workers: GatewayProcess, payload: Payload) -> None:
    for turn in range(3):
        crowd.split("one", "two", 50)
        router, bound = BucketRouter("ChurnModel"), threshold(50)
        bodies = [payload(id=f"{turn}-{i}") for i in range(150)]
        routed = send(workers.predict_url, bodies, CONNECTIONS)
        misrouted = [
            body["id"]
            for body, response in zip(bodies, routed, strict=True)
            if response.body["variant"] != ("challenger" if router.bucket(body["id"]) < bound else "champion")
        ]
        began = time.monotonic()
        crowd.split("one")
        back = time.monotonic() - began
        after = send(workers.predict_url, bodies, CONNECTIONS)
        assert not list(failures(routed + after))
        late = workers.metrics()['guardian_errors_total{variant="challenger"}']  # answered by the champion, and counted
        assert len(misrouted) <= late
        assert {response.body["variant"] for response in after} == {"champion"}
        assert back < 1.0


def test_a_killed_worker_loses_what_it_had_under_way_and_is_replaced(
    crowd: Any, workers: GatewayProcess, payload: Payload
) -> None:
    until(lambda: len(serving(workers)) == 2)
    before = serving(workers)
    with Load(workers, payload, "kill-", 90) as load:
        time.sleep(0.5)
        os.kill(before[0], signal.SIGKILL)
        until(lambda: len(serving(workers)) == 2 and before[0] not in serving(workers))
        until(lambda: before[0] not in waited_for(crowd))
    failed = list(failures(load.responses))
    assert len(failed) <= CONNECTIONS, "one request a connection of its"
    workers.wait_log_drained()
    lost = workers.metrics()["guardian_prediction_log_rows_lost"]
    logged = crowd.log()["id"].str.startswith("kill-").sum()
    assert len(load.responses) - len(failed) <= logged + lost <= len(load.responses)
    assert lost <= 2 * 90, "the last second's, on a busy machine"


def test_a_hung_worker_is_killed_and_replaced_while_the_others_answer(
    crowd: Any, workers: GatewayProcess, payload: Payload
) -> None:
    until(lambda: len(serving(workers)) == 2)
    hung = serving(workers)[0]
    with Load(workers, payload, "hang-", 60) as load:
        time.sleep(0.5)
        began = time.monotonic()
        os.kill(hung, signal.SIGSTOP)
        meanwhile: list[Response] = []
        while hung in serving(workers):
            meanwhile += send(workers.predict_url, [payload(id=f"meanwhile-{len(meanwhile)}")], 1)
            time.sleep(0.1)
            assert time.monotonic() - began < PATIENCE
        killed = time.monotonic() - began
        until(lambda: len(serving(workers)) == 2)
    assert f"worker {hung} hangs, is killed" in workers.errors()
    assert killed > HUNG_SECONDS - 1.0, "a worker that is only busy is left alone"
    assert len(meanwhile) > 10 and not list(failures(meanwhile))
    assert len(list(failures(load.responses))) <= CONNECTIONS, "one request a connection of its"
    assert not list(failures(send(workers.predict_url, [payload() for _ in range(50)], CONNECTIONS)))
    until(lambda: hung not in waited_for(crowd))


def test_the_whole_gateway_killed_comes_back_and_says_what_its_log_lost(
    crowd: Any, workers: GatewayProcess, payload: Payload
) -> None:
    workers.wait_log_drained()
    logged = len(crowd.log())
    crowd.split("one", "two", 50)  # the way back waits for no challenger
    answered = send(workers.predict_url, [payload(id=f"last-{i}") for i in range(100)], CONNECTIONS)
    pids = serving(workers)
    os.kill(workers.pid, signal.SIGKILL)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
    with start(crowd.operations, int(workers.base_url.rpartition(":")[2])) as again:
        assert not list(failures(send(again.predict_url, [payload()])))
        lost = again.metrics()["guardian_prediction_log_rows_lost"]
        assert len(crowd.log()) - logged + lost == len(answered) == 100 and lost > 0
        assert f"{lost:.0f} rows of the prediction log were lost" in again.errors()
        until(lambda: not waited_for(crowd) & set(pids))
