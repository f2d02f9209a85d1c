"""`guardian init`: a user's table becomes a working folder that validates and can be watched."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from datetime import datetime
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest

from policies.declarations import load
from tests.postgres import database_url
from tests.tools.onboarding.tables import guardian, orders, written
from tools.systems import holdouts
from tools.systems.pointing import point_mlflow
from tools.systems.systems import Systems, warehouse_at

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
    validated = guardian(capsys, "validate")
    assert validated.code == 0
    assert "for people" not in validated.out + validated.err
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
    point_mlflow(uri)
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
    assert registry.alias("theirs", "champion") is None
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


def _noise(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(x=frame["x"].sample(frac=1, random_state=1).to_numpy(), y=0.5, kind="a")


@pytest.mark.parametrize(
    ("target", "others", "reached"),
    [("late", "grade,amount", "AUC 0."), ("grade", "late,amount", "AUC 0."), ("amount", "late,grade", "R² -")],
)
def test_a_champion_that_guesses_says_so_with_its_number(
    target: str, others: str, reached: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = written(_noise(orders()), tmp_path)
    made = guardian(capsys, "init", "--json", "--data", str(data), "--target", target, "--ignore", others).json
    (note,) = [each for each in made["notes"] if "no better than guessing" in each]
    assert reached in note and f"do the features tell of {target}?" in note
    assert not any("guessing" in each for each in _notes(capsys, orders(), tmp_path, "--ignore", "grade,amount"))


def _notes(capsys: Capture, frame: pd.DataFrame, folder: Path, *more: str) -> list[str]:
    data = written(frame, folder, "more.csv")
    made = guardian(
        capsys, "init", "--json", "--data", str(data), "--target", "late", "--dir", str(folder / "more"), *more
    )
    notes: list[str] = made.json["notes"]
    return notes


@pytest.mark.parametrize(("unit", "microseconds"), [("seconds", 1_000_000), ("milliseconds", 1_000)])
def test_seconds_since_1970_are_a_time(
    unit: str, microseconds: int, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    counted = orders()["created_at"].astype("datetime64[us]").astype("int64") // microseconds
    frame = orders().drop(columns=["created_at", "grade", "amount"])
    common = ["init", "--json", "--target", "late", "--data"]
    named = guardian(capsys, *common, str(written(frame.assign(created_at=counted), tmp_path, "named.csv"))).json
    assert (named["time"], named["numeric"]) == ("created_at", ["x", "y"])
    assert f"created_at: holds {unit} since 1970 and counts as the time" in " ".join(named["notes"])
    assert named["start"].startswith("2026-01-01")
    other = guardian(capsys, *common, str(written(frame.assign(stamped=counted), tmp_path, "other.csv"))).json
    assert (other["time"], other["numeric"]) == (None, ["x", "y", "stamped"])
    assert f"stamped: looks like a time ({unit} since 1970) and is taken for a number; --time stamped" in " ".join(
        other["notes"]
    )
    both = frame.assign(day=orders()["created_at"], sent_ts=counted)
    beside = guardian(capsys, *common, str(written(both, tmp_path, "both.csv"))).json
    assert (beside["time"], beside["left_out"]) == ("day", {"sent_ts": f"it is a time ({unit} since 1970)"})


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_whole_numbers_that_write_days_are_a_time(
    ending: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    days = orders()["created_at"].dt.strftime("%Y%m%d").astype(int)
    frame = orders().drop(columns=["created_at", "grade", "amount"])
    common = ["init", "--json", "--target", "late", "--data"]
    named = guardian(capsys, *common, str(written(frame.assign(day=days), tmp_path, f"named.{ending}"))).json
    assert (named["time"], named["numeric"], named["start"]) == ("day", ["x", "y"], "2026-01-01T00:00:00")
    assert "day: holds days such as 20260131 and counts as the time" in " ".join(named["notes"])
    other = written(frame.assign(told=days), tmp_path, f"other.{ending}")
    made = guardian(capsys, *common, str(other)).json
    assert (made["time"], made["numeric"]) == (None, ["x", "y", "told"])
    assert "told: looks like a time (days such as 20260131) and is taken for a number" in " ".join(made["notes"])
    chosen = guardian(capsys, *common, str(other), "--time", "told", "--dir", "chosen").json
    assert (chosen["time"], chosen["end"]) == ("told", "2026-03-01T00:00:00")
    no_days = written(frame.assign(day=days.where(days.index > 0, 20261301)), tmp_path, f"none.{ending}")
    assert guardian(capsys, *common, str(no_days)).json["time"] is None
    monkeypatch.chdir(tmp_path / "named")
    assert guardian(capsys, "check-drift", "NamedDrift", "--at", "2026-03-01", "--json").json["severity"] == "ok"


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


@pytest.mark.parametrize("engine", ["parquet", "postgresql"])
def test_a_table_of_a_warehouse_is_watched_where_it_is(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = str(tmp_path / "lake")
    if engine == "postgresql":
        url = database_url(request.getfixturevalue("postgres"))
    else:
        (tmp_path / "lake").mkdir()
    warehouse = warehouse_at(tmp_path, url)
    frame = orders().assign(paid=lambda f: f["x"] > 0)
    text = pa.Table.from_pandas(frame, preserve_index=False)
    warehouse.append("shop.orders_text", text, "1")
    warehouse.append("shop.orders", text.set_column(5, "late", pa.array(frame["late"] == "yes")), "1")
    warehouse.close()
    monkeypatch.setenv("GUARDIAN_WAREHOUSE_URL", url)
    common = ["--target", "late", "--ignore", "grade,amount", "--dir", str(tmp_path / "w")]
    refused = guardian(capsys, "init", "--data", "shop.orders_text", *common)
    assert refused.code == 2 and "column 'late' holds text; make a view" in refused.err
    missing = guardian(capsys, "init", "--data", "shop.nothing", *common)
    assert missing.code == 2 and "there is no table 'shop.nothing'; there are: shop.orders" in missing.err
    before = warehouse.tables()
    other = [*common[:-1], str(tmp_path / "other"), "--mlflow-model", "models:/none/1"]
    unknown = guardian(capsys, "init", "--data", "shop.orders", *other)
    assert unknown.code == 2 and warehouse.tables() == before
    warehouse.close()
    made = guardian(capsys, "init", "--json", "--data", "shop.orders", *common)
    assert made.code == 0, made
    assert made.json["categorical"] == ["kind", "paid"]
    assert load(tmp_path / "w" / "operations.yaml").models["Orders"].table == "shop.orders"
    monkeypatch.chdir(tmp_path / "w")
    assert guardian(capsys, "validate").code == 0
    report = guardian(capsys, "check-drift", "OrdersDrift", "--at", "2026-02-28", "--json").json
    assert (report["status"], report["severity"]) == ("checked", "ok"), report["checks"]


def test_a_postgresql_table_with_capitals_and_spaces_in_its_name(
    postgres: str, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database_url(postgres)
    warehouse = warehouse_at(tmp_path, url)
    frame = orders().drop(columns=["grade", "amount"]).rename(columns={"x": "Net Weight"})
    rows = pa.Table.from_pandas(frame.assign(late=frame["late"] == "yes"), preserve_index=False)
    warehouse.append('"Sales Data"."Late Orders"', rows, "1")
    warehouse.append('shop."Orders"', rows, "1")
    assert warehouse.tables() == ['"Sales Data"."Late Orders"', 'shop."Orders"']
    warehouse.close()
    monkeypatch.setenv("GUARDIAN_WAREHOUSE_URL", url)
    unknown = guardian(capsys, "init", "--data", "Sales Data.Early Orders", "--target", "late")
    assert unknown.code == 2 and 'write schema.table, or "Schema"."Table" where a name holds capitals' in unknown.err
    missing = guardian(capsys, "init", "--data", "shop.Wares", "--target", "late", "--dir", str(tmp_path / "other"))
    assert missing.code == 2 and 'there are: "Sales Data"."Late Orders", shop."Orders"' in missing.err
    # As it is, and as SQL writes it.
    for number, (data, name) in enumerate([("Sales Data.Late Orders", "LateOrders"), ('shop."Orders"', "Orders")]):
        folder = tmp_path / str(number)
        made = guardian(capsys, "init", "--json", "--data", data, "--target", "late", "--dir", str(folder))
        assert (made.code, made.json["model"]) == (0, name), made
        assert made.json["numeric"] == ["Net Weight", "y"]
        monkeypatch.chdir(folder)
        assert guardian(capsys, "validate").code == 0
        report = guardian(capsys, "check-drift", f"{name}Drift", "--at", "2026-02-28", "--json").json
        assert (report["status"], report["severity"]) == ("checked", "ok"), report["checks"]
        with closing(Systems.open(Path("operations.yaml"))) as systems:
            held = holdouts.read(systems, name, datetime(2026, 3, 2))
            period = holdouts.period(systems, name, datetime(2026, 3, 2))
            assert held.num_rows == period.rows == 600
            with monkeypatch.context() as smaller:
                smaller.setattr(holdouts, "MOST_ROWS", 300)
                assert 200 < holdouts.read(systems, name, datetime(2026, 3, 2)).num_rows < 400


def test_on_a_terminal_only_what_is_unknown_is_asked(tmp_path: Path) -> None:
    data = written(orders(600).drop(columns=["grade"]).assign(said=0.5), tmp_path)
    terminal, end = os.openpty()
    command = ["init", "--data", str(data), "--prediction", "said", "--dir", str(tmp_path / "w")]
    program = [sys.executable, "-c", "from agent.cli import main; main()", *command]
    os.write(terminal, b"lat\nlate\n")  # the first answer names no column
    made = subprocess.run(program, stdin=end, stdout=subprocess.PIPE, stderr=end, timeout=120, check=False)
    os.close(end)
    said = os.read(terminal, 65536).decode()
    os.close(terminal)
    assert made.returncode == 0, said
    assert "say which column holds the outcome" in said and "there is no column 'lat'" in said
    assert load(tmp_path / "w" / "operations.yaml").models["Orders"].target == "late"


def test_a_look_back_before_the_champion_served_says_why_it_trains_nothing(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = orders()
    frame.loc[frame["created_at"] < "2026-02-10", "x"] -= 2
    guardian(capsys, "init", "--data", str(written(frame, tmp_path)), "--target", "late", "--ignore", "grade,amount")
    monkeypatch.chdir(tmp_path / "orders")
    said = guardian(capsys, "triage", "--planner", "runbook", "--at", "2026-01-20")
    assert "starts no training: what serves now began on" in said.out
    assert "look again as of now" in said.out


def test_a_night_after_the_last_row_says_how_to_look_at_it(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    frame = orders().assign(said=0.4)
    arguments = ["--target", "late", "--prediction", "said", "--ignore", "grade,amount"]
    guardian(capsys, "init", "--data", str(written(frame, tmp_path)), *arguments)
    monkeypatch.chdir(tmp_path / "orders")
    told = guardian(capsys, "triage").out
    assert (
        "no rows in the window; the last before it is of 2026-03-01 23:31: to look there, guardian check-drift" in told
    )
    command = told.split("to look there, guardian ", 1)[1].splitlines()[0].split()
    assert guardian(capsys, *command, "--json").json["status"] == "checked"


def test_sigterm_leaves_nothing_behind(tmp_path: Path) -> None:
    data, folder = written(orders(20_000), tmp_path), tmp_path / "w"
    command = ["init", "--data", str(data), "--target", "late", "--ignore", "grade,amount", "--dir", str(folder)]
    program = [sys.executable, "-c", "from agent.cli import main; main()", *command]
    with subprocess.Popen(program, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while "training the first champion" not in (line := process.stderr.readline()):
            assert line, "it ended before it was interrupted"
        process.terminate()
        assert "init, which leaves nothing" in process.stderr.read()
    assert (process.returncode, folder.exists()) == (143, False)


def test_without_an_outcome_it_says_that_predictions_are_judged_by_one(tmp_path: Path, capsys: Capture) -> None:
    data = written(orders(400)[["order_id", "created_at", "x"]].assign(said=0.4), tmp_path)
    said = guardian(capsys, "init", "--data", str(data), "--prediction", "said", "--dir", str(tmp_path / "w"))
    assert said.code == 2 and not (tmp_path / "w").exists()
    assert "the outcome that the model foretells. It is needed too where 'said' is watched" in said.err
    assert "it may be empty. There are: 'order_id', 'created_at', 'x'\n" in said.err
