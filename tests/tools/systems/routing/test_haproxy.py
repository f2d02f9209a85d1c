"""HAProxy of the distribution's, under load: weights move, a challenger dies or hangs, nothing fails."""

from __future__ import annotations

import http.client
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from pydantic import TypeAdapter, ValidationError

from policies.declarations.routing import Routing
from policies.errors import InputError, SystemDown
from tests.tools.systems.routing.lab import MODEL, NOW, Lab, lab
from tests.tools.systems.routing.running import free_port
from tools.systems.store import Kind, Store
from tools.systems.traffic import Splits

CHANGES = 400


def xxh32(data: bytes) -> int:
    """The hash as published (https://github.com/Cyan4973/xxHash), for inputs below 16 bytes and above, seed 0."""
    one, two, three, four, five, mask = 2654435761, 2246822519, 3266489917, 668265263, 374761393, 2**32 - 1

    def turned(value: int, bits: int) -> int:
        return ((value << bits) | (value >> (32 - bits))) & mask

    at = 0
    if len(data) >= 16:
        lanes = [(one + two) & mask, two, 0, (-one) & mask]
        while at + 16 <= len(data):
            for lane in range(4):
                word = int.from_bytes(data[at : at + 4], "little")
                lanes[lane] = turned((lanes[lane] + word * two) & mask, 13) * one & mask
                at += 4
        digest = sum(turned(lane, bits) for lane, bits in zip(lanes, (1, 7, 12, 18), strict=True)) & mask
    else:
        digest = five
    digest = (digest + len(data)) & mask
    while at + 4 <= len(data):
        digest = turned((digest + int.from_bytes(data[at : at + 4], "little") * three) & mask, 17) * four & mask
        at += 4
    for byte in data[at:]:
        digest = turned((digest + byte * five) & mask, 11) * one & mask
    for shift, prime in ((15, two), (13, three)):
        digest = (digest ^ (digest >> shift)) * prime & mask
    return digest ^ (digest >> 16)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Lab]:
    with lab(tmp_path, str(tmp_path / "haproxy.sock")) as made:
        yield made


@dataclass
class Load:
    """Threads that ask without a break; each answer with when it was asked and when it came."""

    lab: Lab
    answers: list[tuple[float, float, str, int, str]] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Load:
        self._threads = [threading.Thread(target=self._ask, args=(n,)) for n in range(4)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, who: int) -> None:
        link, number = http.client.HTTPConnection("127.0.0.1", self.lab.port, timeout=5), 0
        while not self.over.is_set():
            id, sent = f"{who}-{number % 50}", time.monotonic()
            try:
                status, body = self.lab.ask(id, link)
            except (OSError, http.client.HTTPException):
                link.close()
                status, body = 0, {}
            self.answers.append((sent, time.monotonic(), id, status, body.get("version", "")))
            number += 1
        link.close()


def bucket(id: str, salt: str = "") -> int:
    return xxh32(f"{MODEL}:{salt}:{id}".encode()) % 10_000


def test_hundreds_of_weight_changes_under_load_fail_and_misroute_nothing(tmp_path: Path) -> None:
    # A busy machine's challenger misses a short deadline, and its answers are the champion's: not what is asked here.
    with lab(tmp_path, str(tmp_path / "haproxy.sock"), deadline_ms=4_000) as running:
        running.split(0)
        changes = [(time.monotonic(), time.monotonic(), 0)]
        with Load(running) as load:
            for n in range(1, CHANGES + 1):
                began = time.monotonic()
                running.split(n * 100 / CHANGES)
                changes.append((began, time.monotonic(), round(n * 10_000 / CHANGES)))
                time.sleep(0.005)
            began = time.monotonic()
            running.traffic.set(MODEL, "1", at=NOW, why="rolled back", rests_on=None)
            back = time.monotonic()
            time.sleep(0.3)
    assert [each for each in load.answers if each[3] != 200] == []
    assert len(load.answers) > 1_000
    late = [each for each in load.answers if each[0] > back]
    assert len(late) > 20
    assert {each[4] for each in late} == {"1"}, "a request reached the challenger after the acknowledgement"
    wrong, seen = 0, dict[str, str]()
    for sent, came, id, _, version in sorted(load.answers):
        if came >= began:
            continue
        least = max(each[2] for each in changes if each[1] <= sent)
        most = max(each[2] for each in changes if each[0] <= came)
        allowed = {"2" if bucket(id) < least else "1", "2" if bucket(id) < most else "1"}
        wrong += version not in allowed
        assert (seen.get(id), version) != ("2", "1"), f"{id} moved back while the weights rose"
        seen[id] = version
    assert wrong == 0
    print(f"{CHANGES} changes, {len(load.answers)} requests, 0 failed, {wrong} misrouted")


def test_ids_are_shared_out_evenly_and_anew_by_each_experiments_salt(running: Lab) -> None:
    arms = {}
    link = http.client.HTTPConnection("127.0.0.1", running.port, timeout=5)
    for salt in ("", "exp1"):
        running.split(50, salt)
        arms[salt] = [running.ask(str(n), link)[1]["version"] == "2" for n in range(1_000)]
        assert arms[salt] == [bucket(str(n), salt) < 5_000 for n in range(1_000)]
        assert abs(sum(arms[salt]) - 500) < 3 * 15.9
    link.close()
    assert 400 < sum(a == b for a, b in zip(*arms.values(), strict=True)) < 600


@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGSTOP])
def test_what_a_dead_or_hanging_challenger_does_not_answer_the_champion_does(running: Lab, signal_: int) -> None:
    running.split(50)
    with Load(running) as load:
        time.sleep(0.3)
        os.kill(running.green.pid, signal_)
        time.sleep(1.5)
    assert [each for each in load.answers if each[3] != 200] == []
    assert {each[4] for each in load.answers[:50]} == {"1", "2"}
    assert {each[4] for each in load.answers[-20:]} == {"1"}
    assert max(came - sent for sent, came, *_ in load.answers) < 1.0


def test_the_pools_change_roles_and_a_restart_is_noticed(running: Lab) -> None:
    running.split(25)
    running.traffic.set(MODEL, "2", at=NOW, why="promoted", rests_on=None)
    assert {running.ask(str(n))[1]["version"] for n in range(20)} == {"2"}
    assert running.adapter.health("1") == (44, 0)
    running.adapter._ask(f"set map {running.adapter._declared.map} {MODEL} blue:green:0:::")  # as the file says
    split = running.traffic.split(MODEL)
    running.traffic.set(MODEL, "2", at=NOW, why="reconciled", rests_on=None)
    assert {running.ask(str(n))[1]["version"] for n in range(20)} == {"2"}
    assert split is not None
    row = running.store.latest(Kind.traffic_change, MODEL)
    assert row is not None
    assert "something else was in force" in row.body["why"]
    running.traffic.set(MODEL, "1", at=NOW, why="back to the previous", rests_on=None)
    assert {running.ask(str(n))[1]["version"] for n in range(20)} == {"1"}


def test_over_loopback_tcp_what_is_not_served_or_not_acknowledged_is_not_recorded(tmp_path: Path) -> None:
    with lab(tmp_path, f"127.0.0.1:{free_port()}") as running:
        running.split(5)
        with pytest.raises(InputError, match=r"no pool serves version 3 .*blue: 1; green: 2"):
            running.traffic.set(MODEL, "1", "3", 5, at=NOW, why="test", rests_on=None)
        traffic, store = running.traffic, running.store
        before = traffic.split(MODEL)
    down = Splits(Store(f"sqlite:///{tmp_path}/state.db"), {MODEL: running.adapter})
    with pytest.raises(SystemDown, match="the runtime API does not answer"):
        down.set(MODEL, "1", "2", 50, at=NOW, why="test", rests_on=None)
    assert down.split(MODEL) == before
    assert store is running.store


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"socket": "10.0.0.9:9999"}, "must be a unix socket or on the loopback"),
        ({"blue": ["10.0.0.1"]}, "write HOST:PORT"),
        ({"map": "guardian.map"}, "pattern"),
    ],
)
def test_a_wrong_declaration_is_told(change: dict[str, object], says: str) -> None:
    body = {"type": "haproxy", "socket": "/run/h.sock", "map": "/m", "blue": ["a:1"], "green": ["b:1"], **change}
    with pytest.raises(ValidationError, match=says):
        TypeAdapter(Routing).validate_python(body)
