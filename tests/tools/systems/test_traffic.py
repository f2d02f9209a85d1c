"""Traffic splits: numbered, in force until the next, acknowledged by every live worker."""

from __future__ import annotations

import threading
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from tools.systems.store import Kind, Store
from tools.systems.traffic import Splits

NOW = datetime(2026, 1, 6)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(f"sqlite:///{tmp_path}/state.db")


def test_every_change_has_a_higher_number_and_an_evidence_row(store: Store) -> None:
    traffic = Splits(store)
    first = traffic.set("M", "1", at=NOW, why="adopted", rests_on=None)
    second = traffic.set("M", "1", "2", 5, at=NOW, why="stage 1", rests_on="rollout-1")
    assert (first.number, second.number) == (1, 2)
    assert traffic.split("M") == second
    row = store.latest(Kind.traffic_change, "M")
    assert row is not None
    assert (row.rests_on, row.status, row.body["before"]["number"]) == ("rollout-1", "no_worker", 1)


def test_a_look_back_sees_the_split_of_that_time(store: Store) -> None:
    traffic = Splits(store)
    first = traffic.set("M", "1", at=NOW, why="adopted", rests_on=None)
    second = traffic.set("M", "2", at=NOW + timedelta(days=7), why="promoted", rests_on=None)
    assert traffic.split("M", NOW - timedelta(days=1)) is None
    assert traffic.split("M", NOW + timedelta(days=6)) == first
    assert traffic.split("M", NOW + timedelta(days=7)) == second


def test_the_split_in_force_is_not_written_again(store: Store) -> None:
    traffic = Splits(store)
    once = traffic.set("M", "1", "2", 5, at=NOW, why="stage 1", rests_on=None)
    assert traffic.set("M", "1", "2", 5, at=NOW, why="again", rests_on=None) == once
    assert len(store.list(Kind.traffic_change, "M")) == 1


def test_a_change_waits_for_every_live_worker(store: Store) -> None:
    traffic = Splits(store)
    traffic.heartbeat("w1", "M")
    traffic.heartbeat("w2", "M")

    def serve() -> None:
        time.sleep(0.1)
        traffic.acknowledge("w1", "M", 1)
        time.sleep(0.1)
        traffic.acknowledge("w2", "M", 1)

    thread = threading.Thread(target=serve)
    thread.start()
    before = time.monotonic()
    traffic.set("M", "1", at=NOW, why="adopted", rests_on=None)
    assert time.monotonic() - before >= 0.2
    thread.join()
    row = store.latest(Kind.traffic_change, "M")
    assert row is not None
    assert row.status == "acknowledged"


def test_a_worker_that_stays_silent_is_said(store: Store) -> None:
    traffic = Splits(store)
    traffic.heartbeat("w1", "M")
    traffic.set("M", "1", at=NOW, why="adopted", rests_on=None, wait_seconds=0.1)
    row = store.latest(Kind.traffic_change, "M")
    assert row is not None
    assert row.status == "unacknowledged"
    traffic.leave("w1")
    assert traffic.live_workers("M") == {}
