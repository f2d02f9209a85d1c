"""`evaluate` on a small world with a real MLflow: the three verdicts, the gate, and what is left behind."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sqlalchemy import select

from policies.errors import InputError, SystemDown
from tests.tools.retrain import killing
from tests.tools.retrain.tiny_world import CHALLENGE, MODEL, PIPELINE, TinyWorld, rows_of
from tools.deploy.permission import gate_holds
from tools.evaluate import contenders
from tools.evaluate.begun import begin, settle
from tools.evaluate.latency import measure
from tools.evaluate.result import EvaluateResult
from tools.evaluate.tool import TOOL
from tools.retrain.tool import TOOL as RETRAIN
from tools.retrain.tool import train_first_champion
from tools.systems.store import Kind
from tools.systems.tables import AuditRow


class Clock:
    """Time that passes by what models say they take: a busy machine makes nothing slower."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


clock = Clock()


class Distorted(ClassifierMixin, BaseEstimator):
    """The model inside, with something wrong: it ranks backwards and flags nobody, is slow, or fails."""

    def __init__(self, inner: Any, fault: str) -> None:
        self.inner, self.fault = inner, fault
        self.classes_ = np.array([0, 1])

    def fit(self, *_: Any) -> Distorted:
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        scores = self.inner.predict_proba(rows)
        clock.seconds += 0.05 if self.fault == "slow" else 0.01
        if self.fault == "fails" and len(rows) > 100:
            raise RuntimeError("out of memory")
        if self.fault == "fails on one row" and len(rows) == 1 and rows["age"].iloc[0] != 30.0:
            raise RuntimeError("out of rows")
        return scores[:, ::-1] * 0.01 if self.fault == "guesses" else scores


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyWorld]:
    """A champion of day 30, and a challenger (version 2) that knows the world since day 31."""
    built = TinyWorld(tmp_path_factory.mktemp("tiny"), change_on=31)
    built.live(30)
    train_first_champion(built.systems, MODEL, built.systems.clock.now())
    built.live(44)
    built.now(32)
    built.report()
    built.now(44)
    built.report()
    trained = RETRAIN.run(built.systems, RETRAIN.arguments(pipeline=PIPELINE, force_trigger=None))
    assert trained.version == "2"  # type: ignore[attr-defined]
    yield built
    built.systems.close()


def _evaluate(world: TinyWorld, challenger: str | None = None) -> EvaluateResult:
    if challenger is not None:
        world.systems.registry.set_alias("loans", "challenger", challenger)
    result = TOOL.run(world.systems, TOOL.arguments(challenge=CHALLENGE))
    assert isinstance(result, EvaluateResult)
    return result


def _register(world: TinyWorld, fault: str) -> str:
    registry = world.systems.registry
    good = registry.get("loans", "2")
    example = pd.DataFrame({"income": [0.1], "debt": [0.2], "age": [30.0], "region": ["north"]})
    pipeline = Distorted(registry.load("loans", "2"), fault)
    made = registry.register("loans", pipeline, example=example, params=good.params, metrics={}, tags={}, artifacts={})
    return made.version


def test_a_better_challenger_wins_and_passes(world: TinyWorld) -> None:
    result = _evaluate(world, "2")
    assert result.verdict == "challenger_wins"
    assert (result.champion.version, result.challenger.version) == ("1", "2")
    assert result.interval[0] > 0
    assert result.interval[0] < result.weighted_improvement < result.interval[1]
    assert result.challenger.metrics["auc_roc"] > result.champion.metrics["auc_roc"] + 0.1
    assert {"inference_ms", "model_size_mb", "f1", "log_loss"} <= result.champion.metrics.keys()
    assert result.gate.status == "passed", result.gate.checks
    assert "deploy version 2 by Canary" in result.next

    store = world.systems.store
    row, gate = store.get(result.evaluation_id), store.get(str(result.gate.gate_id))
    assert EvaluateResult.model_validate(row.body) == result
    assert [each.kind for each in store.chain(gate.id)] == ["gate", "eval", "train", "drift"]
    assert (gate.status, gate.version) == ("passed", "2")
    assert gate.body["artifact_digest"] == world.systems.registry.get("loans", "2").digest
    assert gate.body["champion"] == result.champion.version == "1"
    assert gate.body["holdout_digest"] == result.holdout.digest
    names = [each["name"] for each in gate.body["checks"]]
    assert {"auc_roc", "improvement:auc_roc", "segment:region=north", "no_overlap", "artifact_replays"} <= set(names)


def test_the_same_evaluation_gives_the_same_numbers(world: TinyWorld) -> None:
    first, second = _evaluate(world, "2"), _evaluate(world, "2")
    assert first.weighted_improvement == pytest.approx(second.weighted_improvement, abs=1e-12)
    assert first.interval == second.interval
    assert first.holdout == second.holdout


def test_a_worse_challenger_is_archived(world: TinyWorld) -> None:
    version = _register(world, "guesses")
    result = _evaluate(world, version)
    assert (result.verdict, result.gate.status, result.gate.gate_id) == ("champion_wins", "not_run", None)
    registry = world.systems.registry
    assert registry.alias("loans", "challenger") is None
    assert registry.get("loans", version).tags["guardian.archived_by"] == result.evaluation_id
    assert registry.alias("loans", "champion") == "1"


def test_a_slow_challenger_loses_on_latency(world: TinyWorld) -> None:
    world.systems.stopwatch = partial(measure, timer=clock)
    world.systems.registry.set_alias("loans", "champion", _register(world, "none"))
    try:
        result = _evaluate(world, _register(world, "slow"))
    finally:
        world.systems.stopwatch = None
        world.systems.registry.set_alias("loans", "champion", "1")
    assert result.verdict == "champion_wins"
    assert result.interval[1] < 0
    latency = next(each for each in result.contributions if each.metric == "inference_ms")
    assert latency.weighted == pytest.approx(-0.8)


@pytest.mark.parametrize(("fault", "told"), [("fails", "out of memory"), ("fails on one row", "out of rows")])
def test_a_challenger_that_fails_to_score_loses(world: TinyWorld, fault: str, told: str) -> None:
    result = _evaluate(world, _register(world, fault))
    assert result.verdict == "champion_wins"
    assert told in result.next
    assert world.systems.registry.alias("loans", "challenger") is None


def test_a_twin_ties_and_the_champion_stays(world: TinyWorld) -> None:
    version = _register(world, "none")
    registry = world.systems.registry
    registry.set_alias("loans", "champion", "2")
    try:
        result = _evaluate(world, version)
    finally:
        registry.set_alias("loans", "champion", "1")
    assert (result.weighted_improvement, result.interval) == (0, (0, 0))
    assert (result.verdict, result.gate.status) == ("tie", "not_run")
    assert registry.alias("loans", "challenger") == version


def test_rows_it_was_trained_on_may_not_judge_it(world: TinyWorld) -> None:
    warehouse = world.systems.warehouse
    learned = pa.concat_tables([rows_of(day, True).slice(0, 10).drop_columns(["known_at"]) for day in range(32, 37)])
    warehouse.append("loans_holdout", learned.set_column(0, "loan", learned["loan"].cast("float64")), "learned")
    try:
        result = _evaluate(world, "2")
    finally:
        warehouse.withdraw("loans_holdout", "learned")
    overlap = next(each for each in result.gate.checks if each.name == "no_overlap")
    assert (overlap.verdict, overlap.value, result.gate.status) == ("failed", 50, "failed")
    assert overlap.detail.startswith("50 rows in common")


def test_a_winner_without_provenance_is_not_passed(world: TinyWorld) -> None:
    result = _evaluate(world, _register(world, "none"))
    assert result.verdict == "challenger_wins"
    assert result.gate.status == "inconclusive"
    unknown = {each.name for each in result.gate.checks if each.verdict == "inconclusive"}
    assert unknown == {"no_overlap", "artifact_replays"}
    assert "promotion is blocked" in result.next


def test_a_gate_that_did_not_pass_opens_an_investigation(world: TinyWorld) -> None:
    """People and the planner are told what failed, where, and what is not as the champion learned it."""
    warehouse, store = world.systems.warehouse, world.systems.store
    sound = warehouse.read("loans_holdout")
    older = pc.add(sound["age"], 40.0)
    warehouse.append("loans_holdout", sound.set_column(sound.schema.get_field_index("age"), "age", older), "latest")
    try:
        result = _evaluate(world, _register(world, "none"))
    finally:
        warehouse.append("loans_holdout", sound, "latest")
    opened = result.investigation
    assert opened is not None
    assert opened.gate_id == result.gate.gate_id
    assert [each.split(":")[0] for each in opened.failed] == ["no_overlap", "artifact_replays"]
    assert {each.column for each in opened.segments} == {"region"}
    assert opened.segments == sorted(opened.segments, key=lambda each: each.challenger)
    assert [each.column for each in opened.changes] == ["age"]
    assert opened.since is not None
    assert opened.since < result.holdout.start
    assert opened.investigation_id in result.next
    row = store.get(opened.investigation_id)
    assert (row.status, row.rests_on) == ("open", result.gate.gate_id)
    assert [each.kind for each in store.chain(row.id)][:2] == ["investigation", "gate"]
    with store.reading() as session:
        told = [
            json.loads(each.detail) for each in session.scalars(select(AuditRow).where(AuditRow.action == "notify"))
        ]
    assert told[-1]["to"] == "risk@bank.example"
    assert "age (PSI" in told[-1]["text"]


def test_the_gate_measures_what_it_and_the_pipeline_name(world: TinyWorld) -> None:
    """A metric that does not weigh in the comparison can still be demanded."""
    operations = world.systems.operations
    gates, pipelines = dict(operations.quality_gates), dict(operations.retraining_pipelines)
    pipeline, gate = pipelines[PIPELINE], gates["LoanGate"]
    promotion = pipeline.promotion.model_copy(update={"metric": "precision_at_5"})
    operations.retraining_pipelines[PIPELINE] = pipeline.model_copy(update={"promotion": promotion})
    operations.quality_gates["LoanGate"] = gate.model_copy(update={"metrics": {"recall_at_20": "> 0.1"}})
    try:
        result = _evaluate(world, "2")
    finally:
        operations.quality_gates.update(gates)
        operations.retraining_pipelines.update(pipelines)
    verdicts = {each.name: each.verdict for each in result.gate.checks}
    assert (verdicts["recall_at_20"], verdicts["improvement:precision_at_5"]) == ("passed", "passed")


def test_a_passed_gate_opens_none(world: TinyWorld) -> None:
    assert _evaluate(world, "2").investigation is None


def test_a_loser_gives_up_only_its_own_alias(world: TinyWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another challenger registered while this one was judged keeps its name."""
    registry, real = world.systems.registry, contenders.judge_challenger

    def meanwhile(*given: Any) -> Any:
        registry.set_alias("loans", "challenger", "2")
        return real(*given)

    monkeypatch.setattr(contenders, "judge_challenger", meanwhile)
    assert _evaluate(world, _register(world, "guesses")).verdict == "champion_wins"
    assert registry.alias("loans", "challenger") == "2"


def test_a_changed_artifact_fails_the_gate(world: TinyWorld, tmp_path: Path) -> None:
    file = world.systems.registry.fetch("loans", "2").path / "model.pkl"
    sound = file.read_bytes()
    file.write_bytes(sound[:-40] + b"x" * 40)
    try:
        result = _evaluate(world, "2")
    finally:
        file.write_bytes(sound)
    failed = [each for each in result.gate.checks if each.verdict == "failed"]
    assert [each.name for each in failed] == ["artifact_replays"]
    assert result.gate.status == "failed"


def test_a_killed_evaluation_has_failed_and_so_has_what_rests_on_it(world: TinyWorld) -> None:
    systems = world.systems
    store, version = systems.store, systems.registry.get("loans", "2")
    process = killing.forkserver().Process(target=killing.evaluate_and_die, args=(systems.home,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    killed = store.latest(Kind.evaluation, MODEL, status="running")
    assert killed is not None
    passed = {"artifact_digest": version.digest, "champion": "1", "holdout_digest": "h"}
    at = systems.clock.now()
    store.add(Kind.gate, MODEL, passed, at=at, version="2", status="passed", rests_on=killed.id)
    with begin(systems, MODEL, CHALLENGE, "2", at) as alive:
        assert settle(systems, MODEL) == [killed.id]
        assert store.get(alive.id).status == "running", "this process is at work on it"
        assert gate_holds(systems, MODEL, "2").reasons[0].endswith(f"{killed.id}, which it rests on, is failed")
        store.update(alive.id, status="tie")
    killed = store.get(killed.id)
    assert (killed.status, killed.body["failure"]) == ("failed", "its process was killed")


def test_an_error_on_the_way_is_the_evaluations_failure(world: TinyWorld) -> None:
    with pytest.raises(SystemDown), begin(world.systems, MODEL, CHALLENGE, "2", world.systems.clock.now()) as row:
        raise SystemDown("is not there", where="registry")
    row = world.systems.store.get(row.id)
    assert (row.status, row.body["failure"]) == ("failed", "registry: is not there")


def test_there_must_be_a_challenger(world: TinyWorld) -> None:
    registry = world.systems.registry
    registry.delete_alias("loans", "challenger")
    with pytest.raises(InputError, match="no challenger; retrain first"):
        TOOL.run(world.systems, TOOL.arguments(challenge=CHALLENGE))
    with pytest.raises(InputError, match="champion already"):
        _evaluate(world, "1")
    assert world.systems.store.latest(Kind.gate, MODEL, version="1") is None
