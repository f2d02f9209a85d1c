"""The gateway process: `python -m tools.serving.gateway --operations FILE [--model NAME] [--host H] [--port N]`.

It prints one JSON line, `{"url", "endpoint", "pid"}`, as soon as it listens, and logs to stderr. With GUARDIAN_API_KEY
in the environment, predictions and /metrics are for those who send it. With `--parent PID` it ends when that process
does, as it ends by SIGTERM, and waits for the address that one of a killed parent may still be giving up.
"""

from __future__ import annotations

import argparse
import errno
import gc
import importlib
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from policies.autoscaling import Autoscaler
from policies.errors import GuardianError, InputError
from tools import tasks
from tools.serving.app import GatewayApp
from tools.serving.board import Board
from tools.serving.challenger import deadline_of
from tools.serving.contract import Contract
from tools.serving.lifeline import die_with_parent
from tools.serving.lifetime import Gateway, alone
from tools.serving.metrics import LOG_ADDED, LOG_LOST, PID, Layout, Metrics
from tools.serving.model_cache import ModelCache
from tools.serving.onnx_path import import_runtime
from tools.serving.supervisor import Seat, Supervisor
from tools.serving.worker import SHUTDOWN_SECONDS, serve

if TYPE_CHECKING:
    from tools.systems.systems import Systems

HOST = "127.0.0.1"
BACKLOG = 2048
RENEW_EVERY = 200
"""Answers of a worker after which one connection is closed: kept alive for good, they would stay with the workers that
were there first. The busier one is, the more of its callers move."""

log = logging.getLogger("guardian.gateway")


def serve_gateway(systems: Systems, model: str, host: str = HOST, port: int = 0, patience: float = 0.0) -> None:
    """Serves `model` until SIGTERM or SIGINT; port 0 picks a free one, one in use is waited for `patience` seconds.

    In this process where `instances` says one, else in workers of which this process is the supervisor. Raises
    InputError where none is declared.
    """
    binding = systems.operations.model(model)
    infra = systems.operations.serving_of(model)
    pattern = infra.real_time if infra is not None else None
    if pattern is None:
        raise InputError("no real-time pattern is declared for this model", where=f"serving_infra of {model}")
    if binding.prediction_log is None:
        raise InputError("name the table of the prediction log: prediction_log", where=f"models.{model}")
    _prepare()
    listener = _listen(host, port, patience)
    port = listener.getsockname()[1]
    contract, instances, log_table = Contract.of(systems.operations, model), pattern.instances, binding.prediction_log
    layout = Layout(contract.columns)
    # Those that leave are still there while others are started: after a peak follows another.
    slots = 1 if alone(instances) else 2 * instances.max
    board = Board(systems.state / "gateways", model, layout.names, slots)
    killed = _begin(board, layout)

    def work(seat: Seat) -> None:
        name = f"gateway-{socket.gethostname()}-{port}"
        gateway = Gateway(
            model,
            binding.registry_name,
            log_table,
            contract,
            traffic=systems.traffic,
            models=ModelCache(systems.registry),
            warehouse=systems.warehouse,
            clock=systems.clock,
            metrics=Metrics(layout, board.rows, seat.slot),
            worker=f"{name}-{os.getpid()}"[-80:],
            instances=instances,
            seat=seat,
            gone=[f"{name}-{pid}"[-80:] for pid in seat.gone],
            deadline=deadline_of(pattern.sla.latency_p99_ms if pattern.sla is not None else None),
            task=tasks.of(binding.task),
        )
        app = GatewayApp(
            pattern.endpoint,
            gateway.router,
            gateway,
            gateway.metrics,
            time.perf_counter,
            api_key=os.environ.get("GUARDIAN_API_KEY") or None,
            renew_every=None if alone(instances) else RENEW_EVERY,
        )
        serve(app, listener)

    url = f"http://{host}:{port}"
    if alone(instances):
        _say_where(url, pattern.endpoint)
        work(Seat(0, gone=killed))
        return
    listener.listen(BACKLOG)  # callers wait from now on, and go on waiting where every worker is being replaced
    _say_where(url, pattern.endpoint)
    systems.close()  # a connection must not be used by two processes; each worker opens its own
    # In virtual time an hour's requests come in a second: a rate that no machine has to be made for.
    rule = pattern.autoscaling if systems.operations.systems.clock != "virtual" else None
    Supervisor(work, layout, board.rows, Autoscaler(instances, rule), killed).serve()


def _say_where(url: str, endpoint: str) -> None:
    print(orjson.dumps({"url": url, "endpoint": endpoint, "pid": os.getpid()}).decode(), flush=True)


def _begin(board: Board, layout: Layout) -> tuple[int, ...]:
    """Starts the numbers from zero. Gives the processes of a gateway that was killed; how much of its log was lost is
    said, and counted."""
    before = [Metrics(layout, board.rows, slot) for slot in range(len(board.rows))] if board.left else []
    killed = tuple(int(each[PID]) for each in before if each[PID])
    lost = sum(each.end() for each in before)
    board.clear()
    if lost:
        log.error("%d rows of the prediction log were lost: the gateway before this one was killed", lost)
    first = Metrics(layout, board.rows)
    first[LOG_ADDED] = first[LOG_LOST] = lost
    return killed


def _listen(host: str, port: int, patience: float) -> socket.socket:
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    until = time.monotonic() + patience
    while True:
        try:
            listener.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < until:
                time.sleep(0.05)
                continue
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
    gc.freeze()  # half a million objects of the libraries, which every full collection would walk through: 200 ms
    gc.enable()


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line of this module; gives an exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.serving.gateway", description="Serve a model over HTTP.")
    parser.add_argument("--operations", type=Path, default=Path("operations.yaml"), metavar="FILE")
    parser.add_argument("--model", metavar="NAME", help="needed where several models are declared")
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=8080, metavar="N", help="0 picks a free one")
    parser.add_argument("--parent", type=int, metavar="PID", help="end with this process, which started this one")
    options = parser.parse_args(arguments)
    if options.parent is not None:
        die_with_parent(options.parent, signal.SIGTERM)
    gc.disable()  # until the libraries are imported, a fifth of whose time it would take
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    from tools.systems.systems import Systems

    try:
        systems = Systems.open(options.operations)
        model = options.model or _only(list(systems.operations.models))
        patience = SHUTDOWN_SECONDS + 2.0 if options.parent is not None else 0.0
        serve_gateway(systems, model, options.host, options.port, patience)
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
