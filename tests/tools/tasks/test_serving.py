"""Numbers and several classes, served: every way to score them, the gateway's answers and its log, a whole rollout."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from policies.declarations.binding import Features
from policies.errors import InputError
from tests.tools.tasks.task_world import (
    CHALLENGE,
    CLASSES,
    DAY,
    FIRST,
    MODEL,
    PIPELINE,
    STRATEGY,
    TaskWorld,
    changed_world,
    rows_of,
)
from tools import tasks
from tools.deploy.rollout import Rollout, Status
from tools.deploy.tool import TOOL as DEPLOY
from tools.deploy.tool import advance
from tools.evaluate.tool import TOOL as EVALUATE
from tools.retrain.recipe import Hyperparameters, build, feature_frame, fit
from tools.retrain.tool import TOOL as RETRAIN
from tools.serving.client import failures, send
from tools.serving.edge import export
from tools.serving.features import FeatureSchema
from tools.serving.process import GatewayProcess
from tools.serving.scorer import Scorer, ScoringFailed, build_scorer, compile_paths

FEATURES = Features(numeric=["weight", "distance"], categorical=["region"])
SCHEMA = FeatureSchema(("weight", "distance"), ("region",), ("weight", "distance", "region"))


def _data(task: str, scale: float = 1.0) -> tuple[pd.DataFrame, np.ndarray]:
    rows = pd.concat([rows_of(task, day, False) for day in range(3)], ignore_index=True)
    outcomes = rows["outcome"].to_numpy()
    return feature_frame(rows, FEATURES), outcomes * scale if task == "regression" else outcomes.astype(str)


def _regressor(**more: Any) -> Any:
    return HistGradientBoostingRegressor(max_iter=9, **more)


def _recipe(task: str) -> Any:
    frame, outcomes = _data(task)
    kind = tasks.of(task)
    return fit(build(FEATURES, Hyperparameters(iterations=20), 1, kind), frame, outcomes, kind)


def _other(task: str, estimator: Any, scale: float = 1.0) -> Any:
    frame, outcomes = _data(task, scale)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = make_column_transformer((encoder, ["region"]), ("passthrough", ["weight", "distance"]))
    return make_pipeline(columns, estimator).fit(frame, outcomes)


CASES = {
    "regression-recipe": ("regression", lambda: _recipe("regression"), ["onnx", "trees", "array"]),
    "regression-large": (
        "regression", lambda: _other("regression", HistGradientBoostingRegressor(max_iter=20), 1e9),
        ["onnx", "trees", "array"],
    ),
    "regression-poisson": (
        "regression", lambda: _other("regression", _regressor(loss="poisson")), ["array"],
    ),
    "regression-forest": (
        "regression", lambda: _other("regression", RandomForestRegressor(8, min_samples_leaf=9, random_state=0)),
        ["onnx", "array"],
    ),
    "regression-linear": ("regression", lambda: _other("regression", LinearRegression()), ["onnx", "array"]),
    "classes-recipe": ("multiclass", lambda: _recipe("multiclass"), ["trees", "array"]),
    "classes-boosting": (
        "multiclass", lambda: _other("multiclass", HistGradientBoostingClassifier(max_iter=9)), ["trees", "array"],
    ),
    "classes-forest": (
        "multiclass", lambda: _other("multiclass", RandomForestClassifier(8, random_state=0)), ["array"],
    ),
    "classes-linear": ("multiclass", lambda: _other("multiclass", LogisticRegression(max_iter=500)), ["array"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_every_path_says_what_the_pipeline_says(case: str) -> None:
    name, made, paths = CASES[case]
    task, model = tasks.of(name), made()  # type: ignore[no-untyped-call]
    compiled, why_not_onnx = compile_paths(model, SCHEMA, task)
    scorer = build_scorer(model, SCHEMA, "1", task)
    assert list(compiled) == paths
    assert scorer.path_name == paths[0]
    assert (why_not_onnx is None) == ("onnx" in paths)
    frame = feature_frame(rows_of(name, 9, False), FEATURES)
    if "linear" not in case:
        frame.loc[::7, "weight"] = np.nan
    if not scorer.schema.null_numbers:
        frame = frame.fillna({"weight": 0.0})
    if not scorer.schema.null_strings:
        frame["region"] = frame["region"].fillna("north")
    frame.loc[:20, "region"] = "MARS"
    wanted = task.raw(model, frame)
    classes = getattr(model, "classes_", ())
    read = [scorer.schema.read(row) for row in _json_rows(frame)]
    for path_name, path in compiled.items():
        each = Scorer("1", scorer.schema, path, path_name, None, task, classes)
        found = each.score([each.encode(values) for values in read])
        told = np.array([list(answer.values()) if isinstance(answer, dict) else answer for answer in found])
        assert np.abs(told - wanted).max() <= 1e-9 * max(1.0, np.abs(wanted).max())
        assert (task.decided(told) == task.decided(wanted)).all()


def test_two_classes_may_be_declared_as_several() -> None:
    """The ONNX path says one number a row of two classes, and several classes are answered: it is not taken."""
    frame, outcomes = _data("multiclass")
    model = _other("multiclass", LogisticRegression()).fit(frame, np.where(outcomes == "sea", "sea", "land"))
    scorer = build_scorer(model, SCHEMA, "1", tasks.of("multiclass"))
    assert scorer.path_name == "array"
    assert "answers of shape" in (scorer.why_not_onnx or "")
    row = scorer.encode(scorer.schema.read({"weight": 0.5, "distance": 0.0, "region": "north"}))
    (answer,) = scorer.score([row])
    assert isinstance(answer, dict)
    assert list(answer) == ["land", "sea"]


def _json_rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    clean = frame.astype(object).where(frame.notna(), None)
    rows: list[dict[str, Any]] = clean.to_dict("records")  # type: ignore[assignment]
    return rows


def test_what_is_no_answer_of_the_task_fails() -> None:
    class Strange:
        def __init__(self, raw: np.ndarray) -> None:
            self.raw = raw

        def encode(self, values: Any) -> Any:
            return values

        def score(self, rows: Any) -> np.ndarray:
            return self.raw

    for name, raw in (
        ("regression", np.array([np.nan])), ("regression", np.array([np.inf])), ("regression", np.zeros(2)),
        ("multiclass", np.array([[0.5, 0.6]])), ("multiclass", np.array([[0.5, 0.2, 0.3]])),
        ("multiclass", np.array([[np.nan, 0.2]])), ("multiclass", np.array([[-0.5, 1.5]])),
    ):  # fmt: skip
        scorer = Scorer("1", SCHEMA, Strange(raw), "pipeline", None, tasks.of(name), ("a", "b"))
        with pytest.raises(ScoringFailed):
            scorer.score([((0.0, 0.0), ("north",))])


@pytest.fixture(scope="module", params=["regression", "multiclass"])
def deployed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The challenger of a changed world, evaluated, gated and given half of the traffic."""
    world = changed_world(tmp_path_factory.mktemp(request.param), request.param)
    systems = world.systems
    systems.traffic.set(MODEL, "1", at=FIRST + 30 * DAY, why="first champion", rests_on=None)
    RETRAIN.run(systems, RETRAIN.arguments(pipeline=PIPELINE, force_trigger=None))
    EVALUATE.run(systems, EVALUATE.arguments(challenge=CHALLENGE))
    started = DEPLOY.run(systems, DEPLOY.arguments(strategy=STRATEGY, model=MODEL, version="2"))
    assert isinstance(started, Rollout)
    assert started.status is Status.RUNNING
    yield world
    systems.close()


def test_a_rollout_is_judged_by_live_answers_and_labels_and_promotes(deployed: TaskWorld, tmp_path: Path) -> None:
    world, systems = deployed, deployed.systems
    world.live(45)  # the rows of a further day, asked for at its end
    systems.registry.set_alias("parcels", "champion", "1")
    rows = world.rows(44)
    features = _json_rows(rows[["weight", "distance", "region"]])
    payloads = [
        {"id": str(parcel), "features": each} for parcel, each in zip(rows["parcel"], features, strict=True)
    ] * 6
    several = {"id": "many", "instances": features[:3]}
    with GatewayProcess(systems.home / "operations.yaml", environment={"MLFLOW_TRACKING_URI": ""}) as gateway:
        while gateway.readiness()["challenger"] is None:
            time.sleep(0.05)
        responses = send(gateway.predict_url, payloads)
        [many] = send(gateway.predict_url, [several])
        path = gateway.readiness()["path"]
    assert path == {"regression": "onnx", "multiclass": "trees"}[world.task]
    assert not list(failures(responses))
    models = {each: systems.registry.load("parcels", each) for each in ("1", "2")}
    frame = feature_frame(rows, FEATURES)
    task = tasks.of(world.task)
    wanted = {each: task.predict(model, frame) for each, model in models.items()}
    assert {each.body["version"] for each in responses} == {"1", "2"}
    for i, response in enumerate(responses):
        [prediction], said = response.body["predictions"], wanted[response.body["version"]].take(np.array([i % 300]))
        if world.task == "regression":
            assert prediction == {"value": pytest.approx(float(said.scores[0]), abs=1e-6)}
        else:
            assert said.labels is not None and said.probabilities is not None
            assert prediction["label"] == said.labels[0]
            assert prediction["score"] == pytest.approx(float(said.scores[0]), abs=1e-9)
            assert prediction["probabilities"] == pytest.approx(dict(zip(CLASSES, said.probabilities[0], strict=True)))
    assert len(many.body["predictions"]) == 3

    log = systems.warehouse.read("parcel_log").to_pandas()
    assert len(log) == len(payloads) + 3
    assert log["score"].notna().all()
    if world.task == "regression":
        assert log["label"].isna().all()
    else:
        assert set(log["label"]) <= set(CLASSES)

    world.now(45.2)  # the day's labels have arrived
    [rollout] = advance(systems, systems.clock.now())
    judged = next(each.last_gate for each in rollout.stages if each.last_gate is not None)
    measured = {each.name: each for each in judged.measurements}
    name = task.degradation
    assert measured[name].verdict == "pass", measured[name]
    assert (measured[name].value or 0.0) < 0
    assert "as served" in measured[name].detail
    assert "on the same 324 labelled rows" in measured[name].detail
    assert judged.verdict == "pass", judged
    for _ in range(3):
        rollout = next(iter(advance(systems, systems.clock.now())), rollout)
    split = systems.traffic.split(MODEL)
    assert split is not None
    assert split.champion == "2"


def test_a_regression_is_exported_and_several_classes_are_refused(deployed: TaskWorld, tmp_path: Path) -> None:
    if deployed.task == "multiclass":
        with pytest.raises(InputError, match="is no classifier of two classes"):
            export(deployed.systems, MODEL, "2", tmp_path / "edge")
        return
    import json

    made = export(deployed.systems, MODEL, "2", tmp_path / "edge")
    assert made.parity.max_difference <= 1e-9
    manifest = json.loads((tmp_path / "edge" / "manifest.json").read_text())
    assert manifest["output"] == {"name": "score", "type": "double"}
