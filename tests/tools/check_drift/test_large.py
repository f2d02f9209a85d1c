"""A window and a baseline too large to be read: all rows are counted, and a sample stands for them elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.tools.check_drift.test_malformed import CHECKS, SCHEMA
from tests.tools.check_drift.world import BASE, World
from tools.check_drift import large
from tools.check_drift.result import DriftReport
from tools.systems.warehouse import Warehouse

MORE: list[dict[str, Any]] = [
    *CHECKS,
    {"type": "feature_drift", "method": "correlation", "threshold": 0.2},
]


def test_rows_without_an_id_are_sampled_by_their_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "MOST_ROWS", 1_000)
    world = World(tmp_path, CHECKS)
    rows = world.rows(BASE)
    world.write("features.live", rows.assign(id=rows["id"].where(rows["id"] % 2 == 0).astype("Int64")))
    where, params = large.sampled(world.systems.warehouse, "features.live", ["id", "at"], None, {})
    taken = world.systems.warehouse.read("features.live", where=where, params=params)
    share = 1_000 / len(rows)
    held = taken["id"].null_count / taken.num_rows
    assert taken.num_rows / len(rows) == pytest.approx(share, rel=0.15)
    assert held == pytest.approx(0.5, abs=0.06)


def report(home: Path, drifted: bool) -> DriftReport:
    home.mkdir()
    world = World(home, MORE, schema=SCHEMA)
    rows, live = world.rows(BASE), world.live()
    if drifted:
        live = live.assign(x=np.where(np.arange(len(live)) % 3, live["x"] + 1, np.nan), kind="c")
    world.write("features.baseline", rows)
    world.write("features.live", live)
    for name, of in (("baseline", rows), ("live", live)):
        world.write("labels.y", world.labels(of.fillna({"x": 0.0})), name)
    return world.check()


@pytest.mark.parametrize("drifted", [False, True])
def test_a_large_table_is_judged_as_a_small_one(tmp_path: Path, drifted: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    small = report(tmp_path / "small", drifted)
    monkeypatch.setattr(large, "MOST_ROWS", 2_000)
    read: list[int] = []
    plain = Warehouse.read

    def counting(self: Warehouse, table: str, *args: Any, **options: Any) -> Any:
        found = plain(self, table, *args, **options)
        if table == "features.live":
            read.append(found.num_rows)
        return found

    monkeypatch.setattr(Warehouse, "read", counting)
    sampled = report(tmp_path / "large", drifted)
    assert sampled.window.rows == small.window.rows > 4_000
    assert max(read) < 2_300, "rows of the window that were read at once"
    assert (sampled.status, sampled.severity, sampled.drift_detected) == (
        small.status, small.severity, small.drift_detected,
    )  # fmt: skip
    for one, other in zip(small.checks, sampled.checks, strict=True):
        assert (one.type, one.method, one.subject, one.severity) == (
            other.type, other.method, other.subject, other.severity,
        )  # fmt: skip
        if one.type in ("data_drift", "schema_drift") or (one.type == "feature_drift" and one.method != "correlation"):
            assert one.value == pytest.approx(other.value, abs=1e-12)
            assert one.detail == other.detail


def test_a_sample_is_of_whole_ids_and_the_same_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "MOST_ROWS", 1_000)
    world = World(tmp_path, MORE, schema=SCHEMA)
    frame = pd.DataFrame({"id": np.repeat(np.arange(2_500), 4), "v": 1.0})
    world.write("t.rows", frame)
    warehouse = world.systems.warehouse
    where, params = large.sampled(warehouse, "t.rows", ["id"], '"v" > $least OR "v" < $least', {"least": 0})
    once, again = (warehouse.read("t.rows", None, where, params).to_pandas() for _ in range(2))
    assert once.equals(again)
    assert set(once.groupby("id").size()) == {4}
    assert 800 < len(once) < 1_200
    assert large.sampled(warehouse, "t.rows", ["none"], None, {}) == (None, {})
