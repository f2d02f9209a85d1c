"""From a user's table to a successor in rollout, for numbers and several classes: `init`, then the nightly triage."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from policies.declarations import load
from tests.tools.onboarding.tables import guardian, written
from tools.systems.clock import VirtualClock
from tools.systems.store import Kind
from tools.systems.systems import Systems
from tools.systems.warehouse import Warehouse

Capture = pytest.CaptureFixture[str]
A_DAY, DAYS, CHANGED_ON, UNTIL = 300, 40, 42, 76
NO_LAG = pd.Timedelta(0)
START = pd.Timestamp.now("UTC").tz_localize(None).normalize() - pd.Timedelta(days=UNTIL)
"""The champion serves from today on, and what is found in earlier nights would be its predecessor's."""


def _parcels(first: int, last: int, task: str, start: pd.Timestamp = START) -> pd.DataFrame:
    """Days [first, last) of parcels; from CHANGED_ON on they are farther off, and distance decides."""
    random = np.random.default_rng(first)
    rows = (last - first) * A_DAY
    at = pd.date_range(start + pd.Timedelta(days=first), periods=rows, freq=pd.Timedelta(days=1) / A_DAY, unit="us")
    changed = at.to_numpy() >= (start + pd.Timedelta(days=CHANGED_ON)).to_numpy()
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

    _arrive(binding.table, binding.labels.table, _parcels(DAYS, UNTIL, task))
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


def test_a_first_look_eight_weeks_after_the_change_learns_from_what_came_since(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    start = START + pd.Timedelta(days=UNTIL - CHANGED_ON - 56)
    data = written(_parcels(0, DAYS, "regression", start), tmp_path, "parcels.parquet")
    guardian(capsys, "init", "--json", "--data", str(data), "--target", "outcome")
    monkeypatch.chdir(tmp_path / "parcels")
    binding = load(Path("operations.yaml")).models["Parcels"]
    _arrive(binding.table, binding.labels.table, _parcels(DAYS, CHANGED_ON + 56, "regression", start))
    text = Path("operations.yaml").read_text()
    Path("operations.yaml").write_text(re.sub(r"holdout: \{latest: \d+d", "holdout: {latest: 28d", text))
    (model,) = guardian(capsys, "triage", "--planner", "runbook", "--json").json["models"]
    with closing(Systems.open(Path("operations.yaml"))) as systems:
        trained = systems.store.latest(Kind.training_run, "Parcels")
        judged = systems.store.latest(Kind.evaluation, "Parcels")
    assert trained is not None and judged is not None, model
    assert judged.status == "challenger_wins"
    window = trained.body["data_window"]
    assert pd.Timestamp(window["changed_at"]) == start + pd.Timedelta(days=CHANGED_ON)
    assert window["new_rows"] == 28 * A_DAY


def _arrive(table: str, labels: str, rows: pd.DataFrame, name: str = "new", lag: pd.Timedelta = NO_LAG) -> None:
    """New rows and, `lag` later, their labels, as a user's own job writes them."""
    systems = Systems.open(Path("operations.yaml"))
    try:
        warehouse = systems.warehouse
        assert isinstance(warehouse, Warehouse)
        features = rows.drop(columns=["outcome"])
        warehouse.append(table, pa.Table.from_pandas(features, preserve_index=False), name)
        arrived = systems.operations.models["Parcels"].labels.arrived
        told = rows[["parcel_id", "created_at", "outcome"]].assign(**{arrived: rows["created_at"] + lag})
        warehouse.append(labels, pa.Table.from_pandas(told, preserve_index=False).select(
            warehouse.read(labels).schema.names), name)  # fmt: skip
    finally:
        systems.close()


def test_labels_two_weeks_late_neither_empty_the_holdout_nor_stop_the_learning(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weeks go by after `init`: each brings rows, and the labels of those two weeks before."""
    monkeypatch.chdir(tmp_path)
    lag, until = pd.Timedelta(days=14), START + pd.Timedelta(days=UNTIL)
    start = until - pd.Timedelta(days=DAYS)  # the world changes two days after the file was written
    file = _parcels(0, DAYS, "multiclass", start).assign(told=lambda rows: rows["created_at"] + lag)
    file.loc[file["told"] > until, ["outcome", "told"]] = None
    data = written(file, tmp_path, "parcels.parquet")
    guardian(capsys, "init", "--json", "--data", str(data), "--target", "outcome", "--label-time", "told")
    monkeypatch.chdir(tmp_path / "parcels")
    text = Path("operations.yaml").read_text()
    Path("operations.yaml").write_text(text.replace("\nsystems:\n", "\nsystems:\n  clock: virtual\n"))
    assert "holdout: {latest: 6d, min_rows: " in text and "label_delay: 14d}" in text
    binding = load(Path("operations.yaml")).models["Parcels"]
    for week in range(1, 6):
        first, last = DAYS + 7 * (week - 1), DAYS + 7 * week
        _arrive(binding.table, binding.labels.table, _parcels(first, last, "multiclass", start), f"week-{week}", lag)
        with closing(Systems.open(Path("operations.yaml"))) as systems:
            assert isinstance(systems.clock, VirtualClock)
            systems.clock.set((start + pd.Timedelta(days=last)).to_pydatetime())
        guardian(capsys, "triage", "--planner", "runbook", "--json")
    with closing(Systems.open(Path("operations.yaml"))) as systems:
        runs = systems.store.list(Kind.training_run, "Parcels")[::-1]
        judged = systems.store.list(Kind.evaluation, "Parcels")[::-1]
        gates = systems.store.list(Kind.gate, "Parcels")[::-1]
        rollout = systems.store.latest(Kind.rollout, "Parcels")
    windows = [run.body["data_window"] for run in runs]
    # Newer rows each time, up to the six days whose labels came last, 14 days after their rows.
    assert [pd.Timestamp(each["end"]) - start for each in windows[1:]] == [pd.Timedelta(days=48), pd.Timedelta(days=55)]
    assert all(
        each["end"] <= judgement.body["holdout"]["start"] for each, judgement in zip(windows[1:], judged, strict=True)
    )
    assert [judgement.body["holdout"]["rows"] for judgement in judged] == [6 * A_DAY] * 2
    for gate in gates:
        checks = {each["name"]: each for each in gate.body["checks"]}
        assert (checks["holdout_rows"]["verdict"], checks["no_overlap"]["verdict"]) == ("passed", "passed")
        assert "0 rows in common" in checks["no_overlap"]["detail"]
    assert (gates[-1].status, rollout is not None and rollout.version) == ("passed", "3")
