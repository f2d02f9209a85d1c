"""`retrain` on a small world with a real MLflow, from the first champion to a challenger, and every way to refuse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from policies.errors import InputError, SystemDown
from tests.tools.retrain.tiny_world import DAY, FIRST, MODEL, MONITOR, PIPELINE, TinyWorld, lost_pipeline
from tools.retrain import evidence
from tools.retrain.case import Case
from tools.retrain.evidence import Broken
from tools.retrain.result import RetrainResult
from tools.retrain.tool import TOOL, train_first_champion
from tools.systems import datasets
from tools.systems.store import Kind
from tools.systems.tables import AuditRow


def _retrain(world: TinyWorld, force: str | None = None) -> RetrainResult:
    result = TOOL.run(world.systems, TOOL.arguments(pipeline=PIPELINE, force_trigger=force))
    assert isinstance(result, RetrainResult)
    return result


@pytest.fixture(scope="module")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyWorld]:
    """A champion of day 30, in a world that changes on day 31."""
    world = TinyWorld(tmp_path_factory.mktemp("tiny"), change_on=31)
    world.live(30)
    train_first_champion(world.systems, MODEL, world.systems.clock.now())
    yield world
    world.systems.close()


@pytest.fixture
def world(_made: TinyWorld) -> TinyWorld:
    """The same world with the evidence of earlier tests taken away."""
    from sqlalchemy import delete

    from tools.systems.tables import EvidenceRow

    with _made.systems.store.writing() as session:
        session.execute(delete(EvidenceRow).where(EvidenceRow.id != "train-1"))
    _made.now(_made.today)
    return _made


def test_the_first_champion_is_adopted_as_such(world: TinyWorld) -> None:
    row = world.systems.store.latest(Kind.training_run, MODEL)
    assert row is not None
    result = RetrainResult.model_validate(row.body)
    assert (row.status, row.version, result.triggered_by) == ("completed", "1", "first_champion")
    assert result.metrics["holdout_auc_roc"] > 0.7
    version = world.systems.registry.get("loans", "1")
    assert version.aliases == ("champion",)
    assert version.metrics["holdout_auc_roc"] == pytest.approx(result.metrics["holdout_auc_roc"])
    with pytest.raises(InputError, match="champion already"):
        train_first_champion(world.systems, MODEL, world.systems.clock.now())


def _audit(world: TinyWorld) -> list[AuditRow]:
    with world.systems.store.reading() as session:
        return list(session.scalars(select(AuditRow).order_by(AuditRow.number)))


def test_labels_are_counted_since_the_data_the_champion_was_trained_on(world: TinyWorld) -> None:
    from tools.retrain.training import AS_OF_TAG

    world.live(max(world.today, 33))
    since = evidence.moment(evidence.champion(world.systems, MODEL), AS_OF_TAG)
    assert since == FIRST + 30 * DAY
    for day, arrived in ((30, 0), (30.5, 150), (31, 300), (33, 900)):
        # A label is known two hours after its row: 25 of them still come of the days the champion knew.
        found = evidence.labels_since(world.systems, MODEL, "outcomes", since, FIRST + day * DAY)
        assert found == pytest.approx(arrived, abs=1)


def test_without_evidence_no_trigger_fires(world: TinyWorld) -> None:
    result = _retrain(world)
    assert (result.started, result.run_id, result.policy) == (False, None, None)
    assert [each.rule for each in result.triggers] == ["no_report", "no_decay", "no_drift", "few_labels"]
    assert "no trigger fired" in (result.skipped_because or "")


def test_right_after_a_change_there_is_nothing_to_learn_yet(world: TinyWorld) -> None:
    world.live(max(world.today, 33))
    world.report()
    result = _retrain(world)
    assert not result.started
    assert "nothing_to_learn_yet" in (result.skipped_because or "")
    assert result.until is not None
    assert result.until > world.systems.clock.now()
    assert world.systems.store.latest(Kind.training_run, MODEL).version == "1"  # type: ignore[union-attr]


@pytest.mark.parametrize("force", [None, "drift_detected", "data_volume"])
def test_broken_data_block_every_run(world: TinyWorld, force: str | None) -> None:
    world.report(broken="48 h late")
    result = _retrain(world, force)
    assert (result.started, result.policy) == (False, "no_retraining_on_broken_data")
    assert "48 h late" in (result.skipped_because or "")
    told = [row.detail for row in _audit(world) if row.action == "notify"]
    assert "bureau: debt: 48 h late" in told[-1]
    assert '"to": "credit-data"' in told[-1]
    assert not any("web-team" in each for each in told)


def test_another_monitor_of_the_same_data_blocks_too_until_it_is_sound_again(world: TinyWorld) -> None:
    world.report(broken="column is missing", monitor="LoanContractWatch", status="failed")
    world.report()
    result = _retrain(world, "drift_detected")
    assert (result.started, result.policy) == (False, "no_retraining_on_broken_data")
    assert "column is missing" in (result.skipped_because or "")
    world.report(detected=False, monitor="LoanContractWatch", checked_contract=True)
    assert _retrain(world).policy is None


def test_broken_data_block_however_many_reports_lie_between(world: TinyWorld) -> None:
    """A weekly contract check is not forgotten over two hundred hourly reports without one."""
    world.report(broken="column is missing")
    for _ in range(201):
        world.report()
    assert _retrain(world).policy == "no_retraining_on_broken_data"


def test_a_finding_is_not_lost_behind_many_reports_of_others(world: TinyWorld) -> None:
    world.now(40)
    found = world.report()
    for _ in range(201):
        world.report(detected=False, monitor="Frequent")
        world.report(status="failed")
    case = Case.open(world.systems, PIPELINE)
    assert [each.report_id for each in case.seen] == [found.id]
    both = evidence.reports(world.systems, MODEL, [MONITOR, "Frequent"])
    assert both[-1].report_id == found.id
    assert [each.checked_at for each in both] == sorted((each.checked_at for each in both), reverse=True)


def test_a_run_rests_on_the_drift_and_not_on_a_quiet_monitor_that_reported_since(world: TinyWorld) -> None:
    pipelines = world.systems.operations.retraining_pipelines
    drift, *others = pipelines[PIPELINE].triggers
    second = drift.model_copy(update={"source": "Quiet"})
    pipelines["Two"] = pipelines[PIPELINE].model_copy(update={"triggers": [drift, second, *others]})
    found = world.report()
    world.report(detected=False, monitor="Quiet")
    assert Case.open(world.systems, "Two").grounds == found.id


def test_broken_data_that_nobody_owns_are_told_to_who_is_called(world: TinyWorld) -> None:
    operations = world.systems.operations
    monitor = operations.drift_monitors[MONITOR]
    alerts = monitor.alerts.model_copy(update={"escalation": {"critical": "oncall"}})
    operations.drift_monitors[MONITOR] = monitor.model_copy(update={"alerts": alerts})
    try:
        assert Case.open(world.systems, PIPELINE)._called() == ["oncall"]
    finally:
        operations.drift_monitors[MONITOR] = monitor
    told = evidence.broken_sources(world.systems, MODEL, [Broken("loan", "is missing"), Broken("age", "is text")])
    assert told == {"": ["loan: is missing"], "forms": ["forms: age: is text"]}


def test_a_running_rollout_blocks(world: TinyWorld) -> None:
    world.report()
    systems = world.systems
    rollout = systems.store.add(Kind.rollout, MODEL, {}, at=systems.clock.now(), status="running")
    assert _retrain(world, "drift_detected").policy == "no_retraining_during_rollout"
    systems.store.update(rollout.id, status="promoted")
    assert _retrain(world).policy is None


def test_an_undeclared_trigger_cannot_be_forced(world: TinyWorld) -> None:
    pipeline = world.systems.operations.retraining_pipelines[PIPELINE]
    only_drift = pipeline.model_copy(update={"triggers": pipeline.triggers[:1]})
    world.systems.operations.retraining_pipelines["Drift"] = only_drift
    with pytest.raises(InputError, match="it declares drift_detected"):
        TOOL.run(world.systems, TOOL.arguments(pipeline="Drift", force_trigger="scheduled"))


def test_a_dead_run_is_marked_failed(world: TinyWorld) -> None:
    import socket

    systems = world.systems
    body = {"pipeline": PIPELINE, "process": 2**22 + 1, "host": socket.gethostname()}
    dead = systems.store.add(Kind.training_run, MODEL, body, at=systems.clock.now(), status="running")
    assert _retrain(world).policy == "retraining_cooldown"
    row = systems.store.get(dead.id)
    assert row.status == "failed"
    assert row.body["failure"] == "its process was killed, and max_training_hours have passed since it began"


def test_a_drift_with_rows_to_learn_from_ends_in_a_challenger(world: TinyWorld) -> None:
    world.live(max(world.today, 44))
    systems, now = world.systems, FIRST + 44 * DAY
    world.now(32)
    world.report()
    world.now(44)
    report = world.report()
    result = _retrain(world)
    assert (result.started, result.triggered_by, result.policy) == (True, "drift_detected", None)
    window, holdout_start = result.data_window, datasets.time_span(systems, "loans_holdout", "at")[0]
    assert window is not None
    assert window.cut < window.end == holdout_start
    assert (window.changed_at, window.new_rows) == (FIRST + 32 * DAY, 5 * 300)

    row = systems.store.get(str(result.run_id))
    assert (row.status, row.version, row.rests_on) == ("completed", result.version, report.id)
    assert RetrainResult.model_validate(row.body) == result
    version = systems.registry.get("loans", str(result.version))
    assert version.aliases == ("challenger",)
    assert version.tags["guardian.run"] == result.run_id
    assert version.tags["guardian.train_end"] < holdout_start.isoformat()
    assert version.params.keys() >= {"threshold", "learning_rate", "half_life_days", "data_window"}
    assert version.params["recipe"] == "Loans"
    assert (version.tags["guardian.data_digest"], result.stopped) == (window.digest, None)
    assert "+sha256." in version.tags["guardian.code_version"]
    client = systems.registry.client
    logged = {each.path for folder in ("", "plots") for each in client.list_artifacts(version.run_id, folder)}
    assert logged >= {"example.json", "data_window.json", "trials.json", "environment.json"}
    assert logged >= {f"plots/{name}.svg" for name in ("roc", "calibration", "trials")}
    assert client.get_run(version.run_id).info.status == "FINISHED"

    for force in (None, "scheduled"):
        again = _retrain(world, force)
        assert (again.started, again.policy) == (False, "retraining_cooldown")
        assert again.until == now + DAY

    world.now(45.1)
    world.report()
    later = _retrain(world)
    assert not later.started
    assert "the last run learned from 1,500" in (later.skipped_because or "")


def test_a_run_that_fails_says_why_and_counts_for_the_cooldown(world: TinyWorld) -> None:
    world.report()
    arguments = TOOL.arguments(pipeline=lost_pipeline(world.systems), force_trigger="drift_detected")
    with pytest.raises(InputError, match="nothing to train on"):
        TOOL.run(world.systems, arguments)
    row = world.systems.store.latest(Kind.training_run, MODEL, status="failed")
    assert row is not None
    assert "nothing to train on" in row.body["failure"]
    assert TOOL.run(world.systems, arguments).policy == "retraining_cooldown"  # type: ignore[attr-defined]


def test_a_registry_that_is_down_does_not_hide_why_a_run_failed(
    world: TinyWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object) -> None:
        raise SystemDown("connection refused", where="model registry")

    world.report()
    arguments = TOOL.arguments(pipeline=lost_pipeline(world.systems), force_trigger="drift_detected")
    monkeypatch.setattr(world.systems.registry, "give_up", down)
    with pytest.raises(InputError, match="nothing to train on"):
        TOOL.run(world.systems, arguments)
    row = world.systems.store.latest(Kind.training_run, MODEL, status="failed")
    assert row is not None
    assert "nothing to train on" in row.body["failure"]
