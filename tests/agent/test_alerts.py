"""What a person on call is told over many nights: one alert an incident, and none on a quiet night."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from agent.doctor import examine
from agent.findings import Finding
from agent.incidents import Found, incidents
from agent.triage import ModelTriage, triage
from policies.alerting import AlertStatus
from policies.declarations import Severity
from tests.agent.world import MODEL, Readings, World
from tools.systems.channels.slack import SlackChannel
from tools.systems.notify import Alert, Notifications
from tools.systems.outbox import Outbox
from tools.systems.store import Kind


def night(world: World, **found: object) -> None:
    """The next night, on which the world is as told."""
    for name, value in {"drift": False, "broken": False, **found}.items():
        setattr(world, name, value)
    world.systems.clock.set(world.systems.clock.now() + timedelta(days=1))  # type: ignore[attr-defined]
    triage(world.systems, toolbox=world.toolbox(), advance=lambda systems, now: [])


def calls(world: World) -> list[str]:
    """Whom the audit log says were called, and by what first line."""
    import json

    from sqlalchemy import select

    from tools.systems.tables import AuditRow

    with world.systems.store.reading() as session:
        told = session.scalars(select(AuditRow.detail).where(AuditRow.action == "notify").order_by(AuditRow.number))
        return [f"{said['to']}: {said['text'].splitlines()[0]}" for said in map(json.loads, told)]


def test_nights_of_one_cause_call_once_and_quiet_nights_never(world: World) -> None:
    night(world)
    assert calls(world) == []
    for _ in range(3):
        night(world, drift=True)
    assert len(calls(world)) == 1
    night(world, drift=True, broken=True)
    assert [each.partition(":")[0] for each in calls(world)] == ["data-team", "oncall", "data-team"]
    assert "the source crm is broken" in calls(world)[1]
    opened = world.systems.notifications.open(MODEL)
    assert [each.facts["kind"] for each in opened] == ["world", "source"]
    night(world)
    assert world.systems.notifications.open() == []
    assert len(calls(world)) == 3


def test_what_goes_on_is_called_again_after_its_quiet_period(world: World) -> None:
    for _ in range(9):
        night(world, drift=True)
    assert len(calls(world)) == 2


def test_what_could_not_be_looked_at_is_not_called_over(world: World) -> None:
    night(world, drift=True)
    world.down.add("check_drift")
    night(world)
    kinds = [each.facts["kind"] for each in world.systems.notifications.open()]
    assert kinds == ["world", "failure"]
    world.down.clear()
    night(world)
    assert world.systems.notifications.open() == []


def test_what_no_declared_monitor_looks_at_any_more_is_over(world: World) -> None:
    night(world, drift=True)
    (alert,) = world.systems.notifications.open()
    (monitor,) = alert.facts["seen_by"]
    declared = world.systems.operations.drift_monitors
    declared["Another"] = declared.pop(monitor)
    world.down.add("check_drift")
    night(world)
    assert [each.facts["kind"] for each in world.systems.notifications.open()] == ["failure"]


def test_a_model_that_cannot_be_examined_is_told_and_taken_back(world: World) -> None:
    tools = world.toolbox()
    tools["check_drift"] = replace(tools["check_drift"], run=lambda systems, arguments: object())
    triage(world.systems, toolbox=tools)
    (alert,) = world.systems.notifications.open()
    assert alert.facts["kind"] == "failure"
    night(world)
    assert world.systems.notifications.open() == []


def test_kpis_that_worsen_with_a_sound_model_go_to_people_and_wake_no_planner(world: World) -> None:
    world.kpi_severity = "warning"
    world.disconnect = True
    night(world)
    (said,) = calls(world)
    assert "data-team: ChurnModel: churn_rate: worse while the model is sound" in said
    assert world.calls == ["check_drift", "track_kpis"]


def kpi_night(world: World, *readings: dict[str, Any]) -> ModelTriage:
    """A quiet night but for what the KPI tracker reads."""
    tools = world.toolbox()
    world.drift = False
    now = world.systems.clock.now() + timedelta(days=1)
    world.systems.clock.set(now)  # type: ignore[attr-defined]
    report = Readings(tracker="ChurnKPIs", readings=list(readings), disconnect=False)
    row = world.systems.store.add(Kind.kpi_reading, MODEL, report, at=now)
    found = Stored(kpi_id=row.id, **report.model_dump())
    tools["track_kpis"] = replace(tools["track_kpis"], result=Stored, run=lambda systems, arguments: found)
    (part,) = triage(world.systems, toolbox=tools).models
    return part


class Stored(Readings):
    kpi_id: str


def test_a_kpi_that_cannot_be_read_is_said_and_calls_nobody(world: World) -> None:
    unread = {"kpi": "churn_rate", "value": None, "severity": "unknown", "detail": "gave NULL: no rows match yet"}
    part = kpi_night(world, unread)
    assert (part.status, part.severity.value) == ("quiet", "unknown")
    assert "churn_rate: gave NULL" in part.outcome
    assert calls(world) == []


def test_of_many_kpis_each_is_told_and_each_recovers(world: World) -> None:
    """More than fit into the compact facts that a planner reads."""
    names = [f"kpi_{number}" for number in range(9)]

    def reading(name: str, severity: str) -> dict[str, Any]:
        return {"kpi": name, "value": 1.0, "target": 2.0, "severity": severity, "detail": "as declared " * 9}

    part = kpi_night(world, *(reading(name, "warning") for name in names))
    assert {each.subject for each in part.findings} == set(names)
    kpi_night(world, *(reading(name, "ok") for name in names))
    assert world.systems.notifications.open() == []


def test_doctor_says_why_an_alert_does_not_arrive(world: World) -> None:
    store, clock = world.systems.store, world.systems.clock
    world.systems.notifications = Notifications(store, clock, world.systems.operations.systems.people)
    night(world, broken=True)
    slack = SlackChannel("xoxb-test-token", "http://127.0.0.1:9/api/")
    assert Outbox(store, clock, {"slack": slack}).deliver().failed
    said = [each.says for each in examine(world.systems).checks if each.subject == "outbox: slack"]
    assert said == ["2 alerts wait: slack: did not answer: ConnectionRefusedError"]


@pytest.fixture
def launch() -> Found:
    (found,) = incidents(MODEL, [report("2026-01-07")], drifted("cart_abandonment_rate", "login_trend_30d"), [])
    return found


def test_a_further_change_is_an_incident_of_its_own_and_noise_is_not(launch: Found) -> None:
    known = [opened(launch, datetime(2026, 1, 8))]
    wobbling = drifted("cart_abandonment_rate", "pages_per_session")
    assert [each.key for each in incidents(MODEL, [report("2026-01-06")], wobbling, known)] == [launch.key]
    price = drifted("login_trend_30d", "price_index", "spend_trend_30d")
    both = incidents(MODEL, [report("2026-01-08")], price, known)
    assert {each.key: [f.subject for f in each.findings] for each in both} == {
        "ChurnModel/world since 2026-01-07": ["login_trend_30d"],
        "ChurnModel/world since 2026-01-08": ["price_index", "spend_trend_30d"],
    }


def test_a_source_is_one_incident_whatever_it_spoils(launch: Found) -> None:
    crm = {"source": "crm", "owner": "data-team", "features": ["nps_score"], "signs": ["crm_loaded_at: 52 h old"]}
    findings = drifted("nps_score", "crm_loaded_at", "score", "auc_roc", "login_trend_30d")
    broken = {**report("2026-01-24"), "diagnosis": {"kind": "pipeline", "sources": [crm]}}
    (alone,) = incidents(MODEL, [broken], findings, [])
    assert (alone.key, len(alone.findings)) == ("source crm of data-team", 5)
    apart = incidents(MODEL, [broken], findings, [opened(launch, datetime(2026, 1, 8))])
    assert {each.key: len(each.findings) for each in apart} == {"source crm of data-team": 4, launch.key: 1}


def report(onset: str) -> dict[str, Any]:
    return {"report_id": "drift-1", "monitor": "ChurnDrift", "diagnosis": {"kind": "world", "first_seen": onset}}


def drifted(*subjects: str) -> list[Finding]:
    return [
        Finding(kind="data_drift", subject=each, severity=Severity.critical, evidence="drift-1") for each in subjects
    ]


def opened(found: Found, at: datetime) -> Alert:
    return Alert(
        id=1,
        key=found.key,
        model=MODEL,
        status=AlertStatus.open,
        severity=found.severity,
        title=found.title,
        text="",
        facts=found.facts,
        token="t",
        seen=1,
        revision=1,
        calls=1,
        opened_at=at,
        called_at=at,
        changed_at=at,
        resolved_at=None,
    )
