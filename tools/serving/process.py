"""The gateway as a process of its own, started and stopped by the demo, the daemon and tests."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from policies.errors import SystemDown

STOP_SECONDS = 15.0


class GatewayProcess:
    """Starts a gateway and waits until it serves; stops it cleanly at the end, so that its log is whole.

    ::

        with GatewayProcess(Path("operations.yaml"), "ChurnModel") as gateway:
            send(gateway.predict_url, payloads)

    `wait_ready=False` returns as soon as it listens (before a first traffic split exists, it cannot be ready). It ends
    with the thread that starts it, however that ends: no caller is answered by a gateway that nobody looks after.
    """

    def __init__(
        self,
        operations: Path,
        model: str | None = None,
        *,
        port: int = 0,
        environment: Mapping[str, str] | None = None,
        wait_ready: bool = True,
        ready_seconds: float = 60.0,
    ) -> None:
        self._command = [sys.executable, "-m", "tools.serving.gateway", "--operations", str(operations)]
        self._command += ["--port", str(port), "--parent", str(os.getpid()), *(["--model", model] if model else [])]
        path = os.pathsep.join(filter(None, [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]))
        self._environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", **(environment or {})}
        self._wait = wait_ready
        self._seconds = ready_seconds
        self._process: subprocess.Popen[str] | None = None
        self._errors: IO[bytes] | None = None
        self.base_url = ""
        self.endpoint = ""

    @property
    def predict_url(self) -> str:
        """Where predictions are asked."""
        return self.base_url + self.endpoint

    @property
    def pid(self) -> int:
        """The gateway's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether its process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> GatewayProcess:
        """Starts it. Raises SystemDown with its last words if it ends or is not ready in time."""
        until = time.monotonic() + self._seconds
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  lives as long as the process
        self._process = subprocess.Popen(  # noqa: S603  our own module, no text from outside
            self._command, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self._errors,
            text=True,
        )  # fmt: skip
        try:
            self._read_address(until)
            while self._wait and not self.readiness().get("ready"):
                if self._process.poll() is not None or time.monotonic() > until:
                    raise self._down(f"is not ready: {self.readiness().get('not_loaded') or 'no traffic split is set'}")
                time.sleep(0.02)
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Ends it: requests under way are answered, the prediction log is written. Killed where that takes too long."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdout is not None:
            process.stdout.close()

    def __enter__(self) -> GatewayProcess:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def readiness(self) -> dict[str, Any]:
        """The body of /readyz, whatever its status; empty where nothing answers."""
        try:
            with urllib.request.urlopen(f"{self.base_url}/readyz", timeout=5) as response:  # noqa: S310  http, on loopback
                body = response.read()
        except urllib.error.HTTPError as refusal:
            body = refusal.read()
        except OSError:
            return {}
        state: dict[str, Any] = json.loads(body)
        return state

    def metrics(self) -> dict[str, float]:
        """/metrics as sample → value; the sample's name includes its labels."""
        with urllib.request.urlopen(f"{self.base_url}/metrics", timeout=5) as response:  # noqa: S310  http, on loopback
            lines = response.read().decode().splitlines()
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}

    def wait_logged(self, rows: int, seconds: float = 10.0) -> None:
        """Waits until the prediction log has written `rows` rows since the start. Raises SystemDown otherwise."""
        until = time.monotonic() + seconds
        while (written := self.metrics()["guardian_prediction_log_rows_written"]) < rows:
            if time.monotonic() > until:
                raise SystemDown(f"wrote {written:g} of {rows} rows in {seconds:g} s", where="prediction log")
            time.sleep(0.02)

    def wait_copies_made(self, seconds: float = 10.0) -> None:
        """Waits until a shadow challenger has answered every copy; as `wait_log_drained`, which waits for more."""
        self._wait_empty(("guardian_shadow_rows_queued",), seconds)

    def wait_log_drained(self, seconds: float = 10.0) -> None:
        """Waits until every answered request and every copy is in the warehouse.

        A slow machine may take as long as it needs. Raises SystemDown after `seconds` in which nothing moved.
        """
        self._wait_empty(("guardian_shadow_rows_queued", "guardian_prediction_log_rows_queued"), seconds)

    def _wait_empty(self, queued: tuple[str, ...], seconds: float) -> None:
        moved = (*queued, "guardian_prediction_log_rows_written")
        before: dict[str, float] = {}
        until = time.monotonic() + seconds
        while sum((metrics := self.metrics())[name] for name in queued):
            state = {name: metrics[name] for name in moved}
            if state != before:
                before, until = state, time.monotonic() + seconds
            elif time.monotonic() > until:
                waits = ", ".join(f"{name} {value:g}" for name, value in state.items())
                raise SystemDown(f"nothing moved for {seconds:g} s: {waits}", where="prediction log")
            time.sleep(0.02)

    def errors(self) -> str:
        """What it has written to stderr so far."""
        if self._errors is None:
            return ""
        self._errors.seek(0)
        return self._errors.read().decode(errors="replace")

    def _read_address(self, until: float) -> None:
        assert self._process is not None and self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
        line = self._process.stdout.readline() if ready else ""
        if not line:
            raise self._down("did not start")
        address = json.loads(line)
        self.base_url, self.endpoint = address["url"], address["endpoint"]

    def _down(self, what: str) -> SystemDown:
        last = "\n".join(self.errors().strip().splitlines()[-5:])
        return SystemDown(f"{what}\n{last}".strip(), where="gateway")
