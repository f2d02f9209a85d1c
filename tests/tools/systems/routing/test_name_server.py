"""Blue-green by a real name server (Knot) on the loopback: signed updates, read back."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from policies.declarations.deployment import BlueGreen, Canary
from policies.declarations.routing import NameServerRouting, Routing
from policies.errors import InputError, SystemDown
from policies.routing import unroutable
from tests.tools.systems.routing.running import free_port, machine, program
from tools.systems.routing.name_server import KEY, NameServerTraffic
from tools.systems.store import Kind, Store
from tools.systems.traffic import Splits

NOW = datetime(2026, 1, 6)
MODEL = "ChurnModel"
SECRET = base64.b64encode(b"k" * 32).decode()
CONFIGURATION = """
server:
    listen: 127.0.0.1@{port}
    rundir: "{folder}"
database:
    storage: "{folder}"
key:
  - id: guardian.
    algorithm: hmac-sha256
    secret: {secret}
acl:
  - id: guardian
    key: guardian.
    action: update
zone:
  - domain: example.com.
    storage: "{folder}"
    file: zone
    acl: guardian
"""
ZONE = """$ORIGIN example.com.
@ 3600 SOA ns admin 1 3600 600 86400 60
@ 3600 NS ns
ns 3600 A 127.0.0.1
churn 5 A 127.0.0.1
"""


@dataclass
class Lab:
    """`blue` is 127.0.0.1 and serves 1, `green` is 127.0.0.2 and serves 2."""

    traffic: Splits
    adapter: NameServerTraffic
    store: Store

    def looked_up(self) -> list[str]:
        return self.adapter._look_up("churn.example.com.", "A")


def declared(server: int, port: int) -> NameServerRouting:
    return NameServerRouting(
        type="dns",
        server=f"127.0.0.1:{server}",
        zone="example.com",
        record="churn.example.com",
        blue="127.0.0.1",
        green="127.0.0.2",
        port=port,
    )


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    monkeypatch.setenv(KEY, f"hmac-sha256:guardian.:{SECRET}")
    server = free_port()
    (tmp_path / "knot.conf").write_text(CONFIGURATION.format(port=server, folder=tmp_path, secret=SECRET))
    (tmp_path / "zone").write_text(ZONE)
    with machine("1", "127.0.0.1") as (_, port), machine("2", "127.0.0.2", port):
        adapter = NameServerTraffic(declared(server, port))
        with program("knotd", "knot", ["-c", str(tmp_path / "knot.conf")], adapter.reachable):
            store = Store(f"sqlite:///{tmp_path}/state.db")
            yield Lab(Splits(store, {MODEL: adapter}), adapter, store)
            store.close()


def test_the_name_moves_to_the_other_environment_and_back(running: Lab) -> None:
    traffic = running.traffic
    traffic.set(MODEL, "1", at=NOW, why="adopted", rests_on=None)
    traffic.set(MODEL, "1", "2", 0, mirrored=True, at=NOW, why="health", rests_on=None)
    assert running.looked_up() == ["127.0.0.1"]
    assert running.adapter.health("2") == (44, 0)
    traffic.set(MODEL, "1", "2", 100, at=NOW, why="switch", rests_on=None)
    assert running.looked_up() == ["127.0.0.2"]
    row = running.store.latest(Kind.traffic_change, MODEL)
    assert row is not None
    assert row.status == "acknowledged"
    traffic.set(MODEL, "1", at=NOW, why="rolled back", rests_on=None)
    assert running.looked_up() == ["127.0.0.1"]
    traffic.set(MODEL, "2", at=NOW, why="promoted", rests_on=None)
    assert (running.looked_up(), running.adapter.reachable()[-9:]) == (["127.0.0.2"], "127.0.0.2")


def test_a_change_by_somebody_else_is_put_right(running: Lab) -> None:
    running.traffic.set(MODEL, "1", at=NOW, why="adopted", rests_on=None)
    running.adapter._update("127.0.0.2", {"blue": "1", "green": "2"})
    running.traffic.restore(MODEL, at=NOW)
    assert running.looked_up() == ["127.0.0.1"]


def test_what_is_refused_is_not_recorded(running: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    running.traffic.set(MODEL, "1", at=NOW, why="adopted", rests_on=None)
    before = running.traffic.split(MODEL)
    with pytest.raises(InputError, match="no share of 5%, only all or nothing"):
        running.traffic.set(MODEL, "1", "2", 5, at=NOW, why="stage", rests_on=None)
    with pytest.raises(InputError, match="no pool serves version 3"):
        running.traffic.set(MODEL, "1", "3", 100, at=NOW, why="switch", rests_on=None)
    wrong = base64.b64encode(b"x" * 32).decode()
    for key in (f"hmac-sha256:guardian.:{wrong}", f"hmac-sha256:other.:{SECRET}"):
        monkeypatch.setenv(KEY, key)
        with pytest.raises(InputError, match="GUARDIAN_DNS_KEY") as told:
            running.traffic.set(MODEL, "1", "2", 100, at=NOW, why="switch", rests_on=None)
        assert SECRET not in str(told.value)
    monkeypatch.delenv(KEY)
    with pytest.raises(InputError, match="not set to ALGORITHM:NAME:SECRET"):
        running.traffic.set(MODEL, "1", "2", 100, at=NOW, why="switch", rests_on=None)
    assert running.traffic.split(MODEL) == before


def test_a_name_server_that_is_down_acknowledges_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KEY, f"hmac-sha256:guardian.:{SECRET}")
    with pytest.raises(SystemDown, match=r"name server 127\.0\.0\.1:\d+: does not answer"):
        NameServerTraffic(declared(free_port(), 80)).reachable()


def test_only_a_blue_green_that_outlasts_the_ttl_can_be_carried_out_by_name() -> None:
    blue_green = {
        "type": "blue_green",
        "environments": {"blue": {"endpoint": "/a", "model": "v3"}, "green": {"endpoint": "/b", "model": "v4"}},
        "switch": {"method": "dns", "health_check_seconds": 30, "rollback_timeout_seconds": 3},
    }
    stage = {"traffic_pct": 100, "duration": "stable", "gate": "none"}
    canary = Canary.model_validate({"type": "canary", "stages": [stage]})
    routing = declared(53, 80)
    (ttl,) = unroutable("BG", BlueGreen.model_validate(blue_green), routing)
    assert "rollback_timeout_seconds is 3" in ttl
    (shares,) = unroutable("Canary", canary, routing)
    assert "deploy by a blue_green with switch.method: dns" in shares
    with pytest.raises(ValidationError, match="is not an IP address"):
        TypeAdapter(Routing).validate_python({**routing.model_dump(), "blue": "blue.example.com"})
