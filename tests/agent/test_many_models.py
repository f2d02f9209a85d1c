"""A night over several models: at once, one triage at a time, and only what is due."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from agent.runs import claimed
from agent.triage import TriageResult, triage
from policies.alerting import AlertStatus
from tests.agent.test_alerts import calls as told
from tests.agent.world import MODEL, World
from tools.systems.notify import Alert, Notifications
from tools.systems.store import Kind

OTHERS = ["FraudModel", "PriceModel"]


def with_more_models(world: World) -> None:
    """Declares two further models, each with a monitor of its own."""
    whole = world.systems.operations
    binding, monitor = whole.models[MODEL], whole.drift_monitors["ChurnDrift"]
    monitors = {f"{name}Drift": monitor.model_copy(update={"model": name}) for name in OTHERS}
    world.systems.operations = whole.model_copy(
        update={
            "models": {**whole.models, **dict.fromkeys(OTHERS, binding)},
            "drift_monitors": {**whole.drift_monitors, **monitors},
        }
    )


def run(world: World, check_drift: Callable[..., BaseModel] | None = None, **options: Any) -> TriageResult:
    tools = world.toolbox()
    if check_drift is not None:
        tools["check_drift"] = replace(tools["check_drift"], run=check_drift)
    return triage(world.systems, toolbox=tools, advance=lambda systems, now: [], **options)


def test_models_are_at_work_at_once_and_reported_in_their_order(world: World) -> None:
    with_more_models(world)
    world.drift = False
    meeting, said = threading.Barrier(world.systems.workers, timeout=20), []

    def check_drift(systems: Any, arguments: Any) -> BaseModel:
        if not said:
            meeting.wait()  # the first ones meet here, or never
            said.append("met")
        return world.check_drift(systems, arguments)

    lines: list[str] = []
    result = run(world, check_drift, progress=lines.append)
    assert [(part.model, part.status) for part in result.models] == [(name, "quiet") for name in (MODEL, *OTHERS)]
    assert "3 of 3 models are done" in lines[-1]


def test_a_model_that_cannot_be_checked_does_not_keep_the_others(world: World) -> None:
    with_more_models(world)
    world.drift = False

    def check_drift(systems: Any, arguments: Any) -> BaseModel:
        if arguments.monitor == "FraudModelDrift":
            raise ZeroDivisionError
        return world.check_drift(systems, arguments)

    result = run(world, check_drift)
    assert [[each.kind for each in part.findings] for part in result.models] == [[], ["failure"], []]


def test_a_model_of_which_nobody_can_be_told_does_not_keep_the_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_more_models(world)
    known = world.systems.notifications

    class Deaf(Notifications):
        def open(self, model: str | None = None) -> list[Alert]:
            if model == "FraudModel":
                raise ZeroDivisionError
            return known.open(model)

    monkeypatch.setattr(world.systems, "notifications", Deaf(world.systems.store, world.systems.clock))
    world.drift = False
    result = run(world)
    assert [part.status for part in result.models] == ["quiet", "failed", "quiet"]


def test_a_second_triage_says_so_and_leaves(world: World) -> None:
    with claimed(world.systems, "triage"):
        result = run(world)
    assert (result.status, result.models) == ("busy", [])
    assert "nothing was started" in result.report
    assert world.calls == []
    assert run(world).status == "finished"


def only_daily(world: World) -> None:
    """Declares the model's monitor as daily, so that it is due at midnight only."""
    whole = world.systems.operations
    monitor = whole.drift_monitors["ChurnDrift"]
    checks = [each.model_copy(update={"frequency": "daily"}) for each in monitor.monitors]
    block = {"ChurnDrift": monitor.model_copy(update={"monitors": checks})}
    world.systems.operations = whole.model_copy(update={"drift_monitors": block})


def later(world: World, hours: float) -> None:
    world.systems.clock.set(world.systems.clock.now() + timedelta(hours=hours))  # type: ignore[attr-defined]


def test_what_is_not_due_is_not_measured_and_what_was_missed_once(world: World) -> None:
    only_daily(world)
    world.drift = False
    for hours in (0, 3, 3, 5 * 24, 1):  # due, not, not, five days missed, not
        later(world, hours)
        assert run(world, due_only=True).models[0].status == "quiet"
    assert world.calls.count("check_drift") == 2


def test_a_report_is_acted_on_once_and_its_incident_stays_open(world: World) -> None:
    only_daily(world)
    world.check_drift(world.systems, world.toolbox()["check_drift"].arguments(monitor="ChurnDrift", at=None))
    world.skipped = "nothing to learn yet"
    later(world, 1)
    assert [action.tool for action in run(world, due_only=True).models[0].actions] == ["retrain"]
    later(world, 1)
    part = run(world, due_only=True).models[0]
    assert (part.actions, part.severity) == ([], "warning")
    assert "told and acted on already" in part.outcome
    assert len(world.systems.notifications.open()) == 1
    later(world, 24)
    assert [action.tool for action in run(world, due_only=True).models[0].actions] == ["retrain"]
    assert len(world.systems.store.list(Kind.drift_report)) == 2


def test_a_broken_source_of_three_models_is_one_incident_told_once(world: World) -> None:
    with_more_models(world)
    world.drift, world.broken = False, True
    result = run(world)
    assert [part.outcome.partition(",")[0] for part in result.models[1:]] == ["the source crm is broken"] * 2
    (conversation,) = world.systems.store.get(result.run_id).body["conversations"].values()
    assert "for FraudModel and PriceModel too" in conversation["briefing"]["text"]
    (alert,) = world.systems.notifications.open("PriceModel")
    assert alert.title.startswith("ChurnModel, FraudModel and PriceModel: the source crm is broken")
    assert [each.partition(":")[0] for each in told(world)] == ["oncall", "data-team"]


def test_a_shared_incident_is_over_when_it_is_over_in_every_model(world: World) -> None:
    with_more_models(world)
    world.drift, world.broken = False, True
    run(world)
    world.broken = False
    later(world, 24)
    run(world, model="ChurnModel")
    (alert,) = world.systems.notifications.open()
    assert (alert.status, alert.models) == (AlertStatus.open, [MODEL, *OTHERS])
    later(world, 24)
    run(world)
    assert world.systems.notifications.open() == []
    assert len(told(world)) == 2


def test_what_else_is_wrong_with_a_model_stays_its_own(world: World) -> None:
    with_more_models(world)

    def check_drift(systems: Any, arguments: Any) -> BaseModel:
        world.broken = True
        world.drift = arguments.monitor == "FraudModelDrift"
        found = world.check_drift(systems, arguments)
        kind = "world" if world.drift else "pipeline"  # sound features drift there too
        changed = found.model_copy(update={"diagnosis": {**found.diagnosis, "kind": kind}})
        systems.store.update(found.report_id, body=changed)
        return changed

    result = run(world, one_at_a_time(check_drift))
    threads = list(world.systems.store.get(result.run_id).body["conversations"])
    assert sorted(each.partition("/")[2] for each in threads) == [MODEL, "FraudModel"]
    alerts = {each.facts["kind"]: each.models for each in world.systems.notifications.open()}
    assert alerts == {"source": [MODEL, *OTHERS], "world": ["FraudModel"]}


def one_at_a_time(check_drift: Callable[..., BaseModel]) -> Callable[..., BaseModel]:
    turn = threading.Lock()

    def alone(systems: Any, arguments: Any) -> BaseModel:
        with turn:
            return check_drift(systems, arguments)

    return alone
