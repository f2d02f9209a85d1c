"""Deploying on a real store, registry, warehouse and traffic split, with a virtual clock."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from typing import Any

import pytest

from agent.cli import render
from policies.declarations import Operations
from policies.errors import InputError, PolicyRefusal
from tests.tools.deploy.conftest import HOUR, MODEL, NAME, START, Shop
from tools.deploy.permission import waived_by
from tools.deploy.rollout import Rollout, Status
from tools.deploy.tool import TOOL, advance, run
from tools.systems.store import Kind


def deploy(shop: Shop, version: str = "2", strategy: str = "CanaryDeploy") -> Rollout:
    return run(shop.systems, TOOL.arguments(strategy=strategy, model=MODEL, version=version))


def step(shop: Shop, at: datetime | None = None) -> Rollout:
    (result,) = advance(shop.systems, at or shop.now)
    return result


def share(shop: Shop) -> tuple[str, str | None, float]:
    split = shop.systems.traffic.split(MODEL)
    assert split is not None
    return split.champion, split.challenger, split.challenger_pct


def told(shop: Shop) -> list[str]:
    from sqlalchemy import select

    from tools.systems.tables import AuditRow

    with shop.systems.store.reading() as session:
        return list(session.scalars(select(AuditRow.detail).where(AuditRow.action == "notify")))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (None, "no quality gate result"),
        ({"status": "failed"}, "is failed, not passed"),
        ({"status": "inconclusive"}, "is inconclusive"),
        ({"digest": "other"}, "another artifact"),
    ],
)
def test_without_a_passed_gate_for_this_artifact_nothing_is_deployed(
    shop: Shop, given: dict[str, Any] | None, said: str
) -> None:
    if given is not None:
        shop.gate("2", **given)
    with pytest.raises(PolicyRefusal, match=said):
        deploy(shop)
    assert share(shop) == ("1", None, 0.0)
    assert shop.systems.store.latest(Kind.rollout) is None


def test_a_gate_of_another_version_or_an_old_one_does_not_help(shop: Shop) -> None:
    shop.gate("3")
    with pytest.raises(PolicyRefusal):
        deploy(shop)
    shop.gate("2")
    shop.set(START + timedelta(days=8))
    with pytest.raises(PolicyRefusal, match="older than"):
        deploy(shop)


def test_a_gate_against_another_champion_does_not_help(shop: Shop) -> None:
    shop.gate("2")
    shop.systems.traffic.set(MODEL, "3", at=shop.now, why="someone", rests_on=None)
    with pytest.raises(PolicyRefusal, match="judged against version 1, and version 3 serves now; evaluate again"):
        deploy(shop)
    shop.gate("2")
    assert deploy(shop).champion == "3"


def test_a_copy_that_is_another_artifact_is_not_deployed(shop: Shop) -> None:
    registry = shop.systems.registry
    shop.gate("2")
    here, other = registry.fetch(NAME, "2").path, registry.fetch(NAME, "3").path
    shutil.rmtree(here)
    shutil.copytree(other, here)
    with pytest.raises(InputError, match="the copy at hand is not the artifact registered; delete it"):
        deploy(shop)
    assert share(shop) == ("1", None, 0.0)
    assert shop.systems.store.list(Kind.rollout, MODEL)[0].status == "aborted"


def test_a_strategy_that_lacks_what_it_compares_by_is_bad_input(shop: Shop) -> None:
    shop.gate("2")
    with pytest.raises(InputError, match="revenue has no table of outcomes"):
        deploy(shop, strategy="ABTestDeploy")
    with pytest.raises(InputError, match="inference_ms is not compared in a shadow"):
        deploy(shop, strategy="BadShadow")
    assert shop.systems.store.latest(Kind.rollout) is None


def test_a_strategy_that_does_not_suit_the_model_is_refused_and_what_suits_is_named(shop: Shop) -> None:
    shop.gate("2")
    shop.set(START - timedelta(days=120))  # before the first label
    shop.gate("2")
    with pytest.raises(PolicyRefusal, match=r"no label of ml\.labels has arrived") as refused:
        deploy(shop)
    assert (refused.value.policy, refused.value.exit_code) == ("strategy_suits_model", 3)
    assert "suitable for ChurnModel: ErrorsOnly" in str(refused.value)
    assert deploy(shop, strategy="ErrorsOnly").status == "running"


def test_a_gate_of_declared_conditions_asks_for_each_of_them_and_no_more(shop: Shop) -> None:
    shop.gate("2")
    deploy(shop, strategy="ErrorsOnly")
    shop.live(1, 1_000, labels=False)
    waits = step(shop)
    assert (waits.stage, waits.last_gate and waits.last_gate.name) == (
        0,
        "error_rate <= 0.5% and p99_latency_ms < 0.2 s",
    )
    assert waits.last_gate is not None
    asked = {(each.name, each.limit): (each.verdict, each.asked) for each in waits.last_gate.measurements}
    assert asked[("error_rate", 0.01)] == ("pass", False), "the rollback condition's"
    assert asked[("error_rate", 0.005)] == ("inconclusive", True), "500 clean answers do not show half a percent"
    assert asked[("p99_latency_ms", 200.0)] == ("pass", True)
    shop.live(1, 2_000, labels=False)
    assert step(shop).status == "promoted"


def test_a_shadow_on_a_log_from_before_there_were_copies_waits(shop: Shop) -> None:
    shop.gate("2")
    deploy(shop, strategy="ShadowDeploy")
    split = shop.systems.traffic.split(MODEL)
    assert split is not None and split.mirrored
    assert step(shop).last_gate is not None
    shop.live(24, 500)
    waits = step(shop)
    assert (waits.status, waits.last_gate and waits.last_gate.detail) == ("running", "no request was copied yet")


def test_the_version_that_serves_is_not_deployed_again(shop: Shop) -> None:
    shop.gate("1")
    with pytest.raises(PolicyRefusal, match="version 1 serves already") as refused:
        deploy(shop, version="1")
    assert (refused.value.policy, refused.value.exit_code) == ("serves_already", 3)


def test_a_better_challenger_passes_all_stages_in_nominal_time(shop: Shop) -> None:
    gate = shop.gate("2")
    started = deploy(shop)
    assert (started.status, started.stage, started.traffic_pct) == ("running", 0, 5.0)
    assert share(shop) == ("1", "2", 5.0)
    assert shop.systems.registry.alias(NAME, "challenger") == "2"

    shop.live(0.5, 5_000)
    assert step(shop).stage == 0
    shop.live(0.5, 5_000)
    assert step(shop).traffic_pct == 10
    shop.live(4, 6_000)
    assert step(shop).traffic_pct == 25
    shop.live(12, 6_000)
    assert step(shop).traffic_pct == 50
    shop.live(24, 6_000)
    done = step(shop)

    assert (done.status, done.traffic_pct) == ("promoted", 100.0)
    assert shop.now - START == timedelta(hours=41)
    assert share(shop) == ("2", None, 0.0)
    registry = shop.systems.registry
    assert [registry.alias(NAME, a) for a in ("champion", "previous", "challenger")] == ["2", "1", None]
    assert [e.event for e in done.events].count("stage") == 4
    chain = shop.systems.store.chain(shop.systems.store.latest(Kind.traffic_change, MODEL).id)  # type: ignore[union-attr]
    assert [row.kind for row in chain] == [Kind.traffic_change, Kind.rollout, Kind.gate]
    assert chain[-1].id == gate.id
    assert advance(shop.systems, shop.now) == []
    measured = {m.name: m for m in done.last_gate.measurements} if done.last_gate else {}
    assert measured["auc_degradation"].value is not None
    assert measured["auc_degradation"].value < 0
    assert measured["error_rate"].verdict == "pass"


@pytest.mark.parametrize(
    ("fault", "condition"),
    [({"errors": 0.05}, "error_rate > 0.01"), ({"slow": 0.05}, "p99_latency_ms > 300")],
)
def test_a_failing_challenger_is_rolled_back_within_its_first_stage(
    shop: Shop, fault: dict[str, float], condition: str
) -> None:
    shop.gate("2")
    deploy(shop)
    shop.live(0.25, 2_500, **fault)  # type: ignore[arg-type]
    result = step(shop)
    assert (result.status, result.traffic_pct, result.stage) == ("rolled_back", 0.0, 0)
    assert result.reason.startswith(condition)
    assert share(shop) == ("1", None, 0.0)
    assert shop.systems.registry.alias(NAME, "challenger") is None
    assert any("oncall" in each and "rolled back" in each for each in told(shop))
    with pytest.raises(PolicyRefusal, match="rolled back by rollout-1"):
        deploy(shop)
    shop.live(1, 100)
    shop.gate("2")
    assert deploy(shop).rollout_id == "rollout-2"


def test_an_outage_that_hits_both_is_not_blamed_on_the_challenger(shop: Shop) -> None:
    shop.gate("2")
    deploy(shop)
    shop.live(1, 10_000, errors=0.2, both_fail=True)
    result = step(shop)
    assert (result.status, result.stage) == ("running", 0)
    assert result.last_gate is not None
    assert result.last_gate.verdict == "inconclusive"
    assert result.events[-1].event == "prolonged"


def test_a_challenger_that_ranks_worse_never_reaches_all_traffic(shop: Shop) -> None:
    shop.gate("3")
    deploy(shop, "3")
    for hours in (1, 4, 12, 24):
        shop.live(hours, 8_000)
        if (result := step(shop)).ended:
            break
    assert result.status == "rolled_back"
    assert "auc_degradation > 0.05" in result.reason
    assert share(shop) == ("1", None, 0.0)


def to_stage_two(shop: Shop) -> None:
    """Deploys version 2 and lets it pass its first gate, which asks for no labels; none arrive."""
    shop.gate("2")
    deploy(shop)
    shop.live(1, 10_000, labels=False)
    assert step(shop).stage == 1
    shop.live(4, 6_000, labels=False)


def test_a_gate_that_names_metrics_waits_for_labels_and_never_passes_without(shop: Shop) -> None:
    to_stage_two(shop)
    waiting = step(shop)
    assert waiting.current.gate == "latency_errors_metrics"
    assert (waiting.status, waiting.stage, waiting.last_gate and waiting.last_gate.verdict) == (
        "running", 1, "inconclusive",
    )  # fmt: skip
    assert waiting.events[-1].event == "prolonged"
    assert waiting.events[-1].detail == (
        "not conclusive yet: auc_degradation: 0 labelled rows, fewer than 20 of a class: its AUC cannot be judged yet; "
        "how many more it takes cannot be said yet"
    )
    shop.gate("2")
    shop.set(START + timedelta(days=6))
    assert step(shop).status == "running"
    shop.set(START + timedelta(days=7, hours=1))
    assert step(shop).status == "paused"
    assert share(shop) == ("1", "2", 10.0)
    assert any("data-team" in each and "paused at 10%" in each for each in told(shop))


def test_labels_that_arrive_late_judge_both_versions(shop: Shop) -> None:
    """Of rows scored before the rollout, those count that are labelled since it began and that nobody learned from."""
    for version in ("1", "2"):
        shop.systems.registry.tag(NAME, version, "guardian.train_end", (START - timedelta(days=20)).isoformat())
    shop.told_late(2_000, scored=START - timedelta(days=21), arrived=START + 2 * HOUR)
    shop.told_late(3_000, scored=START - timedelta(days=5), arrived=START - HOUR)
    to_stage_two(shop)
    assert step(shop).stage == 1
    shop.told_late(1_500, scored=START - timedelta(days=6), arrived=START + 3 * HOUR)
    shop.told_late(4_000, scored=START - timedelta(days=7), arrived=START + 50 * HOUR)
    advanced = step(shop)
    assert (advanced.stage, advanced.traffic_pct) == (2, 25.0)
    judged = {m.name: m for m in advanced.stages[1].last_gate.measurements} if advanced.stages[1].last_gate else {}
    assert (judged["auc_degradation"].verdict, judged["auc_degradation"].n) == ("pass", 1_500)


def test_of_very_many_labels_a_sample_of_each_class_is_replayed(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.deploy.evidence.MOST_OF_A_CLASS", 60)
    to_stage_two(shop)
    shop.told_late(1_500, scored=START + HOUR, arrived=START + 3 * HOUR)
    judged = step(shop).stages[1].last_gate
    assert judged is not None
    assert {m.name: m.n for m in judged.measurements}["auc_degradation"] == 120


def test_no_evidence_prolongs_then_pauses_and_tells_people(shop: Shop) -> None:
    shop.gate("2")
    deploy(shop)
    shop.set(START + 2 * HOUR)
    assert step(shop).status == "running"
    shop.live(1, 300)
    prolonged = step(shop)
    assert prolonged.status == "running"
    assert "more challenger requests would settle it" in prolonged.events[-1].detail or prolonged.last_gate is not None
    shop.set(START + 25 * HOUR)
    paused = step(shop)
    assert paused.status == "paused"
    assert share(shop) == ("1", "2", 5.0)
    assert any("data-team" in each and "paused" in each for each in told(shop))
    assert step(shop).status == "paused"
    assert len(told(shop)) == 1
    shop.live(1, 2_500, errors=0.1)
    assert step(shop).status == "rolled_back"


def test_a_paused_rollout_goes_on_once_the_evidence_has_come(shop: Shop) -> None:
    shop.gate("2")
    deploy(shop, strategy="ErrorsOnly")
    shop.set(START + 25 * HOUR)
    paused = step(shop)
    assert (paused.status, share(shop)) == (Status.PAUSED, ("1", "2", 50.0))
    shop.live(1, 6_000)
    done = step(shop)
    assert (done.status, done.reason) == (Status.PROMOTED, "")
    assert [e.event for e in done.events[-4:]] == ["resumed", "gate_passed", "stage", "promoted"]
    assert share(shop) == ("2", None, 0.0)
    assert any("data-team" in each and "paused at 50%, goes on" in each for each in told(shop))
    row = shop.systems.store.get(done.rollout_id)
    assert (row.status, row.body["reason"]) == ("promoted", "")


def test_a_paused_rollout_goes_on_no_further_than_its_quality_gate_allows(shop: Shop) -> None:
    shop.gate("2")
    deploy(shop)
    shop.set(START + 25 * HOUR)
    assert step(shop).status is Status.PAUSED
    shop.live(8 * 24, 8_000)
    held = step(shop)
    assert (held.status, held.events[-1].event, share(shop)) == (Status.PAUSED, "held", ("1", "2", 5.0))
    assert not any("goes on" in each for each in told(shop) if "by itself" not in each)
    shop.gate("2")
    assert (step(shop).status, share(shop)) == (Status.RUNNING, ("1", "2", 10.0))


def test_a_late_call_advances_one_stage_on_its_own_evidence(shop: Shop) -> None:
    shop.gate("2")
    deploy(shop)
    shop.live(1, 10_000)
    shop.set(START + timedelta(days=3))
    assert step(shop).stage == 1
    again = step(shop)
    assert (again.stage, again.status) == (1, "running")


def test_two_calls_at_once_and_a_lost_split_come_to_the_same(shop: Shop) -> None:
    shop.gate("2")
    deploy(shop)
    shop.live(1, 10_000)
    now = shop.now
    step(shop)
    assert step(shop, now).stage == 1
    shop.systems.traffic.set(MODEL, "1", at=now, why="someone", rests_on=None)
    assert step(shop).stage == 1
    assert share(shop) == ("1", "2", 10.0)


def test_a_controller_killed_between_row_and_traffic_is_made_good(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.gate("2")
    deploy(shop)
    shop.live(1, 10_000, errors=0.05)
    with monkeypatch.context() as patched:
        patched.setattr(shop.systems, "traffic", _Dead(shop.systems.traffic))
        with pytest.raises(KeyboardInterrupt):
            step(shop)
    assert share(shop) == ("1", "2", 5.0)
    assert shop.systems.store.get("rollout-1").status == "rolled_back"
    assert advance(shop.systems, shop.now) == []
    assert share(shop) == ("1", None, 0.0)
    assert shop.systems.registry.alias(NAME, "challenger") is None


class _Dead:
    """A traffic system in a process that is killed before it writes."""

    def __init__(self, real: Any) -> None:
        self.split = real.split

    def set(self, *_: Any, **__: Any) -> None:
        raise KeyboardInterrupt


def test_a_second_rollout_waits_for_the_first(shop: Shop) -> None:
    shop.gate("2")
    shop.gate("3")
    deploy(shop)
    with pytest.raises(PolicyRefusal, match="rollout-1 of ChurnModel has not ended"):
        deploy(shop, "3")


@pytest.mark.parametrize("later", [0, 1])
def test_of_two_deploys_at_once_one_is_refused(shop: Shop, monkeypatch: pytest.MonkeyPatch, later: int) -> None:
    """Both found no other rollout; the one that looked at the clock first may store its row last."""
    shop.gate("2")
    shop.gate("3")

    def meanwhile(*_: object) -> None:
        monkeypatch.undo()
        shop.set(shop.now + timedelta(seconds=later))
        deploy(shop, "3")

    monkeypatch.setattr("tools.deploy.tool.require_suitable", meanwhile)
    with pytest.raises(PolicyRefusal, match="rollout-1 of ChurnModel has not ended"):
        deploy(shop)
    assert [row.version for row in shop.systems.store.list(Kind.rollout)] == ["3"]
    assert share(shop) == ("1", "3", 5.0)


def test_a_champion_changed_by_hand_ends_the_rollout_and_stays(shop: Shop) -> None:
    shop.gate("2")
    deploy(shop)
    shop.systems.traffic.set(MODEL, "3", at=shop.now, why="someone", rests_on=None)
    assert step(shop).status == "aborted"
    assert share(shop) == ("3", None, 0.0)


def test_a_rollout_that_outlives_its_gate_waits_for_a_new_one(shop: Shop) -> None:
    gate = shop.gate("2")
    deploy(shop)
    shop.live(1, 8_000)
    shop.set(gate.created_at + timedelta(days=8))
    held = step(shop)
    assert (held.status, held.traffic_pct) == (Status.RUNNING, 5.0)
    assert held.events[-1].event == "held"
    assert "older than 7d" in held.held
    assert "held: " in render.rollout(held)
    assert step(shop).events == held.events, "it is said once"
    assert any("stays at 5%" in text for text in told(shop))
    shop.gate("2")
    goes_on = step(shop)
    assert (goes_on.traffic_pct, goes_on.held) == (10.0, "")


def test_a_rollout_left_pending_by_a_crash_does_not_start_on_an_expired_gate(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        pass

    def dies(*_: object) -> Rollout:
        raise Crash

    shop.gate("2")
    with monkeypatch.context() as patched, pytest.raises(Crash):
        patched.setattr("tools.deploy.tool.start", dies)
        deploy(shop)
    shop.set(START + timedelta(days=8))
    left = step(shop)
    assert left.status is Status.ABORTED
    assert "older than 7d" in left.reason
    assert share(shop) == ("1", None, 0.0)


def test_a_promotion_written_down_but_never_done_is_withdrawn_when_it_is_too_late(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Crash(BaseException):
        pass

    def dies(*_: object, **__: object) -> None:
        raise Crash

    shop.gate("2")
    deploy(shop)
    shop.live(1, 8_000)
    with monkeypatch.context() as patched, pytest.raises(Crash):
        patched.setattr(shop.systems.traffic, "set", dies)
        step(shop)
    shop.set(START + timedelta(days=8))
    assert step(shop).status is Status.ABORTED
    assert share(shop) == ("1", None, 0.0)
    assert shop.systems.registry.alias(NAME, "champion") == "1"


@pytest.mark.parametrize("verdict", ["tie", "champion_wins"])
def test_a_later_evaluation_that_it_did_not_win_overrules_a_pass(shop: Shop, verdict: str) -> None:
    shop.gate("2")
    shop.systems.store.add(Kind.evaluation, MODEL, {}, at=shop.now, version="2", status=verdict)
    with pytest.raises(PolicyRefusal, match=f"eval-1 ended as {verdict}"):
        deploy(shop)


def test_a_later_failed_gate_counts_though_its_date_is_earlier(shop: Shop) -> None:
    shop.gate("2")
    shop.set(START - HOUR)
    shop.gate("2", "failed")
    shop.set(START + HOUR)
    with pytest.raises(PolicyRefusal, match="gate-2 of version 2 is failed"):
        deploy(shop)


def test_require_gate_false_covers_what_its_pipeline_trained(shop: Shop) -> None:
    pipeline = {
        "model": MODEL,
        "triggers": [{"type": "scheduled", "cron": "0 2 * * 0"}],
        "training": {"use_experiment": MODEL, "data_window": "expanding"},
        "promotion": {"metric": "auc_roc", "require_gate": False},
    }
    body = {**shop.systems.operations.model_dump(), "retraining_pipelines": {"Weekly": pipeline}}
    shop.systems.operations = Operations.model_validate(body)
    with pytest.raises(PolicyRefusal, match="no quality gate result"):
        deploy(shop)
    trained = {"pipeline": "Weekly"}
    shop.systems.store.add(Kind.training_run, MODEL, trained, at=shop.now, version="2", status="completed")
    shop.systems.store.add(Kind.evaluation, MODEL, {}, at=shop.now, version="2", status="tie")
    with pytest.raises(PolicyRefusal, match="not the comparison: eval-1 ended as tie"):
        deploy(shop)
    won = shop.systems.store.add(Kind.evaluation, MODEL, {}, at=shop.now, version="2", status="challenger_wins")
    started = deploy(shop)
    assert started.status is Status.RUNNING
    assert shop.systems.store.get(started.rollout_id).rests_on == won.id
    assert waived_by(shop.systems, MODEL, "2") == "retraining_pipelines.Weekly.promotion.require_gate"
