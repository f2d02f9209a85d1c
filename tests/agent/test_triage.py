"""The nightly run as a user sees it, with the runbook planner."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from agent.triage import TriageResult, triage
from policies.errors import InputError
from tests.agent.world import MODEL, World
from tools.systems.store import Kind


def run(world: World, **options: object) -> TriageResult:
    return triage(world.systems, toolbox=world.toolbox(), advance=lambda systems, now: [], **options)  # type: ignore[arg-type]


def test_a_quiet_night_does_nothing_and_costs_nothing(world: World) -> None:
    world.drift = False
    result = run(world)
    assert result.models[0].status == "quiet"
    assert result.models[0].actions == []
    assert result.budget.model_dump() == {"cost_usd": 0.0, "tokens": 0, "llm_calls": 0}
    assert world.calls == ["check_drift", "track_kpis"]


def test_what_could_not_be_judged_is_reported_and_wakes_nobody(world: World) -> None:
    world.drift, world.unlabelled = False, True
    result = run(world)
    (part,) = result.models
    assert (part.status, part.severity, part.actions) == ("quiet", "ok", [])
    assert [(each.kind, each.subject) for each in part.findings] == [("unjudged", "concept_drift")]
    assert f"{MODEL}: nothing in what could be judged" in result.report
    assert f"{MODEL}: concept_drift could not be judged: not enough labels yet: 0 of 200" in result.report
    assert world.systems.notifications.open(MODEL) == []


def test_what_could_not_be_judged_is_reported_beside_what_was_found(world: World) -> None:
    world.unlabelled = True
    result = run(world)
    assert [action.tool for action in result.models[0].actions] == ["retrain", "evaluate", "deploy", "track_kpis"]
    assert "concept_drift could not be judged" in result.report


def test_drift_is_followed_to_a_started_canary(world: World) -> None:
    result = run(world)
    part = result.models[0]
    assert [action.tool for action in part.actions] == ["retrain", "evaluate", "deploy", "track_kpis"]
    assert part.actions[2].arguments == {"strategy": "CanaryDeploy", "model": MODEL, "version": "2"}
    assert (part.status, part.severity) == ("finished", "warning")
    assert "rollout-1" in result.report
    assert world.systems.store.latest(Kind.run).status == "finished"  # type: ignore[union-attr]


def test_a_broken_pipeline_is_told_to_its_owner_and_nothing_is_trained(world: World) -> None:
    world.broken = True
    result = run(world)
    assert result.models[0].actions == []
    assert "crm_loaded_at" in result.models[0].outcome
    assert "owner: data-team" in result.models[0].outcome
    assert world.systems.store.latest(Kind.training_run) is None


@pytest.mark.parametrize(
    ("verdict", "gate", "said"),
    [
        ("tie", "passed", "tie"),
        ("champion_wins", "passed", "stays"),
        ("challenger_wins", "failed", "gate failed"),
    ],
)
def test_nothing_is_deployed_without_a_win_and_a_passed_gate(world: World, verdict: str, gate: str, said: str) -> None:
    world.verdict, world.gate = verdict, gate
    part = run(world).models[0]
    assert [action.tool for action in part.actions][:2] == ["retrain", "evaluate"]
    assert "deploy" not in world.calls
    assert said in part.outcome


def test_a_skipped_retraining_ends_with_its_reason(world: World) -> None:
    world.skipped = "the cooldown of 24 h is not over"
    part = run(world).models[0]
    assert "cooldown of 24 h" in part.outcome
    assert [action.tool for action in part.actions] == ["retrain"]


def test_while_a_rollout_runs_nothing_else_is_started(world: World) -> None:
    run(world)
    world.systems.clock.set(world.systems.clock.now() + timedelta(days=1))  # type: ignore[attr-defined]
    world.calls.clear()
    part = run(world).models[0]
    assert part.status == "waiting"
    assert "rollout-1 is running" in part.outcome
    assert world.calls == ["check_drift", "track_kpis"]
    assert [action.tool for action in part.actions] == ["advance"]


@pytest.mark.parametrize("how", ["check_drift", "bug in check_drift"])
def test_a_model_that_cannot_be_checked_is_a_finding(world: World, how: str) -> None:
    world.down.add(how)
    part = run(world).models[0]
    assert [(each.kind, each.severity) for each in part.findings] == [("failure", "warning")]
    assert part.actions == []


def test_a_tool_that_fails_ends_the_conversation_readably(world: World) -> None:
    world.down.add("retrain")
    part = run(world).models[0]
    assert part.status == "finished"
    assert "warehouse: did not answer" in part.outcome


def told(world: World) -> dict[str, str]:
    """What was said, by person."""
    from sqlalchemy import select

    from tools.systems.tables import AuditRow

    with world.systems.store.reading() as session:
        rows = session.scalars(select(AuditRow.detail).where(AuditRow.action == "notify")).all()
    said = [json.loads(row) for row in rows]
    assert len({each["to"] for each in said}) == len(said)
    return {each["to"]: each["text"] for each in said}


def escalate(world: World, **people: str) -> None:
    """Declares whom the monitor's alerts go to."""
    alerts = world.systems.operations.drift_monitors["ChurnDrift"].alerts
    object.__setattr__(alerts, "escalation", people)


def test_the_account_reaches_the_people_the_monitor_names(world: World) -> None:
    world.broken = True
    run(world)
    assert set(told(world)) == {"oncall", "data-team"}  # who owns the source, too


def test_a_warning_is_told_to_nobody_where_only_critical_is_named(world: World) -> None:
    escalate(world, critical="oncall")
    assert run(world).status == "finished"
    assert told(world) == {}


@pytest.mark.parametrize(("named", "hear"), [({"critical": "oncall"}, {"oncall"}), ({}, {"oncall", "data-team"})])
def test_somebody_hears_of_a_run_that_ended_early(world: World, named: dict[str, str], hear: set[str]) -> None:
    escalate(world, **named)
    world.systems.traffic = None  # type: ignore[assignment]
    assert run(world).status == "failed"
    assert set(told(world)) == hear
    assert all("failed: " in text for text in told(world).values())


def test_every_call_leaves_an_intent_and_an_outcome_in_a_sound_audit_log(world: World) -> None:
    from sqlalchemy import select

    from tools.systems.tables import ActionRow, AuditRow

    run(world)
    with world.systems.store.reading() as session:
        actions = session.scalars(select(ActionRow)).all()
        logged = session.scalars(select(AuditRow.action)).all()
    assert {row.status for row in actions} == {"done"}
    assert len({row.call_id for row in actions}) == len(actions) == 6
    assert [each for each in logged if each.startswith("deploy")] == ["deploy intended", "deploy done"]
    assert world.systems.store.verify_audit() is None


def test_the_transcript_is_kept_in_the_run(world: World) -> None:
    result = run(world)
    body = world.systems.store.get(result.run_id).body
    steps = body["conversations"][f"{result.run_id}/{MODEL}"]["steps"]
    assert [step["call"]["name"] for step in steps] == ["retrain", "evaluate", "deploy", "track_kpis"]
    assert body["result"]["report"] == result.report


def test_an_unknown_model_and_an_unknown_planner_are_refused(world: World) -> None:
    with pytest.raises(InputError, match="FraudModel"):
        run(world, model="FraudModel")
    with pytest.raises(InputError, match="openai or runbook"):
        run(world, planner="oracle")
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        run(world, planner="openai")


def test_the_rule_that_kept_a_retraining_from_starting_is_said_in_words(world: World) -> None:
    world.skipped = "nothing_to_learn_yet: the drift began on 2026-01-07"
    (part,) = run(world).models
    assert part.outcome == "No retraining: nothing to learn yet. The drift began on 7 Jan 2026."
