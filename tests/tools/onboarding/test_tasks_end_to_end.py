"""From a user's table to a successor in rollout, for numbers and several classes: `init`, then the nightly triage."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from policies.declarations import load
from tests.tools.onboarding.tables import guardian, written
from tools.systems.store import Kind
from tools.systems.systems import Systems
from tools.systems.warehouse import Warehouse

Capture = pytest.CaptureFixture[str]
A_DAY, DAYS, CHANGED_ON, UNTIL = 300, 40, 42, 76
START = pd.Timestamp.now("UTC").tz_localize(None).normalize() - pd.Timedelta(days=UNTIL)
"""The champion serves from today on, and what is found in earlier nights would be its predecessor's."""


def _parcels(first: int, last: int, task: str) -> pd.DataFrame:
    """Days [first, last) of parcels; from CHANGED_ON on they are farther off, and distance decides."""
    random = np.random.default_rng(first)
    rows = (last - first) * A_DAY
    at = pd.date_range(START + pd.Timedelta(days=first), periods=rows, freq=pd.Timedelta(days=1) / A_DAY, unit="us")
    changed = at.to_numpy() >= (START + pd.Timedelta(days=CHANGED_ON)).to_numpy()
    weight, distance = random.normal(size=rows), random.normal(size=rows) + changed
    signal = np.where(changed, 2.0 * distance, 2.0 * weight)
    noise = random.normal(size=rows) / 2
    classes = np.array(["slow", "usual", "fast"])[np.digitize(signal + noise, [-1.0, 1.5])]
    hours = 20.0 + 5.0 * (signal + noise)
    return pd.DataFrame(
        {
            "parcel_id": first * A_DAY + np.arange(rows),
            "created_at": at,
            "weight": weight,
            "distance": distance,
            "region": random.choice(["north", "south"], rows),
            "outcome": hours if task == "regression" else classes,
        }
    )


@pytest.mark.parametrize("task", ["regression", "multiclass"])
def test_a_drifted_table_is_retrained_evaluated_gated_and_deployed(
    task: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = written(_parcels(0, DAYS, task), tmp_path, "parcels.parquet")
    made = guardian(capsys, "init", "--json", "--data", str(data), "--target", "outcome").json
    assert made["task"] == task
    monkeypatch.chdir(tmp_path / "parcels")
    assert guardian(capsys, "validate").code == 0
    operations = load(Path("operations.yaml"))
    binding = operations.models["Parcels"]
    assert operations.pipeline_of("Parcels") == "ParcelsRetrain"

    _arrive(binding.table, binding.labels.table, binding.holdout, _parcels(DAYS, UNTIL, task))
    night = guardian(capsys, "triage", "--planner", "runbook", "--json")
    (model,) = night.json["models"]
    systems = Systems.open(Path("operations.yaml"))
    try:
        store, name = systems.store, "Parcels"
        trained = store.latest(Kind.training_run, name)
        judged = store.latest(Kind.evaluation, name)
        gate = store.latest(Kind.gate, name)
        rollout = store.latest(Kind.rollout, name)
        assert trained is not None and judged is not None, model
        assert (trained.status, judged.status) == ("completed", "challenger_wins"), judged.body
        assert gate is not None
        assert gate.status == "passed", [each for each in gate.body["checks"] if each["verdict"] != "passed"]
        assert rollout is not None, model
        assert (rollout.version, rollout.status) == ("2", "running")
        split = systems.traffic.split(name)
        assert split is not None
        assert (split.champion, split.challenger, split.challenger_pct) == ("1", "2", 10.0)
    finally:
        systems.close()
    assert guardian(capsys, "status").code == 0
    assert guardian(capsys, "why", "Parcels").code == 0


def _arrive(table: str, labels: str, holdout: str, rows: pd.DataFrame) -> None:
    """New rows, their labels, and a new holdout of the last week of them, as a user's own job writes them."""
    systems = Systems.open(Path("operations.yaml"))
    try:
        warehouse = systems.warehouse
        assert isinstance(warehouse, Warehouse)
        known = warehouse.read(holdout)
        features = rows.drop(columns=["outcome"])
        warehouse.append(table, pa.Table.from_pandas(features, preserve_index=False), "new")
        arrived = systems.operations.models["Parcels"].labels.arrived
        told = rows[["parcel_id", "created_at", "outcome"]].assign(**{arrived: rows["created_at"]})
        warehouse.append(labels, pa.Table.from_pandas(told, preserve_index=False).select(
            warehouse.read(labels).schema.names), "new")  # fmt: skip
        late = rows[rows["created_at"] >= rows["created_at"].max() - pd.Timedelta(days=7)]
        (old,) = [path.stem for path in warehouse.folder(holdout).glob("*.parquet")]
        fresh = pa.Table.from_pandas(late, preserve_index=False).select(known.schema.names).cast(known.schema)
        warehouse.append(holdout, fresh, old)
    finally:
        systems.close()
