"""Evidence rows: readable ids, chains, optimistic revisions, and an audit log that shows an edited row."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from policies.errors import InputError, SystemDown
from tools.systems.clock import VirtualClock
from tools.systems.store import Kind, StaleRevision, Store

NOW = datetime(2026, 1, 6)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = Store(store_url)
    yield opened
    opened.close()


def test_ids_are_readable_and_count_by_kind(store: Store) -> None:
    ids = [store.add(kind, "M", {}, at=NOW).id for kind in (Kind.drift_report, Kind.gate, Kind.drift_report)]
    assert ids == ["drift-1", "gate-1", "drift-2"]


def test_a_chain_walks_from_effect_to_cause(store: Store) -> None:
    report = store.add(Kind.drift_report, "M", {}, at=NOW)
    run = store.add(Kind.training_run, "M", {}, at=NOW, rests_on=report.id)
    gate = store.add(Kind.gate, "M", {}, at=NOW, rests_on=run.id)
    assert [row.id for row in store.chain(gate.id)] == ["gate-1", "train-1", "drift-1"]


def test_an_unknown_id_says_what_ids_look_like(store: Store) -> None:
    with pytest.raises(InputError, match="rollout-2"):
        store.get("nothing")


def test_a_change_by_someone_else_is_noticed(store: Store) -> None:
    row = store.add(Kind.rollout, "M", {"stage": 0}, at=NOW, status="running")
    store.update(row.id, body={"stage": 1}, expected_revision=row.revision)
    with pytest.raises(StaleRevision):
        store.update(row.id, body={"stage": 2}, expected_revision=row.revision)
    assert store.get(row.id).body == {"stage": 1}


def test_lists_are_newest_first_and_filter(store: Store) -> None:
    for version, status in (("1", "passed"), ("2", "failed"), ("2", "passed")):
        store.add(Kind.gate, "M", {}, at=NOW, version=version, status=status)
    assert [row.id for row in store.list(Kind.gate, "M", version="2")] == ["gate-3", "gate-2"]
    newest = store.latest(Kind.gate, "M", status="failed")
    assert newest is not None
    assert newest.id == "gate-2"
    assert store.latest(Kind.gate, "Other") is None


def test_writers_at_once_lose_nothing(store_url: str) -> None:
    """The first of them makes the tables."""

    def work() -> None:
        mine = Store(store_url)
        for _ in range(20):
            mine.add(Kind.run, "M", {}, at=NOW)
        mine.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({row.id for row in Store(store_url).list(Kind.run)}) == 80


def test_an_edited_audit_row_shows(store: Store) -> None:
    for number in range(5):
        store.audit("someone", "act", {"number": number}, at=NOW)
    assert store.verify_audit() is None
    with store.writing() as session:
        session.execute(text("UPDATE audit SET detail = '{}' WHERE number = 3"))
    assert store.verify_audit() == 3


def test_a_removed_audit_row_shows(store: Store) -> None:
    for number in range(5):
        store.audit("someone", "act", {"number": number}, at=NOW)
    with store.writing() as session:
        session.execute(text("DELETE FROM audit WHERE number = 2"))
    assert store.verify_audit() == 2


def test_the_virtual_time_is_read_by_every_process_of_the_store(store: Store) -> None:
    VirtualClock(store).set(NOW)
    assert VirtualClock(Store(store.url)).now() == NOW


def test_a_store_that_cannot_be_opened_is_a_system_that_is_down(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("this is no database, and long enough to be sure of it " * 20)
    with pytest.raises(SystemDown, match="state store"):
        Store(f"sqlite:///{tmp_path}/state.db")


def test_a_new_file_can_be_opened_by_many_at_once(tmp_path: Path) -> None:
    """Each of them switches it to write-ahead logging, which SQLite refuses all but one of at once."""
    refused: list[Exception] = []

    def work(url: str) -> None:
        try:
            Store(url).close()
        except SystemDown as error:
            refused.append(error)

    for number in range(20):
        threads = [threading.Thread(target=work, args=[f"sqlite:///{tmp_path}/{number}.db"]) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert refused == []


def test_a_disk_that_is_full_is_a_system_that_is_down(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path}/state.db")
    with store.writing() as session:
        session.execute(text("PRAGMA max_page_count = 1"))
    with pytest.raises(SystemDown) as told:
        for _ in range(1_000):
            store.add(Kind.run, "M", {"text": "x" * 4_000}, at=NOW)
    assert str(told.value) == f"state store: {tmp_path}/state.db: database or disk is full"
