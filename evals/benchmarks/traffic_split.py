"""The split of live traffic at a canary's stages: how far from its share, and whether any id moves back.

At every stage the same ids are asked for through a gateway of two processes, and some of them again. A challenger's
failure, which the champion answers, looks like an id that moved: where there are fallbacks, the run says nothing.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import orjson

from evals.benchmarks.serving.load import uncollected
from evals.benchmarks.serving.world import FEATURES, MODEL, SCALED, registered, share
from policies.errors import SystemDown
from tools.serving.client import failures, send
from tools.serving.process import GatewayProcess

STAGES = (5.0, 10.0, 25.0, 50.0)
_CONNECTIONS = 32
_WORKERS = 2
_AGAIN = 10
"""One id in so many is asked for twice."""
_FALLBACKS = 'guardian_errors_total{variant="challenger"}'


def z_of(challengers: int, requests: int, pct: float) -> float:
    """Standard errors between the challenger's requests and its share of them, by the binomial distribution."""
    wanted = pct / 100.0
    return float((challengers - requests * wanted) / (requests * wanted * (1.0 - wanted)) ** 0.5)


def main(arguments: Sequence[str]) -> None:
    """Prints one line a stage, as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="traffic_split", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, metavar="N", help="at every stage")
    options = parser.parse_args(arguments)
    features = dict.fromkeys(FEATURES, 0.1)
    bodies = [orjson.dumps({"id": f"customer-{number}", "features": features}) for number in range(options.requests)]
    print(f"{'stage':>6}{'requests':>10}{'challenger':>12}{'z':>7}{'moved back':>12}{'otherwise':>11}{'fallbacks':>11}")
    with (
        tempfile.TemporaryDirectory() as folder,
        registered(Path(folder), f"instances: {{min: {_WORKERS}, max: {_WORKERS}}}") as systems,
    ):
        gateway = GatewayProcess(Path(folder) / "operations.yaml", MODEL).start()

        def asked(sent: Sequence[bytes]) -> list[bool]:
            said = send(gateway.predict_url, sent, _CONNECTIONS)
            if failed := next(failures(said), None):
                raise SystemDown(f"a request failed: {failed.error or failed.body}", where=gateway.predict_url)
            return [each.body["variant"] == "challenger" for each in said]

        try:
            while len(gateway.readiness().get("instances", {}).get("serving", [])) < _WORKERS:
                time.sleep(0.05)
            before = [False] * len(bodies)
            for pct in STAGES:
                share(systems, *SCALED, pct)
                fallbacks = gateway.metrics().get(_FALLBACKS, 0.0)
                with uncollected():
                    now, again = asked(bodies), asked(bodies[::_AGAIN])
                back = sum(old and not new for old, new in zip(before, now, strict=True))
                otherwise = sum(one != two for one, two in zip(now[::_AGAIN], again, strict=True))
                fallbacks = gateway.metrics().get(_FALLBACKS, 0.0) - fallbacks
                print(
                    f"{pct:>5g}%{len(now):>10,}{sum(now):>12,}{z_of(sum(now), len(now), pct):>7.2f}"
                    f"{back:>12}{otherwise:>11}{fallbacks:>11.0f}",
                    flush=True,
                )
                before = now
        finally:
            gateway.stop()
