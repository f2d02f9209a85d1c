"""`guardian init`: a user's table becomes a working folder that validates and can be watched."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pandas as pd
import pytest

from policies.declarations import load
from tests.tools.onboarding.tables import guardian, orders, written

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("task", "target", "others", "ending"),
    [
        ("binary", "late", "grade,amount", "csv"),
        ("multiclass", "grade", "late,amount", "parquet"),
        ("regression", "amount", "late,grade", "arrow"),
    ],
)
def test_every_task_from_every_kind_of_file(
    task: str, target: str, others: str, ending: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = written(orders(), tmp_path, f"orders.{ending}")
    made = guardian(capsys, "init", "--json", "--data", str(data), "--target", target, "--ignore", others).json
    assert (made["task"], made["time"], made["id"]) == (task, "created_at", "order_id")
    assert (made["numeric"], made["categorical"]) == (["x", "y"], ["kind"])
    name, good = {"binary": ("auc_roc", 0.8), "multiclass": ("accuracy", 0.7), "regression": ("r2", 0.9)}[task]
    assert made["metrics"][f"holdout_{name}"] > good
    monkeypatch.chdir(tmp_path / "orders")
    assert guardian(capsys, "validate").code == 0
    report = guardian(capsys, "check-drift", "OrdersDrift", "--at", "2026-02-28", "--json").json
    assert report["status"] == "checked", [each["detail"] for each in report["checks"]]
    assert not report["drift_detected"]
    assert {each["type"] for each in report["checks"]} == {
        "schema_drift", "data_drift", "prediction_drift", "label_drift", "concept_drift",
    }  # fmt: skip
    assert all(each["severity"] == "ok" for each in report["checks"]), report["checks"]


def test_predictions_of_a_model_served_elsewhere(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = orders(6000)
    late = frame["late"] == "yes"
    shift = (frame["created_at"] >= "2026-02-15") * 0.4
    frame["said"] = (0.2 + 0.5 * late + 0.2 * (frame["x"] > 0)) * (1 - shift) + shift / 2
    data = written(frame, tmp_path)
    arguments = ["--target", "late", "--prediction", "said", "--ignore", "grade,amount", "--dir", str(tmp_path / "w")]
    made = guardian(capsys, "init", "--json", "--data", str(data), *arguments).json
    assert made["champion"] is None
    assert "said" not in made["numeric"]
    monkeypatch.chdir(tmp_path / "w")
    assert guardian(capsys, "validate").code == 0
    quiet = guardian(capsys, "check-drift", "OrdersDrift", "--at", "2026-02-14", "--json").json
    assert (quiet["status"], quiet["drift_detected"]) == ("checked", False), quiet["checks"]
    moved = guardian(capsys, "check-drift", "OrdersDrift", "--at", "2026-02-24", "--json").json
    found = [each["type"] for each in moved["checks"] if each["severity"] in ("warning", "critical")]
    assert found == ["prediction_drift"]
    assert guardian(capsys, "triage", "--json", "--at", "2026-02-24").json["models"][0]["severity"] == "critical"


def test_a_model_that_is_in_mlflow_already(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    import mlflow
    from sklearn.ensemble import HistGradientBoostingClassifier

    from tools.systems.registry import Registry

    frame, uri = orders(), f"sqlite:///{tmp_path}/theirs.db"
    registry = Registry(uri, tmp_path / "cache")
    fitted = HistGradientBoostingClassifier(max_iter=20).fit(frame[["x", "y"]], frame["late"] == "yes")
    experiment = registry._experiment("theirs")
    registry._use()
    with mlflow.start_run(experiment_id=experiment):
        signature = mlflow.models.infer_signature(frame[["x", "y"]], fitted.predict_proba(frame[["x", "y"]]))
        mlflow.sklearn.log_model(
            fitted,
            name="model",
            signature=signature,
            registered_model_name="theirs",
            serialization_format="cloudpickle",
        )
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    folder = tmp_path / "w"
    common = ["init", "--json", "--data", str(written(frame, tmp_path)), "--target", "late", "--dir", str(folder)]
    wrong = guardian(capsys, *common, "--ignore", "grade,amount", "--mlflow-model", "models:/theirs/1")
    assert (wrong.code, folder.exists()) == (2, False)
    assert "does not answer on this table's features" in wrong.json["error"]["message"]
    made = guardian(capsys, *common, "--features", "x,y", "--mlflow-model", "models:/theirs/1").json
    assert made["champion"] == "1"
    monkeypatch.chdir(folder)
    assert guardian(capsys, "validate").code == 0
    report = guardian(capsys, "check-drift", "OrdersDrift", "--at", "2026-02-28", "--json").json
    assert report["status"] == "checked"
    assert load(Path("operations.yaml")).models["Orders"].registry_name == "theirs"


@pytest.mark.parametrize(("name", "target", "auc"), [("telco_churn", "Churn", 0.8), ("elec2", "class", 0.8)])
def test_the_reference_tables_within_a_minute(
    name: str, target: str, auc: float, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = os.environ.get("GUARDIAN_REFERENCE_DATA")
    if not reference:
        pytest.skip("GUARDIAN_REFERENCE_DATA names no folder")
    started = time.monotonic()
    data = Path(reference) / "data" / f"{name}.csv"
    made = guardian(
        capsys, "init", "--json", "--data", str(data), "--target", target, "--dir", str(tmp_path / "w")
    ).json
    assert time.monotonic() - started < 60
    assert made["metrics"]["holdout_auc_roc"] > auc
    assert made["time"] is None
    monkeypatch.chdir(tmp_path / "w")
    assert guardian(capsys, "validate").code == 0
    night = guardian(capsys, "triage", "--json").json
    # Nothing has come in since the first load: that is unknown, not ok.
    assert night["models"][0]["severity"] == "unknown"


def test_the_load_after_the_first_is_what_is_watched(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = orders().drop(columns=["created_at", "grade", "amount"])
    guardian(capsys, "init", "--data", str(written(frame, tmp_path)), "--target", "late", "--dir", str(tmp_path / "w"))
    monkeypatch.chdir(tmp_path / "w")
    later = frame[["order_id", "x", "y", "kind"]].assign(
        x=frame["x"] + 1.5, loaded_at=pd.Timestamp.now("UTC").tz_localize(None)
    )
    later.to_parquet("warehouse/orders/rows/next.parquet", index=False)
    report = guardian(capsys, "check-drift", "OrdersDrift", "--json").json
    drifted = [each["subject"] for each in report["checks"] if each["severity"] == "critical"]
    assert report["window"]["rows"] == 3000
    assert "x" in drifted and "y" not in drifted
