"""Numbers and several classes, learned anew and judged: the same road as two classes take, with a real MLflow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from policies.errors import InputError
from tests.tools.tasks.task_world import CHALLENGE, MODEL, PIPELINE, TaskWorld, changed_world
from tools.evaluate.result import EvaluateResult
from tools.evaluate.tool import TOOL as EVALUATE
from tools.retrain import evidence
from tools.retrain.result import RetrainResult
from tools.retrain.tool import TOOL as RETRAIN
from tools.systems.store import Kind

METRICS = {"regression": {"mae", "rmse", "r2"}, "multiclass": {"accuracy", "f1", "log_loss", "auc_roc"}}


@pytest.fixture(scope="module", params=METRICS)
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TaskWorld]:
    built = changed_world(tmp_path_factory.mktemp(request.param), request.param)
    yield built
    built.systems.close()


@pytest.fixture(scope="module")
def trained(world: TaskWorld) -> RetrainResult:
    result = RETRAIN.run(world.systems, RETRAIN.arguments(pipeline=PIPELINE, force_trigger=None))
    assert isinstance(result, RetrainResult)
    return result


@pytest.fixture(scope="module")
def judged(world: TaskWorld, trained: RetrainResult) -> EvaluateResult:
    result = EVALUATE.run(world.systems, EVALUATE.arguments(challenge=CHALLENGE))
    assert isinstance(result, EvaluateResult)
    return result


def test_a_changed_world_is_learned(world: TaskWorld, trained: RetrainResult) -> None:
    assert (trained.started, trained.version, trained.triggered_by) == (True, "2", "drift_detected")
    assert {f"validation_{each}" for each in METRICS[world.task]} == trained.metrics.keys()
    version = world.systems.registry.get("parcels", "2")
    assert "threshold" not in version.params
    assert version.tags["guardian.train_end"]


def test_the_better_challenger_wins_and_passes(world: TaskWorld, judged: EvaluateResult) -> None:
    assert judged.verdict == "challenger_wins"
    assert 0 < judged.interval[0] < judged.weighted_improvement < judged.interval[1]
    assert METRICS[world.task] | {"inference_ms", "model_size_mb"} <= judged.challenger.metrics.keys()
    assert judged.gate.status == "passed", judged.gate.checks
    checks = {each.name: each for each in judged.gate.checks}
    assert {"segment:region=north", "no_overlap", "artifact_replays"} <= checks.keys()
    assert checks["artifact_replays"].value == 0
    assert (judged.auc_test, judged.holdout.positives) == (None, None)
    row = world.systems.store.get(judged.evaluation_id)
    assert EvaluateResult.model_validate(row.body) == judged
    assert [each.kind for each in world.systems.store.chain(str(judged.gate.gate_id))][:3] == ["gate", "eval", "train"]


def test_the_same_evaluation_gives_the_same_numbers(world: TaskWorld, judged: EvaluateResult) -> None:
    again = EVALUATE.run(world.systems, EVALUATE.arguments(challenge=CHALLENGE))
    assert isinstance(again, EvaluateResult)
    assert (again.weighted_improvement, again.interval) == (judged.weighted_improvement, judged.interval)


def test_a_worse_challenger_is_archived(world: TaskWorld, judged: EvaluateResult) -> None:
    registry = world.systems.registry
    registry.set_alias("parcels", "champion", "2")
    try:
        registry.set_alias("parcels", "challenger", "1")
        worse = EVALUATE.run(world.systems, EVALUATE.arguments(challenge=CHALLENGE))
        assert isinstance(worse, EvaluateResult)
        assert worse.verdict == "champion_wins"
        assert registry.alias("parcels", "challenger") is None
    finally:
        registry.set_alias("parcels", "champion", "1")
        registry.set_alias("parcels", "challenger", "2")


def test_a_challenger_of_another_task_fails(world: TaskWorld, judged: EvaluateResult) -> None:
    """A regressor in a classifier's place, and the other way round."""
    from sklearn.linear_model import LinearRegression, LogisticRegression

    rows = world.rows(40)[["weight", "distance"]]
    wrong = LinearRegression() if world.task == "multiclass" else LogisticRegression()
    wrong.fit(rows, rows["weight"] > 0)
    registry = world.systems.registry
    made = registry.register("parcels", wrong, example=rows.head(), params={}, metrics={}, tags={}, artifacts={})
    registry.set_alias("parcels", "challenger", made.version)
    try:
        result = EVALUATE.run(world.systems, EVALUATE.arguments(challenge=CHALLENGE))
        assert isinstance(result, EvaluateResult)
        assert result.verdict == "champion_wins"
        assert "it fails to score the holdout" in result.next
    finally:
        registry.set_alias("parcels", "challenger", "2")


def test_a_champion_that_says_no_numbers_is_an_error(world: TaskWorld, judged: EvaluateResult) -> None:
    """There is nothing to compare a challenger with: no verdict, and one line that says so."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LinearRegression, LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows = world.rows(40)
    numbers = make_column_transformer(("passthrough", ["weight", "distance"]))
    model = LogisticRegression(max_iter=500) if world.task == "multiclass" else LinearRegression()
    broken = make_pipeline(numbers, model).fit(rows[["weight", "distance", "region"]], rows["outcome"])
    broken[-1].intercept_ = broken[-1].intercept_ + np.nan
    registry = world.systems.registry
    example = rows[["weight", "distance", "region"]].head()
    made = registry.register("parcels", broken, example=example, params={}, metrics={}, tags={}, artifacts={})
    registry.set_alias("parcels", "champion", made.version)
    try:
        with pytest.raises(
            InputError, match=f"^champion, version {made.version}: it gives scores that are not numbers"
        ):
            EVALUATE.run(world.systems, EVALUATE.arguments(challenge=CHALLENGE))
    finally:
        registry.set_alias("parcels", "champion", "1")


def test_a_champion_of_another_task_is_an_error(world: TaskWorld, judged: EvaluateResult) -> None:
    from sklearn.linear_model import LinearRegression, LogisticRegression

    rows = world.rows(40)[["weight", "distance"]]
    wrong = LinearRegression() if world.task == "multiclass" else LogisticRegression()
    wrong.fit(rows, rows["weight"] > 0)
    registry = world.systems.registry
    made = registry.register("parcels", wrong, example=rows.head(), params={}, metrics={}, tags={}, artifacts={})
    registry.set_alias("parcels", "champion", made.version)
    try:
        with pytest.raises(InputError, match=f"^champion, version {made.version}: the model (gives no|foretells)"):
            EVALUATE.run(world.systems, EVALUATE.arguments(challenge=CHALLENGE))
    finally:
        registry.set_alias("parcels", "champion", "1")


def test_a_class_that_nobody_learned_and_one_that_is_gone(world: TaskWorld, judged: EvaluateResult) -> None:
    """A holdout with a class of its own, and without one of the classes learned: both are judged, in numbers."""
    if world.task != "multiclass":
        pytest.skip("numbers have no classes")
    warehouse = world.systems.warehouse
    sound = warehouse.read("parcels_holdout")
    rows = sound.to_pandas()
    strange = rows["outcome"].where(np.arange(len(rows)) % 10 > 0, "rail")
    try:
        for outcome in (strange, rows["outcome"].replace("sea", "road")):
            world._append("parcels_holdout", rows.assign(outcome=outcome), "latest")
            result = EVALUATE.run(world.systems, EVALUATE.arguments(challenge=CHALLENGE))
            assert isinstance(result, EvaluateResult)
            assert result.verdict == "challenger_wins"
            assert np.isfinite(list(result.challenger.metrics.values())).all()
    finally:
        warehouse.append("parcels_holdout", sound, "latest")


def test_a_segment_that_got_worse_is_found(world: TaskWorld, judged: EvaluateResult) -> None:
    """The old champion against the new one, as the gate sees it, and what an investigation tells of it."""
    from tools.evaluate import contenders, gate
    from tools.evaluate.investigation import _weakest
    from tools.evaluate.quality import segment_readings
    from tools.evaluate.result import WeakSegment

    systems = world.systems
    holdout = contenders.read_holdout(systems, MODEL, systems.clock.now())
    old, new = (
        contenders.judge_challenger(systems, systems.registry.get("parcels", each), holdout) for each in ("1", "2")
    )
    checks = gate.segments(segment_readings(holdout, ["region"], new, old), 0.05, 300)
    assert {each.verdict for each in checks} == {gate.Verdict.FAILED}
    weak = _weakest(segment_readings(holdout, ["region"], new, old))
    measure = {"regression": "mae", "multiclass": "accuracy"}[world.task]
    assert all(each.worse for each in weak)
    assert weak == sorted(weak, key=lambda each: each.goodness)
    assert f"challenger_{measure}" in weak[0].model_dump()
    assert WeakSegment.model_validate(weak[0].model_dump()) == weak[0]


def test_decay_of_the_tasks_own_metric_is_read(world: TaskWorld, judged: EvaluateResult) -> None:
    systems = world.systems
    decay = systems.operations.retraining_pipelines[PIPELINE].triggers[1]
    reading = evidence.performance(
        systems, MODEL, decay, systems.registry.get("parcels", "1"), systems.clock.now()  # type: ignore[arg-type]
    )  # fmt: skip
    assert reading.value is not None
    key = decay.metric  # type: ignore[union-attr]
    assert reading.value == pytest.approx(judged.champion.metrics[key], rel=0.1)


def test_outcomes_that_do_not_differ_are_told(world: TaskWorld, judged: EvaluateResult) -> None:
    warehouse = world.systems.warehouse
    sound = warehouse.read("parcels_holdout")
    flat = sound.to_pandas().assign(outcome=lambda rows: rows["outcome"].iloc[0])
    world._append("parcels_holdout", flat, "latest")
    try:
        with pytest.raises(InputError, match="labelled rows are all of one"):
            EVALUATE.run(world.systems, EVALUATE.arguments(challenge=CHALLENGE))
    finally:
        warehouse.append("parcels_holdout", sound, "latest")
    assert world.systems.store.list(Kind.evaluation, MODEL, status="running") == []
