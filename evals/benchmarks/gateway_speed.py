"""The gateway against `mlflow models serve`, FastAPI as documented and BentoML: requests a second, p99 at 500 offered.

A model of 20 features (100 boosted trees, behind scaling or alone), one row a request as JSON, one core for the server
with all its processes, another for the client. The gateway validates each request and logs each answer; *routed* gives
half of the requests to a challenger in its own process on the same core; *alone* its share is nothing. The two take
turns of a fraction of a second, and what routing keeps is the median of the pairs, for a machine is not as fast at all
times. Both models are scored by ONNX, and again where the extra `onnx` is not installed. 8 and 32 connections keep
sending (closed loop); the p99 is of 500 requests a second offered whatever the answers take (open loop).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evals.benchmarks.serving.load import uncollected
from evals.benchmarks.serving.peers import BENTOML, FASTAPI, MLFLOW, Server, on_one_core, peer
from evals.benchmarks.serving.world import BARE, FEATURES, MODEL, SCALED, frame, registered, share
from policies.errors import SystemDown
from tools.serving.client import failures, send
from tools.serving.process import GatewayProcess
from tools.systems.systems import Systems

DIRECT, ROUTED = "alone", "routed 50/50"
PEERS = {"mlflow": MLFLOW, "fastapi": FASTAPI, "bentoml": BENTOML}
CONNECTIONS, OFFERED, OPEN_CONNECTIONS = (8, 32), 500.0, 64
_TRIAL = 40
_LOADED = 6.0
"""After a challenger is loaded the next spare one is started, for which the one core works these seconds."""
_SETTLED = 0.2
"""After a change of weights."""
_PAIRS, _RUNS = 24, 5
"""Alone and routed, an even number so that either is first as often; and of a server that has no pairs."""
_WARM = 0.2
"""Of each run's time, before it."""


@dataclass(frozen=True)
class Measured:
    """Requests a second by connections, a figure a run; of those offered, the p99 (ms), the share that failed and the
    rate held."""

    runs: Mapping[int, list[float]]
    p99_ms: float
    failed: float
    held: float

    def rate(self, connections: int) -> float:
        """The median of the runs."""
        return float(np.median(self.runs[connections]))


class Load:
    """One server's load."""

    def __init__(self, server: Server, seconds: float) -> None:
        rows = frame(512, seed=9).to_numpy()
        self._rows = [dict(zip(FEATURES, map(float, row), strict=True)) for row in rows]
        self._server = server
        self._seconds = seconds

    def closed(self, runs: int) -> dict[int, float]:
        """Requests a second at each number of connections, each for one of so many parts of the seconds."""
        seconds = self._seconds / runs
        with uncollected():
            guess, _, _ = self._run(_TRIAL, 8)
            rates = {}
            for connections in CONNECTIONS:
                guess, _, _ = self._run(max(_TRIAL, int(guess * seconds * _WARM)), connections)
                rates[connections], _, _ = self._run(max(_TRIAL, int(guess * seconds)), connections)
                guess = rates[connections]
        return rates

    def offered(self, rounds: Sequence[Mapping[int, float]]) -> Measured:
        """What was measured in `rounds`, and the requests offered at a rate."""
        with uncollected():
            held, latencies, failed = self._run(int(OFFERED * self._seconds), OPEN_CONNECTIONS, OFFERED)
        runs = {connections: [rates[connections] for rates in rounds] for connections in CONNECTIONS}
        return Measured(runs, float(np.percentile(latencies, 99)) if latencies else float("inf"), failed, held)

    def _run(self, n: int, connections: int, rate: float | None = None) -> tuple[float, list[float], float]:
        sent = [self._server.body(self._rows[i % len(self._rows)]) for i in range(n)]
        began = time.perf_counter()
        said = send(self._server.url, sent, connections, rate)
        took = time.perf_counter() - began
        failed = len(list(failures(said)))
        if rate is None and failed:
            first = next(failures(said))
            raise SystemDown(f"{failed} of {n} requests failed: {first.error or first.body}", where=self._server.url)
        return n / took, [each.latency_ms for each in said if each.status == 200], failed / n


@contextmanager
def gateway(home: Path, core: int, *, onnx: bool) -> Iterator[tuple[GatewayProcess, Server]]:
    """Our gateway, on one core with its challengers; as where the extra `onnx` is installed, or is not."""
    paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
    if not onnx:
        hidden = home / "without_onnx"
        hidden.mkdir(exist_ok=True)
        (hidden / "onnxruntime.py").write_text("raise ImportError\n")
        paths.insert(0, str(hidden))
    with on_one_core(core):
        environment = {"PYTHONPATH": os.pathsep.join(paths)}
        process = GatewayProcess(home / "operations.yaml", MODEL, environment=environment).start()
    try:
        yield process, Server(process.predict_url, "features")
    finally:
        process.stop()


def main(arguments: Sequence[str]) -> None:
    """Prints one line a server, and ratios to `mlflow models serve`."""
    parser = argparse.ArgumentParser(prog="gateway_speed", description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="of load at each setting")
    parser.add_argument("--peers", default="mlflow,fastapi,bentoml", metavar="NAMES", help="separated by commas")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "guardian-benchmarks", metavar="DIR")
    options = parser.parse_args(arguments)
    chosen = [name for name in options.peers.split(",") if name]
    if unknown := [name for name in chosen if name not in PEERS]:
        parser.error(f"no peer {', '.join(unknown)}; there are {', '.join(PEERS)}")
    found: dict[str, Measured] = {}
    with tempfile.TemporaryDirectory() as folder, registered(Path(folder)) as systems, _client_core() as core:
        home = Path(folder)
        for onnx in (True, False):
            with gateway(home, core, onnx=onnx) as (process, server):
                for name, (champion, challenger) in (("scaled", SCALED), ("bare", BARE)):
                    share(systems, champion, challenger)
                    time.sleep(_LOADED)
                    load, rounds = Load(server, options.seconds), dict[bool, list[dict[int, float]]]()
                    for pair in range(_PAIRS):
                        for routed in (pair % 2 == 1, pair % 2 == 0):
                            _route(systems, champion, challenger, routed=routed)
                            rounds.setdefault(routed, []).append(load.closed(_PAIRS))
                    for routed in (False, True):
                        _route(systems, champion, challenger, routed=routed)
                        path = f"{process.readiness()['path']}, {name}"
                        found[f"Guardian, {path}, {ROUTED if routed else DIRECT}"] = load.offered(rounds[routed])
        example = dict.fromkeys(FEATURES, 0.0)
        for name in chosen:
            try:
                with peer(PEERS[name], home, example, core, options.cache) as server:
                    load = Load(server, options.seconds)
                    found[PEERS[name]] = load.offered([load.closed(_RUNS) for _ in range(_RUNS)])
            except SystemDown as error:
                print(f"{PEERS[name]}: not measured: {error}")
    print(_table(found))


@contextmanager
def _client_core() -> Iterator[int]:
    """The core for the servers; this process keeps to the others."""
    before = os.sched_getaffinity(0)
    core = min(before)
    os.sched_setaffinity(0, before - {core} or before)
    try:
        yield core
    finally:
        os.sched_setaffinity(0, before)


def _route(systems: Systems, champion: str, challenger: str, *, routed: bool) -> None:
    share(systems, champion, challenger, 50.0 if routed else 0.0)
    time.sleep(_SETTLED)


def _kept(alone: Sequence[float], routed: Sequence[float]) -> str:
    """The median of runs in pairs, and how far off it may be: 1.25 standard errors of a mean, as of normal noise."""
    ratios = np.array(routed) / np.array(alone)
    return f"{np.median(ratios):.2f} ± {1.25 * ratios.std(ddof=1) / np.sqrt(len(ratios)):.2f}"


def _table(found: Mapping[str, Measured]) -> str:
    base = found.get(MLFLOW)
    head = "".join(f"{f'req/s at {n}':>14}{'ratio':>8}" for n in CONNECTIONS)
    lines = [f"{'server':<38}{head}{'p99 at 500/s':>15}{'held':>8}{'failed':>8}"]
    for name, each in found.items():
        cells = ""
        for n in CONNECTIONS:
            ratio = f"{each.rate(n) / base.rate(n):.1f}x" if base else "--"
            cells += f"{each.rate(n):>14,.0f}{ratio:>8}"
        lines.append(f"{name:<38}{cells}{each.p99_ms:>12.1f} ms{each.held:>8.0f}{each.failed:>8.1%}")
    for alone in [name for name in found if name.endswith(DIRECT)]:
        routed = found[alone.removesuffix(DIRECT) + ROUTED]
        kept = " and ".join(f"{_kept(found[alone].runs[n], routed.runs[n])} at {n}" for n in CONNECTIONS)
        lines.append(f"routing keeps of {alone}: {kept} connections")
    return "\n".join(lines)
