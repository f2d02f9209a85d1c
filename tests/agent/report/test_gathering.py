"""Reports gathered from the state store, after real runs over a small world."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from agent.report import render_html, render_markdown, write_report
from agent.report.gathering import content_of_period, content_of_run
from agent.report.live import live_auc
from agent.triage import triage
from policies.errors import InputError
from tests.agent.world import MODEL, World
from tools.deploy.rollout import Rollout, StageState
from tools.deploy.transitions import roll_back, transition
from tools.deploy.verdicts import GateVerdict, Measurement, Verdict
from tools.systems.clock import VirtualClock
from tools.systems.store import Kind

HOUR = timedelta(hours=1)


def night(world: World) -> str:
    result = triage(world.systems, toolbox=world.toolbox(), advance=lambda systems, now: [])
    return result.run_id


def test_a_quiet_night_says_so(world: World) -> None:
    world.drift = False
    content = content_of_run(world.systems, night(world))
    assert content.headline.startswith("ChurnModel is well: 21 checks")
    assert (content.verdict, content.severity) == ("All is well", "ok")
    assert content.planner == "runbook"
    assert content.evaluation is None
    assert content.rollout is None
    assert content.spend is not None
    assert content.spend.budget_usd == 50


def test_a_night_that_starts_a_canary_tells_what_and_why(world: World) -> None:
    content = content_of_run(world.systems, night(world))
    assert "drifted" in content.headline
    assert "version 2" in content.headline
    assert content.verdict == "Going live"
    assert content.drift_latest is not None
    assert content.drift_latest.checks[0].subject == "spend_30d"
    assert content.evaluation is not None
    assert content.evaluation.verdict == "challenger_wins"
    assert content.gate is not None
    assert content.gate.status == "passed"
    assert [event.id.split("-")[0] for event in content.story if event.id][:3] == ["drift", "train", "eval"]
    page = render_html(content)
    assert "rollout-1" in page
    assert "rollout-1" in render_markdown(content)


def test_a_retraining_that_does_not_start_gives_its_reason(world: World) -> None:
    world.skipped = "crm is broken since 23 January"
    content = content_of_run(world.systems, night(world))
    assert "not retrained: crm is broken since 23 January" in content.headline
    assert any("crm is broken" in event.text for event in content.story)


def test_a_tool_that_is_down_is_in_the_story(world: World) -> None:
    world.down = {"track_kpis"}
    content = content_of_run(world.systems, night(world))
    assert any("Track KPIs failed" in event.text for event in content.story)


def test_kpis_read_twice_with_the_same_numbers_are_told_once(world: World) -> None:
    run, store, now = night(world), world.systems.store, world.systems.clock.now()
    for value in (0.15, 0.15, 0.17):
        reading = {"kpi": "churn_rate", "value": value, "on_target": False, "severity": "ok"}
        store.add(Kind.kpi_reading, MODEL, {"readings": [reading]}, at=now)
    read = [each for each in content_of_run(world.systems, run).story if each.text.startswith("KPIs are read")]
    assert [each.text for each in read] == ["KPIs are read: not on target."] * 2
    assert [each.numbers for each in read] == [{"churn rate": "15.0%"}, {"churn rate": "17.0%"}]


def test_the_auc_at_deployment_is_that_of_the_version_that_served_first(world: World) -> None:
    systems, at = world.systems, world.systems.clock.now()
    body = {"pipeline": None, "metrics": {"holdout_auc_roc": 0.847}}
    first = systems.store.add(Kind.training_run, MODEL, body, at=at, version="1", status="completed")
    systems.traffic.set(MODEL, "1", at=at, why="adopted by a person", rests_on=first.id)
    assert content_of_period(systems, MODEL, at, at + timedelta(days=49)).auc_deployed == 0.847
    systems.traffic.set(MODEL, "2", at=at + timedelta(days=9), why="promoted", rests_on=None)
    later = at + timedelta(days=10)
    assert content_of_period(systems, MODEL, later, later + timedelta(days=9)).auc_deployed is None
    judged = {"challenger": {"version": "2", "metrics": {"auc_roc": 0.852}}}
    systems.store.add(Kind.evaluation, MODEL, judged, at=at + timedelta(days=8), version="2")
    assert content_of_period(systems, MODEL, later, later + timedelta(days=9)).auc_deployed == 0.852


def test_only_a_run_has_a_report(world: World) -> None:
    run = night(world)
    with pytest.raises(InputError, match="no row"):
        content_of_run(world.systems, "run-99")
    with pytest.raises(InputError, match="is not a run"):
        content_of_run(world.systems, "drift-1")
    with pytest.raises(InputError, match="not about"):
        content_of_run(world.systems, run, "OtherModel")


def test_the_file_is_whole_and_its_path_may_be_new(world: World, tmp_path: Path) -> None:
    run = night(world)
    written = write_report(world.systems, run, tmp_path / "new" / "report.html")
    assert written.path.read_text(encoding="utf-8").endswith("</html>")
    assert written.headline == content_of_run(world.systems, run).headline
    markdown = write_report(world.systems, run, tmp_path / "new" / "report.md", markdown=True)
    assert markdown.path.read_text(encoding="utf-8").startswith("# ")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["report.html", "report.md"]
    with pytest.raises(InputError, match="cannot be written"):
        write_report(world.systems, run, tmp_path / "new" / "report.md" / "below.html")


def stages(world: World) -> tuple[StageState, ...]:
    declared = world.systems.operations.deployment_strategies["CanaryDeploy"]
    return tuple(StageState.declared(each) for each in declared.stages)  # type: ignore[union-attr]


def verdict(name: str, outcome: Verdict, value: float) -> GateVerdict:
    one = Measurement(
        name="p99_latency_ms",
        verdict=outcome,
        value=value,
        champion_value=9.0,
        limit=300,
        n=500,
        champion_n=9500,
        log_e_fail=0,
        log_e_pass=0,
    )
    return GateVerdict(name=name, verdict=outcome, measurements=(one,))


def live(world: World, *, fails_at: int | None) -> tuple[datetime, datetime]:
    """A rollout driven by the real state machine through the real traffic table, from its row to its end."""
    systems, clock = world.systems, world.systems.clock
    assert isinstance(clock, VirtualClock)
    start = now = clock.now()
    state = Rollout(
        strategy="CanaryDeploy", model=MODEL, version="2", champion="1", started_at=now, stages=stages(world)
    )
    systems.traffic.set(MODEL, "1", at=now - HOUR, why="adopted", rests_on=None)
    row = systems.store.add(Kind.rollout, MODEL, state, at=now, version="2", status="pending")
    gate: GateVerdict | None = None
    for _ in range(9):
        state = transition(state, now, gate).state
        if gate is not None and gate.verdict is Verdict.FAIL and not state.ended:
            state = roll_back(state, now, "too slow", gate)
        champion, challenger = ("2", None) if state.status == "promoted" else ("1", None if state.ended else "2")
        share = state.traffic_pct if challenger else 0.0
        systems.traffic.set(MODEL, champion, challenger, share, at=now, why="stage", rests_on=row.id, wait_seconds=0)
        systems.store.update(row.id, body=state, status=state.status.value)
        if state.ended:
            break
        duration = state.current.duration
        now += duration if isinstance(duration, timedelta) else HOUR
        clock.set(now)
        failed = fails_at == state.stage
        gate = verdict(state.current.gate, Verdict.FAIL if failed else Verdict.PASS, 412.0 if failed else 8.9)
    return start, now


def test_a_canary_is_told_stage_by_stage(world: World) -> None:
    start, end = live(world, fails_at=None)
    content = content_of_period(world.systems, MODEL, start, end)
    rollout = content.rollout
    assert rollout is not None
    assert [step.pct for step in rollout.traffic] == [5, 10, 25, 50, 100]
    assert [stage.verdict for stage in rollout.stages] == ["pass", "pass", "pass", "pass", ""]
    assert [(s.ended_at - s.started_at) / HOUR for s in rollout.stages if s.ended_at and s.started_at] == [1, 4, 12, 24]
    assert rollout.stages[0].measurements[0].value == 8.9
    assert content.headline == "ChurnModel: version 2 now serves every request."
    assert [marker.label for marker in content.markers] == ["promoted"]
    assert content.evidence[0].id == "traffic-6"
    assert "8.9 ms" in render_html(content)


def test_a_rolled_back_canary_shows_where_and_why(world: World) -> None:
    start, end = live(world, fails_at=1)
    content = content_of_period(world.systems, MODEL, start, end)
    rollout = content.rollout
    assert rollout is not None
    assert [step.pct for step in rollout.traffic] == [5, 10, 0]
    assert [stage.verdict for stage in rollout.stages] == ["pass", "fail", "", "", ""]
    assert content.verdict == "Rolled back"
    assert rollout.champion_version == "1"
    assert "412 ms" in render_html(content)


def test_a_period_in_which_nobody_watched_says_so(world: World) -> None:
    systems, at = world.systems, world.systems.clock.now()
    first = systems.store.add(Kind.training_run, MODEL, {"pipeline": None}, at=at, version="1", status="completed")
    systems.traffic.set(MODEL, "1", at=at, why="adopted by a person", rests_on=first.id)
    content = content_of_period(systems, MODEL, at, at + timedelta(days=49))
    assert (content.headline, content.verdict, content.with_agent) == (
        "Nobody watches ChurnModel.",
        "Unmonitored",
        False,
    )
    assert content.training is None, "a first champion is no retraining"
    assert [link.id for link in content.evidence] == ["traffic-1", first.id]


def test_a_refusal_of_every_night_is_told_once_in_a_period(world: World) -> None:
    world.skipped = "crm is broken"
    clock = world.systems.clock
    assert isinstance(clock, VirtualClock)
    start = clock.now()
    for _ in range(3):
        night(world)
        clock.set(clock.now() + timedelta(days=1))
    content = content_of_period(world.systems, MODEL, start, clock.now())
    assert sum("crm is broken" in event.text for event in content.story) == 1
    assert sum(event.id.startswith("drift-") for event in content.story) == 1


def test_a_source_that_breaks_while_drift_goes_on_is_news(world: World) -> None:
    start = world.systems.clock.now()
    crm = {"source": "crm", "owner": "data-team", "features": [], "signs": ["crm_loaded_at: 52 h late"]}
    for night_of, sources in enumerate(([], [], [crm], [crm])):
        body = {"severity": "critical", "status": "checked", "checks": [], "diagnosis": {"sources": sources}}
        at = start + timedelta(days=night_of)
        world.systems.store.add(Kind.drift_report, MODEL, body, at=at, status="critical")
    content = content_of_period(world.systems, MODEL, start, start + timedelta(days=4))
    found = [event.at for event in content.story if event.id.startswith("drift-")]
    assert found == [start, start + timedelta(days=2)]


def test_live_auc_by_week_is_that_of_the_served_scores(world: World) -> None:
    from sklearn.metrics import roc_auc_score

    systems = world.systems
    binding = systems.operations.model(MODEL)
    assert binding.predictions is not None
    rng = np.random.default_rng(7)
    start = datetime(2026, 1, 6)
    at = [start + timedelta(hours=float(hour)) for hour in rng.uniform(0, 14 * 24, 4000)]
    truth = rng.random(4000) < 0.2
    score = np.round(np.clip(rng.normal(0.3 + 0.2 * truth, 0.2), 0, 1), 2)
    late = rng.random(4000) < 0.1
    arrived = [moment + timedelta(days=90 if slow else 1) for moment, slow in zip(at, late, strict=True)]
    ids = np.arange(4000)
    frame = pd.DataFrame({"customer_id": ids, "scored_at": at, "score": score, "model_version": "1", "label": False})
    labels = pd.DataFrame({"customer_id": ids, "scored_at": at, "churned": truth, "labelled_at": arrived})
    for name, table in ((binding.predictions, frame), (binding.labels.table, labels)):
        systems.warehouse.append(name, pa.Table.from_pandas(table, preserve_index=False), "all")
    found = live_auc(systems, MODEL, start, start + timedelta(days=30))
    assert [week.week_start for week in found] == [start.date(), (start + timedelta(days=7)).date()]
    for number, week in enumerate(found):
        inside = (frame["scored_at"] >= start + timedelta(days=7 * number)) & (
            frame["scored_at"] < start + timedelta(days=7 * number + 7)
        )
        mask = inside.to_numpy() & ~late
        assert week.labelled_rows == mask.sum()
        assert week.with_guardian == pytest.approx(roc_auc_score(truth[mask], score[mask]))
    assert live_auc(systems, MODEL, start, start + timedelta(hours=2)) == ()
