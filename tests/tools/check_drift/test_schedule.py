"""Monitors that are due: by their last report, and by rows that came."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from tests.tools.check_drift.world import NOW, World
from tools.check_drift.schedule import due_checks

CHECKS = [
    {"type": "data_drift", "method": "psi", "threshold": 0.2, "frequency": "daily"},
    {"type": "prediction_drift", "method": "ks", "threshold": 0.2, "frequency": "hourly"},
    {
        "type": "schema_drift", "method": "contract_validation", "expected_schema": "Rows",
        "frequency": "on_ingestion",
    },
]  # fmt: skip
ALL = ["data_drift psi", "prediction_drift ks", "schema_drift contract_validation"]


def test_a_monitor_is_due_by_its_frequencies_and_by_new_rows(tmp_path: Path) -> None:
    world = World(tmp_path, CHECKS)
    world.happen()
    assert due_checks(world.systems, "Drift", NOW) == ALL
    world.check()
    assert due_checks(world.systems, "Drift", NOW + timedelta(minutes=5)) == []
    assert due_checks(world.systems, "Drift", NOW + timedelta(minutes=61)) == ["prediction_drift ks"]
    world.write("features.live", world.rows(NOW, days=1).head(3), "new")
    assert due_checks(world.systems, "Drift", NOW + timedelta(minutes=5)) == ["schema_drift contract_validation"]
    assert due_checks(world.systems, "Drift", NOW + timedelta(days=1)) == ALL


def test_a_table_that_is_gone_is_due_to_be_reported(tmp_path: Path) -> None:
    world = World(tmp_path, [CHECKS[2]])
    assert due_checks(world.systems, "Drift", NOW) == ["schema_drift contract_validation"]
