"""What needs a person waits for one, whoever asks, and is done once, exactly as it was approved."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from agent import approvals
from agent.deciding import answer, consent, listed
from agent.triage import triage
from policies.errors import ApprovalPending, InputError, PolicyRefusal
from tests.agent.world import MODEL, Strategy, World, declare_approvals
from tools.systems.store import Kind

BY = {"mode": "approve", "approvers": ["oncall"]}
FLOW = ["retrain", "evaluate", "deploy", "track_kpis"]


@pytest.fixture
def waiting(world: World) -> World:
    """A night that stopped at a deployment."""
    declare_approvals(world, deploy=BY)
    result = triage(world.systems, toolbox=world.toolbox())
    assert result.status == "waiting_approval"
    return world


def agree(world: World, id: str = "approval-1", by: str = "oncall", **kwargs: Any) -> Any:
    return answer(world.systems, id, by, approve=True, toolbox=world.toolbox(), **kwargs)


def later(world: World, **by: float) -> None:
    world.systems.clock.set(world.systems.clock.now() + timedelta(**by))  # type: ignore[attr-defined]


def test_a_deployment_waits_for_a_person_and_says_for_whom(waiting: World) -> None:
    row = waiting.systems.store.get("approval-1")
    asked = approvals.read(row)
    assert (row.status, row.version, row.rests_on) == ("pending", "2", "gate-1")
    assert asked.arguments == {"strategy": "CanaryDeploy", "model": MODEL, "version": "2"}
    assert (asked.approvers, asked.evidence["gate"], len(asked.digest)) == (["oncall"], "gate-1", 64)
    assert asked.expires_at - row.created_at == timedelta(hours=24)
    assert "deploy" not in waiting.calls
    run = waiting.systems.store.get("run-1")
    assert run.status == "waiting_approval"
    assert run.body["result"]["error"] == {
        "kind": "approval",
        "message": "approval-1 waits for oncall: deploy strategy=CanaryDeploy model=ChurnModel version=2, "
        "until 2026-02-03 02:00",
        "where": "approval-1",
    }


def test_an_approved_deployment_is_carried_out_and_the_night_goes_on(waiting: World) -> None:
    decided = agree(waiting)
    assert (decided.status, decided.decided_by) == ("used", "oncall")
    run = waiting.systems.store.get("run-1")
    assert run.status == "finished"
    assert [action["tool"] for action in run.body["result"]["models"][0]["actions"]] == FLOW
    assert [link.id for link in waiting.systems.store.chain("rollout-1")][:3] == ["rollout-1", "approval-1", "gate-1"]


def test_a_second_click_does_not_act_again(waiting: World) -> None:
    agree(waiting)
    with pytest.raises(InputError, match="used already, by oncall"):
        agree(waiting)
    with pytest.raises(InputError, match="already"):
        answer(waiting.systems, "approval-1", "oncall", approve=False, why="no", toolbox=waiting.toolbox())
    assert waiting.calls.count("deploy") == 1


def test_of_many_clicks_at_once_one_decides_and_the_deployment_starts_once(waiting: World) -> None:
    said: list[str] = []

    def click(approve: bool) -> None:
        try:
            answer(waiting.systems, "approval-1", "oncall", approve=approve, why="w", toolbox=waiting.toolbox())
            said.append("decided")
        except InputError:
            said.append("too late")

    threads = [threading.Thread(target=click, args=(True,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert waiting.calls.count("deploy") == 1
    assert len(waiting.systems.store.list(Kind.rollout)) == 1


def test_only_who_is_listed_may_decide_and_nobody_where_nobody_is(world: World) -> None:
    declare_approvals(world, deploy="approve")
    triage(world.systems, toolbox=world.toolbox())
    for person in ("oncall", "data-team", "", "openai"):
        with pytest.raises(PolicyRefusal, match="approver"):
            agree(world, by=person)
    assert listed(world.systems).approvals[0].whom.startswith("nobody may decide")
    assert "deploy" not in world.calls


def test_a_denial_reaches_the_planner_and_the_same_is_not_asked_for_again(waiting: World) -> None:
    answer(waiting.systems, "approval-1", "oncall", approve=False, why="not on a Friday", toolbox=waiting.toolbox())
    run = waiting.systems.store.get("run-1")
    assert run.status == "finished"
    assert "not on a Friday" in run.body["result"]["report"]
    with pytest.raises(PolicyRefusal, match="not asked for again"):
        consent(waiting.systems, waiting.toolbox()["deploy"], deployment("2"), MODEL)
    assert "deploy" not in waiting.calls


def test_where_the_evidence_changed_it_is_asked_again(waiting: World) -> None:
    waiting.evaluate(waiting.systems, None)  # type: ignore[arg-type]
    decided = agree(waiting)
    assert decided.status == "superseded"
    assert [each.approval_id for each in listed(waiting.systems).approvals] == ["approval-2"]
    assert "deploy" not in waiting.calls
    assert agree(waiting, "approval-2").status == "used"
    assert waiting.calls.count("deploy") == 1


def test_where_what_a_name_stands_for_changed_it_is_asked_again(waiting: World) -> None:
    """The strategy's stages are what an approver relies on: 5% first is not all at once."""
    strategies = dict(waiting.systems.operations.deployment_strategies)
    canary: Any = strategies["CanaryDeploy"]
    strategies["CanaryDeploy"] = canary.model_copy(update={"stages": canary.stages[-1:]})
    waiting.systems.operations = waiting.systems.operations.model_copy(update={"deployment_strategies": strategies})
    assert agree(waiting).status == "superseded"
    assert "deploy" not in waiting.calls


def test_who_is_no_longer_listed_may_not_decide(waiting: World) -> None:
    declare_approvals(waiting, deploy={"mode": "approve", "approvers": ["data-team"]})
    for person in ("oncall", "data-team"):
        with pytest.raises(PolicyRefusal, match="approver"):
            agree(waiting, by=person)
    assert waiting.systems.store.get("approval-1").status == "pending"


@pytest.mark.parametrize("approve", [True, False])
def test_a_request_stands_also_where_the_action_needs_nobody_any_more(waiting: World, approve: bool) -> None:
    declare_approvals(waiting, deploy="auto")
    answer(waiting.systems, "approval-1", "oncall", approve=approve, why="no", toolbox=waiting.toolbox())
    assert waiting.systems.store.get("run-1").status == "finished"
    assert waiting.calls.count("deploy") == int(approve)


def test_where_the_gate_no_longer_passes_an_approval_is_worth_nothing(waiting: World) -> None:
    waiting.gate = "failed"
    waiting.evaluate(waiting.systems, None)  # type: ignore[arg-type]
    agree(waiting)
    assert "deploy" not in waiting.calls
    assert "promotion_needs_passed_gate" in waiting.systems.store.get("run-1").body["result"]["report"]


def test_an_approval_expires_and_the_run_ends_without_it(waiting: World) -> None:
    later(waiting, hours=25)
    with pytest.raises(PolicyRefusal, match="expired"):
        agree(waiting)
    waiting.drift = False
    assert triage(waiting.systems, toolbox=waiting.toolbox()).run_id == "run-2"
    assert "approval-1 expired" in waiting.systems.store.get("run-1").body["result"]["report"]
    assert "deploy" not in waiting.calls


def test_an_edited_request_is_not_carried_out(waiting: World) -> None:
    body = {**waiting.systems.store.get("approval-1").body, "digest": "0" * 64}
    waiting.systems.store.update("approval-1", body=body)
    assert agree(waiting).status == "superseded"
    assert "deploy" not in waiting.calls


def test_another_night_neither_loses_nor_answers_a_request_that_waits(waiting: World) -> None:
    later(waiting, hours=1)
    second = triage(waiting.systems, toolbox=waiting.toolbox())
    assert (second.run_id, second.models[0].status) == ("run-2", "waiting")
    assert "approval-1 waits for oncall" in second.report
    assert waiting.systems.store.get("approval-1").status == "pending"
    assert "deploy" not in waiting.calls
    agree(waiting)
    assert waiting.calls.count("deploy") == 1


def test_the_next_night_goes_on_with_what_was_decided_meanwhile(waiting: World) -> None:
    approvals.decide(waiting.systems, "approval-1", "oncall", approve=True)
    triage(waiting.systems, toolbox=waiting.toolbox())
    assert waiting.systems.store.get("run-1").status == "finished"
    assert waiting.calls.count("deploy") == 1


def test_approvers_are_told_once(waiting: World) -> None:
    told = [each for each in notices(waiting) if "waits for you" in each]
    agree(waiting)
    assert len(told) == 1
    assert len(notices(waiting)) == len(set(notices(waiting)))


def notices(world: World) -> list[str]:
    from sqlalchemy import select

    from tools.systems.tables import AuditRow

    with world.systems.store.reading() as session:
        return list(session.scalars(select(AuditRow.detail).where(AuditRow.action == "notify")))


def test_a_denied_action_is_refused_whoever_asks(world: World) -> None:
    declare_approvals(world, deploy="deny")
    result = triage(world.systems, toolbox=world.toolbox())
    assert "denied_action" in result.report
    with pytest.raises(PolicyRefusal, match="deploy is deny"):
        consent(world.systems, world.toolbox()["deploy"], deployment("2"), MODEL)


def test_a_command_waits_once_and_approving_carries_it_out(world: World) -> None:
    world.evaluate(world.systems, None)  # type: ignore[arg-type]
    declare_approvals(world, deploy=BY)
    for _ in range(2):
        with pytest.raises(ApprovalPending, match="approval-1") as pending:
            consent(world.systems, world.toolbox()["deploy"], deployment("2"), MODEL)
        assert pending.value.exit_code == 4
    assert agree(world).status == "used"
    assert world.calls.count("deploy") == 1
    assert world.systems.store.get("rollout-1").rests_on == "approval-1"


def test_a_command_that_a_policy_refuses_does_not_bother_anybody(world: World) -> None:
    declare_approvals(world, deploy=BY)
    with pytest.raises(PolicyRefusal, match="no quality gate result"):
        consent(world.systems, world.toolbox()["deploy"], deployment("2"), MODEL)
    assert world.systems.store.list(Kind.approval) == []


def test_an_approval_that_was_cut_off_before_it_acted_is_finished_by_approving_again(world: World) -> None:
    world.evaluate(world.systems, None)  # type: ignore[arg-type]
    declare_approvals(world, deploy=BY)
    with pytest.raises(ApprovalPending):
        consent(world.systems, world.toolbox()["deploy"], deployment("2"), MODEL)
    approvals.decide(world.systems, "approval-1", "oncall", approve=True)
    assert agree(world).status == "used"
    assert world.calls.count("deploy") == 1


def test_a_graph_that_is_resumed_without_a_decision_acts_on_nothing(waiting: World) -> None:
    """Whoever resumes the graph itself, with whatever words: the row decides, and it still waits."""
    from langgraph.types import Command

    from agent.checkpoints import checkpoints
    from agent.graph import Loop
    from agent.planners.protocol import Briefing
    from agent.planners.runbook import RunbookPlanner

    loop = Loop(waiting.systems, waiting.toolbox(), RunbookPlanner(waiting.systems.operations))
    config = {"configurable": {"thread_id": f"run-1/{MODEL}"}}
    with checkpoints(waiting.systems) as saver:
        graph = loop._graph(lambda: Briefing(model=MODEL, text="")).compile(checkpointer=saver)
        for words in (True, "approved", {"approval": "approval-1", "status": "approved"}):
            graph.invoke(Command(resume=words), config, durability="sync")
            assert graph.get_state(config).interrupts
    assert "deploy" not in waiting.calls
    assert waiting.systems.store.get("approval-1").status == "pending"


def deployment(version: str) -> Strategy:
    return Strategy(strategy="CanaryDeploy", model=MODEL, version=version)
