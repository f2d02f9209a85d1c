"""Peers of the gateway, each started as its documentation says, with one worker and the same model."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evals.benchmarks.drift.environments import python_of
from evals.benchmarks.serving.world import NAME
from policies.errors import SystemDown
from tools.serving.client import send

HERE = Path(__file__).parent
START_SECONDS = 120.0
MLFLOW, FASTAPI, BENTOML = "mlflow models serve", "FastAPI, as documented", "BentoML"


@dataclass(frozen=True)
class Server:
    """A server that answers: where, and a request's body for one row of features."""

    url: str
    wrap: str

    def body(self, row: Mapping[str, float]) -> dict[str, Any]:
        """One row in the server's own form."""
        shapes: dict[str, dict[str, Any]] = {
            "records": {"dataframe_records": [dict(row)]},
            "plain": dict(row),
            "features": {"features": dict(row)},
        }
        return shapes[self.wrap]


@contextmanager
def on_one_core(core: int) -> Iterator[None]:
    """What is started meanwhile runs on `core` alone, and this process on it or the others as before."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def peer(name: str, home: Path, example: Mapping[str, float], core: int, cache: Path) -> Iterator[Server]:
    """A peer that serves version 1 of `home`. Raises SystemDown, with its last words, where it cannot be had."""
    port = _free_port()
    folder = home / ".guardian" / "models" / NAME / "1"
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "MLFLOW_TRACKING_URI": f"sqlite:///{home}/.guardian/mlflow.db",
        "BENCHMARK_MODEL": str(folder / "model.pkl"),
        "BENTOML_HOME": str(cache / "bentoml-home"),
        "BENTOML_DO_NOT_TRACK": "True",
    }
    server, command = _command(name, port, cache)
    with tempfile.TemporaryFile() as words, on_one_core(core):
        process = subprocess.Popen(  # noqa: S603  commands of ours
            command, env=environment, cwd=HERE, stdout=words, stderr=subprocess.STDOUT, start_new_session=True
        )
        os.sched_setaffinity(0, set(range(os.cpu_count() or 1)) - {core} or {core})
        try:
            _wait(name, process, server, example, words)
            yield server
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            process.wait(30)


def _command(name: str, port: int, cache: Path) -> tuple[Server, Sequence[str]]:
    url = f"http://127.0.0.1:{port}"
    if name == MLFLOW:
        serve = ["-m", "mlflow", "models", "serve", "-m", f"models:/{NAME}/1", "--env-manager", "local"]
        command = [sys.executable, *serve, "-p", str(port), "--workers", "1"]
        return Server(f"{url}/invocations", "records"), command
    if name == FASTAPI:
        command = [sys.executable, "-m", "uvicorn", "fastapi_app:app", "--port", str(port), "--no-access-log"]
        return Server(f"{url}/predict", "plain"), [*command, "--app-dir", str(HERE)]
    python = python_of("bentoml", cache, HERE)
    if isinstance(python, str):
        raise SystemDown(python, where=BENTOML)
    command = [str(python), "-m", "bentoml", "serve", "bentoml_service:Churn", "--port", str(port)]
    return Server(f"{url}/predict", "features"), [*command, "--working-dir", str(HERE)]


def _wait(
    name: str, process: subprocess.Popen[bytes], server: Server, example: Mapping[str, float], words: Any
) -> None:
    until = time.monotonic() + START_SECONDS
    while not (said := send(server.url, [server.body(example)], 1)) or said[0].status != 200:
        if process.poll() is not None or time.monotonic() > until:
            words.seek(0)
            last = words.read().decode(errors="replace").strip().splitlines()[-3:]
            raise SystemDown(" | ".join([*last, str(said[0].error or said[0].body)]), where=name)
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
