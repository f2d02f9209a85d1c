"""A daemon killed with its gateways at work: they answer what they have taken and end; the next one has the port."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tools.serving.client import Response, send

PATIENCE = 40.0
CONNECTIONS = 8


@contextmanager
def daemon(operations: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """`guardian serve` with its gateway at `port`; killed at the end, where it still is."""
    from conftest import _path

    command = [sys.executable, "-c", "from agent.cli import main; main()", "--json", "--operations", str(operations)]
    process = subprocess.Popen(
        [*command, "serve", "--planner", "runbook", "--port", "0", "--gateway-port", str(port)],
        env={**os.environ, "PYTHONPATH": _path()},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def state(port: int) -> Mapping[str, Any]:
    """What the gateway says of itself; nothing where none serves."""
    with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
        found: Mapping[str, Any] = json.loads(answer.read())
        return found
    return {}


def until(holds: Callable[[], Any]) -> float:
    """Waits for it; gives how long that took."""
    began = time.monotonic()
    while not holds():
        assert time.monotonic() - began < PATIENCE
        time.sleep(0.02)
    return time.monotonic() - began


@pytest.fixture(params=["{min: 1, max: 1}", "{min: 2, max: 2}"], ids=["alone", "workers"])
def operations(world: Any, request: pytest.FixtureRequest) -> Iterator[Path]:
    """The world's declarations with as many instances; `one` serves."""
    file: Path = world.operations.with_name("killed.yaml")
    file.write_text(world.operations.read_text().replace("{min: 1, max: 1}", request.param))
    world.split("one")
    yield file
    file.unlink()


def test_a_killed_daemon_leaves_no_gateway_behind_and_the_next_one_serves(
    world: Any, operations: Path, payload: Callable[..., dict[str, Any]]
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    url, ended = f"http://127.0.0.1:{port}/v1/churn/predict", threading.Event()
    name = f"killed-{port}-"
    responses: list[Response] = []
    bodies = [payload(id=f"{name}{i}") for i in range(3_000)]
    load = threading.Thread(
        target=lambda: responses.extend(send(url, bodies, CONNECTIONS, 100.0, ended.is_set)), daemon=True
    )
    with daemon(operations, port) as first:
        until(lambda: state(port))
        pids = state(port)["instances"]["serving"]
        load.start()
        time.sleep(1.0)
        first.send_signal(signal.SIGKILL)
        gone = until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids))
        ended.set()
        load.join(PATIENCE)
    with daemon(operations, port):
        until(lambda: state(port))
        assert not set(pids) & set(state(port)["instances"]["serving"])
        assert [each.status for each in send(url, [payload()])] == [200]
    until(lambda: not state(port))
    answered = [each for each in responses if each.status == 200]
    assert len(answered) > 50 and gone < 5.0
    logged = world.log()
    assert logged["id"].str.startswith(name, na=False).sum() == len(answered), "the log is whole: it ended cleanly"


def test_a_successor_waits_for_the_address_and_a_stranger_says_at_once_that_it_is_taken(world: Any) -> None:
    from conftest import _path

    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        held.listen()
        command = [sys.executable, "-m", "tools.serving.gateway", "--operations", str(world.operations)]
        command += ["--port", str(held.getsockname()[1])]
        environment = {**os.environ, "PYTHONPATH": _path()}
        stranger = subprocess.run(
            command, check=False, env=environment, capture_output=True, text=True, timeout=PATIENCE
        )
        assert stranger.returncode != 0 and "cannot listen: Address already in use" in stranger.stderr
        with subprocess.Popen(
            [*command, "--parent", str(os.getpid())], env=environment, stdout=subprocess.PIPE, text=True
        ) as successor:
            with pytest.raises(subprocess.TimeoutExpired):
                successor.wait(3.0)
            held.close()
            assert successor.stdout is not None
            assert json.loads(successor.stdout.readline())["pid"] == successor.pid
            successor.terminate()
