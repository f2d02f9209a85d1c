"""The gateway process: `python -m tools.serving.gateway --operations FILE [--model NAME] [--host H] [--port N]`.

It prints one JSON line, `{"url", "endpoint", "pid"}`, as soon as it listens, and logs to stderr. With GUARDIAN_API_KEY
in the environment, predictions and /metrics are for those who send it.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from policies.errors import GuardianError, InputError
from tools.serving.app import GatewayApp
from tools.serving.challenger import DEADLINE_SECONDS, deadline_of
from tools.serving.contract import Contract
from tools.serving.metrics import Metrics
from tools.serving.onnx_path import import_runtime
from tools.serving.prediction_log import PredictionLog
from tools.serving.reloader import Reloader
from tools.serving.router import Router
from tools.serving.seams import Clock, LogTable, Models, Traffic

if TYPE_CHECKING:
    from tools.systems.systems import Systems

HOST = "127.0.0.1"
SHUTDOWN_SECONDS = 10


class Gateway:
    """One model's gateway, wired: starts and stops the parts, and says how they are."""

    def __init__(
        self,
        model: str,
        registry_name: str,
        log_table: str,
        contract: Contract,
        *,
        traffic: Traffic,
        models: Models,
        warehouse: LogTable,
        clock: Clock,
        worker: str,
        deadline: float = DEADLINE_SECONDS,
        timer: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._model = model
        self._log = PredictionLog(warehouse, log_table, clock)
        self.metrics = Metrics()
        self.router = Router(model, self._log, clock, self.metrics, timer)
        self._reloader = Reloader(self.router, traffic, models, registry_name, contract, worker, timer, deadline)

    async def start(self) -> None:
        """Starts following the traffic split and writing the log."""
        self._log.start()
        self._reloader.start()

    async def stop(self) -> None:
        """Ends the challengers and writes the last of the log."""
        await self._reloader.stop()
        await self._log.stop()

    def state(self) -> dict[str, Any]:
        """The body of /readyz."""
        serving, waiting = self.router.serving, self._reloader.not_loaded
        split = serving.split if serving is not None else None
        challenger = serving.challenger if serving is not None else None
        return {
            "ready": serving is not None,
            "model": self._model,
            "split": split.number if split is not None else None,
            "champion": split.champion if split is not None else None,
            "path": serving.champion.path_name if serving is not None else None,
            "why_not_onnx": serving.champion.why_not_onnx if serving is not None else None,
            "challenger": challenger.version if challenger is not None else None,
            "challenger_pct": split.challenger_pct if split is not None else 0.0,
            "mirrored": serving is not None and serving.mirror is not None,
            "endpoints": dict(split.endpoints) if split is not None else {},
            "challenger_pid": challenger.pid if challenger is not None else None,
            "not_loaded": {"split": waiting.number, "reason": waiting.reason} if waiting is not None else None,
            "state_store": self._reloader.store_error or "ok",
        }

    def gauges(self) -> dict[str, float]:
        """Values of the moment for /metrics."""
        serving = self.router.serving
        challenger = serving.challenger if serving is not None else None
        return {
            "guardian_traffic_split_number": float(serving.split.number if serving is not None else 0),
            "guardian_traffic_challenger_pct": serving.split.challenger_pct if serving is not None else 0.0,
            "guardian_challenger_breaker_open": float(challenger is not None and challenger.breaker.is_open),
            "guardian_shadow_rows_queued": float(serving.mirror.queued if serving and serving.mirror else 0),
            "guardian_prediction_log_rows_queued": float(self._log.queued),
        }

    def counters(self) -> dict[str, float]:
        """Counters kept outside `metrics`, for /metrics."""
        return {
            "guardian_shadow_requests_dropped_total": float(self.metrics.shadow_dropped),
            "guardian_prediction_log_rows_written": float(self._log.written),
            "guardian_prediction_log_rows_dropped": float(self._log.dropped),
            "guardian_prediction_log_write_failures": float(self._log.failures),
        }


def serve_gateway(systems: Systems, model: str, host: str = HOST, port: int = 0) -> None:
    """Serves `model` until SIGTERM or SIGINT; port 0 picks a free one. Raises InputError where none is declared."""
    import uvicorn

    binding = systems.operations.model(model)
    infra = systems.operations.serving_of(model)
    pattern = infra.real_time if infra is not None else None
    if pattern is None:
        raise InputError("no real-time pattern is declared for this model", where=f"serving_infra of {model}")
    if binding.prediction_log is None:
        raise InputError("name the table of the prediction log: prediction_log", where=f"models.{model}")
    _prepare()
    from tools.serving.model_cache import ModelCache

    listener = _listen(host, port)
    port = listener.getsockname()[1]
    gateway = Gateway(
        model,
        binding.registry_name,
        binding.prediction_log,
        Contract.of(systems.operations, model),
        traffic=systems.traffic,
        models=ModelCache(systems.registry),
        warehouse=systems.warehouse,
        clock=systems.clock,
        worker=f"gateway-{socket.gethostname()}-{port}-{os.getpid()}"[-80:],
        deadline=deadline_of(pattern.sla.latency_p99_ms if pattern.sla is not None else None),
    )
    app = GatewayApp(
        pattern.endpoint,
        gateway.router,
        gateway,
        gateway.metrics,
        time.perf_counter,
        api_key=os.environ.get("GUARDIAN_API_KEY") or None,
    )
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http="httptools",
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    url = f"http://{host}:{port}"
    print(orjson.dumps({"url": url, "endpoint": pattern.endpoint, "pid": os.getpid()}).decode(), flush=True)
    uvicorn.Server(config).run(sockets=[listener])


def _listen(host: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise InputError(f"cannot listen: {error.strerror}", where=f"{host}:{port}") from error
    listener.setblocking(False)
    return listener


def _prepare() -> None:
    """One core scores: threads of OpenMP would only wait for each other. Threads hand the interpreter over quickly."""
    os.environ["OMP_NUM_THREADS"] = "1"
    sys.setswitchinterval(0.0005)
    for module in ("pandas", "pyarrow.parquet", "sklearn.ensemble", "sklearn.pipeline"):
        importlib.import_module(module)  # while no request waits
    import_runtime()
    gc.collect()
    gc.freeze()  # half a million objects of the libraries, which every full collection would walk through: 200 ms


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module; gives an exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.serving.gateway", description="Serve a model over HTTP.")
    parser.add_argument("--operations", type=Path, default=Path("operations.yaml"), metavar="FILE")
    parser.add_argument("--model", metavar="NAME", help="needed where several models are declared")
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=8080, metavar="N", help="0 picks a free one")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    from tools.systems.systems import Systems

    try:
        systems = Systems.open(options.operations)
        model = options.model or _only(list(systems.operations.models))
        serve_gateway(systems, model, options.host, options.port)
    except GuardianError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _only(models: list[str]) -> str:
    if len(models) != 1:
        raise InputError(f"say which model: --model {' | '.join(models)}", where="models")
    return models[0]


if __name__ == "__main__":
    sys.exit(main())
