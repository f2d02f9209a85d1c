"""HAProxy of the distribution's before two machines."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from policies.declarations.routing import HAProxyRouting
from tests.tools.systems.routing.running import free_port, machine, program
from tools.systems.routing.haproxy import HAProxyTraffic, configuration
from tools.systems.store import Store
from tools.systems.traffic import Splits

NOW = datetime(2026, 1, 6)
MODEL = "ChurnModel"


@dataclass
class Lab:
    """A running HAProxy before two machines: `blue` serves 1, `green` serves 2."""

    port: int
    traffic: Splits
    adapter: HAProxyTraffic
    store: Store
    green: subprocess.Popen[str]

    def ask(self, id: str, connection: http.client.HTTPConnection | None = None) -> tuple[int, dict[str, str]]:
        link = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        link.request("POST", "/v1/churn/predict", json.dumps({"id": id, "features": {"a": 1}}))
        answer = link.getresponse()
        body = answer.read()
        if connection is None:
            link.close()
        return answer.status, json.loads(body) if answer.status == 200 else {}

    def split(self, challenger_pct: float, salt: str = "") -> None:
        self.traffic.set(MODEL, "1", "2", challenger_pct, salt=salt, at=NOW, why="test", rests_on=None)


@contextmanager
def lab(folder: Path, socket: str, deadline_ms: int = 100) -> Iterator[Lab]:
    port, map_file = free_port(), folder / "guardian.map"
    map_file.write_text(f"{MODEL} blue:green:0:::\n")
    with machine("1") as (_, blue), machine("2") as (process, green):
        declared = HAProxyRouting(
            type="haproxy",
            socket=socket,
            map=str(map_file),
            blue=[f"127.0.0.1:{blue}"],
            green=[f"127.0.0.1:{green}"],
            deadline_ms=deadline_ms,
        )
        (folder / "haproxy.cfg").write_text(configuration(MODEL, declared, f"127.0.0.1:{port}"))
        adapter = HAProxyTraffic(MODEL, declared)
        with program("haproxy", "haproxy", ["-db", "-f", str(folder / "haproxy.cfg")], adapter.reachable):
            store = Store(f"sqlite:///{folder}/state.db")
            yield Lab(port, Splits(store, {MODEL: adapter}), adapter, store, process)
            store.close()
