"""Failed and misrouted requests while a loaded gateway's traffic, challengers, workers and processes change and die.

`misrouted` were answered by a version that no split in force while they were under way gives their id; a challenger's
failure, which the champion answers and the gateway counts, is no misrouting and has a column of its own.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import orjson

from evals.benchmarks.serving.load import uncollected
from evals.benchmarks.serving.world import FEATURES, MODEL, SCALED, SLOW, declare, registered, slow
from policies.errors import SystemDown
from tools.serving.buckets import BucketRouter, threshold
from tools.serving.client import Response, failures, send
from tools.serving.process import GatewayProcess
from tools.systems.systems import Systems

CONNECTIONS = 64
"""Enough that no request waits for one: where challengers hang, 50 are under way."""
IDS = 5_000
LONGEST_SECONDS = 3_600
PATIENCE = 60.0
_SETTLED = 5.0
STEADY = "instances: {min: 2, max: 10}"
FOLLOWING = (
    "instances: {min: 2, max: 10}, "
    "autoscaling: {metric: requests_per_second, target: 40, scale_up_cooldown: 0, scale_down_cooldown: 2}"
)
_BEHIND = 'guardian_errors_total{variant="challenger"}'
_LOST = "guardian_prediction_log_rows_lost"


@dataclass
class Splits:
    """Sets splits, and keeps when each began to be set and was served by every worker (perf_counter)."""

    systems: Systems
    history: list[tuple[float, float, str, str | None, int]] = field(default_factory=list)

    def set(self, champion: str, challenger: str | None = None, pct: float = 0.0, *, mirrored: bool = False) -> float:
        """Puts a split in force; gives the seconds until it was. Mirrored, the champion answers everything."""
        began = time.perf_counter()
        self.systems.traffic.set(
            MODEL, champion, challenger, pct, at=self.systems.clock.now(), why="benchmark", rests_on=None,
            wait_seconds=PATIENCE, mirrored=mirrored,
        )  # fmt: skip
        served = time.perf_counter()
        bound = threshold(pct) if challenger and not mirrored else 0
        self.history.append((began, served, champion, challenger, bound))
        return served - began

    def misrouted(self, responses: Sequence[Response]) -> int:
        """The answers by a version that no split of their time gives their id."""
        router, wrong = BucketRouter(MODEL), 0
        ends = [*(served for _, served, *_ in self.history[1:]), float("inf")]
        first = 0
        for number, response in sorted(enumerate(responses), key=lambda each: each[1].sent):
            while ends[first] < response.sent:
                first += 1
            bucket, until = router.bucket(str(number % IDS)), response.sent + response.latency_ms / 1000.0
            allowed = set()
            for began, _, champion, challenger, bound in self.history[first:]:
                if began > until:
                    break
                allowed.add(challenger if bucket < bound else champion)
            wrong += response.status == 200 and response.body["version"] not in allowed
        return wrong


@dataclass(frozen=True)
class Row:
    """What one kind of event cost."""

    event: str
    requests: int
    failed: int
    misrouted: int
    fallbacks: float
    p99_ms: float
    slowest_ms: float
    note: str


class Bench:
    """One gateway under load, one event after another."""

    def __init__(self, gateway: GatewayProcess, splits: Splits, rate: float) -> None:
        self.gateway = gateway
        self.splits = splits
        self._rate = rate
        features = dict.fromkeys(FEATURES, 0.1)
        bodies = [orjson.dumps({"id": str(number), "features": features}) for number in range(IDS)]
        self._requests = bodies * (int(rate * LONGEST_SECONDS) // IDS + 1)

    def run(self, event: str, change: Callable[[], str], rate: float | None = None, shadow: str | None = None) -> None:
        """Makes the change under load, with a second of load before and after it; `change` gives a note.

        `shadow` gets copies from before the load begins until it ends: the start of its processes is not measured.
        """
        if shadow is not None:
            self.splits.set(SCALED[0], shadow, mirrored=True)
            time.sleep(_SETTLED)
        ended, responses = threading.Event(), list[Response]()
        asked = self._requests, CONNECTIONS, rate or self._rate, ended.is_set
        load = threading.Thread(target=lambda: responses.extend(send(self.gateway.predict_url, *asked)))
        before = self._fallbacks()
        load.start()
        try:
            time.sleep(1.0)
            note = change()
            time.sleep(1.0)
        finally:
            ended.set()
            load.join()
            if shadow is not None:
                self.splits.set(SCALED[0])
        fallbacks = max(self._fallbacks() - before, 0.0)
        took = np.array([each.latency_ms for each in responses])
        _show(
            Row(
                event,
                len(responses),
                len(list(failures(responses))),
                max(self.splits.misrouted(responses) - int(fallbacks), 0),
                fallbacks,
                float(np.quantile(took, 0.99)),
                float(took.max()),
                note,
            )
        )

    def _fallbacks(self) -> float:
        return self.gateway.metrics()[_BEHIND]

    def serving(self) -> list[int]:
        """The workers that serve."""
        found: list[int] = self.gateway.readiness().get("instances", {}).get("serving", [])
        return found

    def challengers(self, workers: Sequence[int]) -> list[int]:
        """All challenger processes, those that stand ready too. It asks the gateway nothing: that would be load."""
        if not workers:
            raise SystemDown("no worker serves: whoever is killed may be one", where=self.gateway.base_url)
        children = Path(f"/proc/{self.gateway.pid}/task/{self.gateway.pid}/children").read_text()
        return [pid for pid in map(int, children.split()) if pid not in workers]

    def weights(self, times: int) -> str:
        """Weight changes, at random."""
        random_pct = random.Random(7)
        took = [self.splits.set(*SCALED, random_pct.randrange(1, 100)) for _ in range(times)]
        return f"in force after {1000 * max(took):.0f} ms at most"

    def deploys(self, times: int) -> str:
        """A challenger to half the requests and back, and a champion replaced by the other and back."""
        champion, other = SCALED
        back = 0.0
        for _ in range(times):
            self.splits.set(champion, other, 50)
            back = max(back, self.splits.set(champion))
            self.splits.set(other)
            self.splits.set(champion)
        return f"rolled back after {1000 * back:.0f} ms at most"

    def hit(self, blow: signal.Signals, times: int) -> str:
        """Every worker's challenger killed or stopped at once, and the next time when all answer again."""
        self.splits.set(*SCALED, 50)
        workers = self.serving()
        for _ in range(times):
            for pid in self.challengers(workers):
                os.kill(pid, blow)
            time.sleep(1.5)
        self.splits.set(SCALED[0])
        return ""

    def kill_worker(self, times: int) -> str:
        """One of the workers, killed; the next when another has its place."""
        longest = 0.0
        for _ in range(times):
            victim = self.serving()[0]
            began = time.perf_counter()
            os.kill(victim, signal.SIGKILL)
            _until(lambda victim=victim: victim not in (now := self.serving()) and len(now) >= 2)  # type: ignore[misc]
            longest = max(longest, time.perf_counter() - began)
        return f"replaced after {longest:.1f} s, {self.gateway.metrics()[_LOST]:.0f} rows of the log lost"

    def kill_all(self) -> str:
        """The whole gateway killed, and started again as its supervisor would."""
        port = int(self.gateway.base_url.rpartition(":")[2])
        operations = self.splits.systems.home / "operations.yaml"
        began = time.perf_counter()
        os.kill(self.gateway.pid, signal.SIGKILL)
        self.gateway.stop()
        self.gateway = GatewayProcess(operations, MODEL, port=port).start()
        back = time.perf_counter() - began
        return f"back after {back:.1f} s, {self.gateway.metrics()[_LOST]:.0f} rows of the log lost"

    def steady(self, seconds: float) -> str:
        """Nothing happens."""
        time.sleep(seconds)
        return ""

    def dying(self, seconds: float) -> str:
        """The challenger's processes, killed every five seconds."""
        workers, end = self.serving(), time.monotonic() + seconds
        while time.monotonic() < end:
            for pid in self.challengers(workers):
                os.kill(pid, signal.SIGKILL)
            time.sleep(5.0)
        return ""

    def scale(self) -> str:
        """From two instances to ten, by the load."""
        began = time.perf_counter()
        _until(lambda: len(self.serving()) == 10)
        return f"ten after {time.perf_counter() - began:.1f} s"

    def shrink(self) -> str:
        """From ten instances to two, by the load."""
        began = time.perf_counter()
        _until(lambda: len(self.serving()) == 2)
        return f"two after {time.perf_counter() - began:.1f} s"


def _until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise SystemDown(f"did not come about in {PATIENCE:g} s", where="live_events")
        time.sleep(0.05)


def main(arguments: Sequence[str]) -> None:
    """Prints one line a kind of event, as soon as it is measured."""
    parser = argparse.ArgumentParser(prog="live_events", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few of each event, in a minute")
    parser.add_argument("--only", default="", metavar="TEXT", help="the events whose names have this in them")
    parser.add_argument("--rate", type=float, default=500.0, metavar="N", help="requests a second offered")
    options = parser.parse_args(arguments)
    weights, deploys, hits, kills, seconds = (40, 5, 2, 2, 5) if options.quick else (10_000, 100, 10, 5, 30)
    with tempfile.TemporaryDirectory() as folder, registered(Path(folder), STEADY) as systems:
        slow(systems)
        home, splits = Path(folder), Splits(systems)
        splits.set(SCALED[0])
        bench = Bench(GatewayProcess(home / "operations.yaml", MODEL).start(), splits, options.rate)

        def follow() -> None:
            bench.gateway.stop()
            declare(home, FOLLOWING)
            bench.gateway = GatewayProcess(home / "operations.yaml", MODEL).start()

        events: list[tuple[str, Callable[[], str]]] = [
            ("nothing", lambda: bench.steady(seconds)),
            ("shadow of a challenger of 500 ms", lambda: bench.steady(seconds)),
            ("shadow of a challenger that dies", lambda: bench.dying(seconds)),
            (f"{weights:,} weight changes", lambda: bench.weights(weights)),
            (f"{deploys} deploys, rollbacks, promotions", lambda: bench.deploys(deploys)),
            (f"challengers killed, {hits} times", lambda: bench.hit(signal.SIGKILL, hits)),
            (f"challengers hung, {hits} times", lambda: bench.hit(signal.SIGSTOP, hits)),
            (f"a worker killed, {kills} times", lambda: bench.kill_worker(kills)),
            ("the gateway killed", bench.kill_all),
            ("2 to 10 instances", bench.scale),
            ("10 to 2 instances", bench.shrink),
        ]
        shadows = {"shadow of a challenger of 500 ms": SLOW, "shadow of a challenger that dies": SCALED[1]}
        _head()
        try:
            _until(lambda: len(bench.serving()) == 2)
            for event, change in events:
                if options.only in event:
                    if event.startswith("2 to"):
                        follow()
                    with uncollected():
                        bench.run(event, change, 40.0 if event.startswith("10 to") else None, shadows.get(event))
        finally:
            bench.gateway.stop()


def _head() -> None:
    print(
        f"{'event':<38}{'requests':>10}{'failed':>8}{'misrouted':>11}{'fallbacks':>11}{'p99 ms':>9}{'slowest ms':>12}",
        flush=True,
    )


def _show(row: Row) -> None:
    print(
        f"{row.event:<38}{row.requests:>10,}{row.failed:>8}{row.misrouted:>11}{row.fallbacks:>11.0f}"
        f"{row.p99_ms:>9.1f}{row.slowest_ms:>12.0f}  {row.note}",
        flush=True,
    )
