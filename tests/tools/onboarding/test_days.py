"""A time column of days (DATE, no TIMESTAMP) works wherever rows are read."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.tools.onboarding.tables import guardian, written
from tools.systems.store import Kind
from tools.systems.systems import Systems

Capture = pytest.CaptureFixture[str]
A_DAY, DAYS, CHANGED = 300, 80, 45


def _visits() -> pd.DataFrame:
    """Visits up to yesterday; from a day on, another cause decides."""
    random = np.random.default_rng(4)
    n = A_DAY * DAYS
    today = pd.Timestamp.now("UTC").tz_localize(None).normalize()
    changed = np.arange(n) >= CHANGED * A_DAY
    near, far = random.normal(size=n), random.normal(size=n) + changed
    return pd.DataFrame(
        {
            "visit_id": np.arange(n),
            "day": today - pd.to_timedelta(DAYS - np.arange(n) // A_DAY, unit="D"),
            "near": near,
            "far": far,
            "minutes": 20 + 10 * np.where(changed, far, near) + random.normal(size=n),
        }
    )


def _as_days(folder: Path) -> None:
    """Every column `day` of the folder's tables as dates."""
    for file in folder.rglob("*.parquet"):
        table = pq.read_table(file)
        if "day" in table.schema.names:
            place = table.schema.get_field_index("day")
            pq.write_table(table.set_column(place, "day", table["day"].cast(pa.date32())), file)


def test_a_time_column_of_days_is_checked_learned_and_judged(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    visits = _visits()
    data = written(visits[: 42 * A_DAY], tmp_path, "visits.parquet")
    guardian(capsys, "init", "--data", str(data), "--target", "minutes")
    monkeypatch.chdir(tmp_path / "visits")
    rest = visits[42 * A_DAY :]
    for name, columns in (("rows", ["visit_id", "day", "near", "far"]), ("labels", ["visit_id", "day", "minutes"])):
        told = rest[columns].assign(**({"arrived": rest["day"]} if name == "labels" else {}))
        told = told.astype({each: "datetime64[us]" for each in ("day", "arrived") if each in told})
        told.to_parquet(f"warehouse/visits/{name}/new.parquet", index=False)
    _as_days(Path("warehouse"))
    said = guardian(capsys, "validate")
    assert said.code == 0, said.err
    (model,) = guardian(capsys, "triage", "--planner", "runbook", "--json").json["models"]
    with closing(Systems.open(Path("operations.yaml"))) as systems:
        report = systems.store.latest(Kind.drift_report, "Visits")
        trained = systems.store.latest(Kind.training_run, "Visits")
        judged = systems.store.latest(Kind.evaluation, "Visits")
    assert report is not None and report.body["status"] == "checked", report and report.body["checks"]
    assert trained is not None and judged is not None, model
    assert (trained.status, judged.status) == ("completed", "challenger_wins"), (trained.body, judged.body)


def test_a_run_in_the_morning_sees_the_rows_of_yesterday(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    visits = _visits()[: 24 * A_DAY]
    visits["day"] = visits["day"].max() - pd.to_timedelta(np.arange(len(visits))[::-1] // (2 * A_DAY), unit="D")
    guardian(capsys, "init", "--data", str(written(visits, tmp_path, "visits.parquet")), "--target", "minutes")
    monkeypatch.chdir(tmp_path / "visits")
    morning = visits["day"].max() + pd.Timedelta(days=1, hours=8)
    assert "frequency: daily, window: 2d" in Path("operations.yaml").read_text()
    assert guardian(capsys, "validate").code == 0
    guardian(capsys, "triage", "--planner", "runbook", "--at", morning.isoformat(), "--json")
    with closing(Systems.open(Path("operations.yaml"))) as systems:
        report = systems.store.latest(Kind.drift_report, "Visits")
    assert report is not None
    assert {each["type"]: each["severity"] for each in report.body["checks"]}["data_drift"] == "ok"
