"""A conversation as a user has it, whatever the surface."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from agent.conversation.intents import Intent, understood
from agent.conversation.thread import Person, Reply, Thread
from agent.deciding import answer
from agent.triage import triage
from tests.agent.world import MODEL, World, declare_approvals
from tests.fakes.openai_server import Call, Failure, Say, in_turn, serve
from tools.systems.store import Kind

ANNA = Person(name="anna", may_act=True)
STRANGER = Person(name="U0STRANGER", may_act=False)


def ask(world: World, text: str, *, id: str = "", person: Person = ANNA, session: str = "terminal/t") -> Reply:
    thread = Thread(world.systems, session, toolbox=world.toolbox())
    return thread.ask(text, person, id=id or text)


@pytest.mark.parametrize(
    ("text", "intent"),
    [
        ("why did we retrain last night?", Intent.why_retrained),
        ("how is the canary?", Intent.rollout),
        ("what would it cost to check everything now?", Intent.cost),
        ("status", Intent.status),
        ("How is ChurnModel doing?", Intent.status),
        ("which kpis are off target?", Intent.kpis),
        ("what waits for approval?", Intent.approvals),
        ("why does version 2 serve?", Intent.why_serving),
        ("is something wrong?", Intent.alerts),
        ("check ChurnModel now", Intent.check),
        ("retrain ChurnModel", Intent.retrain),
        ("deploy ChurnModel version 3", Intent.deploy),
        ("what happened last night?", Intent.night),
        ("tell me a joke", None),
    ],
)
def test_questions_are_understood(text: str, intent: Intent | None) -> None:
    assert understood(text, ["ChurnModel", "FraudModel"]).intent == intent


def test_questions_are_answered_from_evidence_rows_and_cost_nothing(world: World) -> None:
    triage(world.systems, toolbox=world.toolbox(), advance=lambda systems, now: [])
    world.calls.clear()
    runs = len(world.systems.store.list(Kind.run))
    why = ask(world, "why did we retrain last night?").text
    assert why.startswith("ChurnModel was retrained last on") and "train-1" in why and "version 2" in why
    assert "rollout-1" in ask(world, "how is the canary?").text
    assert "5% of the traffic" in ask(world, "how is the canary?", id="again").text
    cost = ask(world, "what would it cost to check everything now?").text
    assert "1 model (1 monitor, 1 KPI tracker) costs no tokens" in cost
    assert "ChurnModel: version 1 serves" in ask(world, "status").text
    assert "Nothing waits" in ask(world, "what waits for approval?").text
    assert "run-1" in ask(world, "what happened last night?").text
    assert "Ask, for example" in ask(world, "tell me a joke").text
    world.systems.clock.set(world.systems.clock.now() + timedelta(days=3))  # type: ignore[attr-defined]
    assert "no retraining in the last 36 hours" in ask(world, "why did we retrain last night?", id="later").text
    assert world.calls == []
    assert len(world.systems.store.list(Kind.run)) == runs


def test_a_thread_outlives_its_process_and_answers_a_question_once(world: World) -> None:
    first = ask(world, "check ChurnModel now", id="m-1")
    again = ask(world, "check ChurnModel now", id="m-1")
    assert again == first
    assert world.calls == ["check_drift", "track_kpis"]
    assert "drift-1" in first.text
    triage(world.systems, toolbox=world.toolbox(), advance=lambda systems, now: [])  # prunes what runs left behind
    turns = Thread(world.systems, "terminal/t", toolbox=world.toolbox()).turns()
    assert [each.question for each in turns] == ["check ChurnModel now"]
    assert Thread(world.systems, "terminal/other", toolbox=world.toolbox()).turns() == []


def test_a_turn_that_was_cut_off_is_finished_with_the_same_run(world: World) -> None:
    class Killed(BaseException):
        pass

    def progress(line: str) -> None:
        if "track_kpis …" in line:
            raise Killed

    cut = Thread(world.systems, "terminal/t", toolbox=world.toolbox(), progress=progress)
    with pytest.raises(Killed):
        cut.ask("check ChurnModel now", ANNA, id="m-1")
    reply = ask(world, "check ChurnModel now", id="m-1")
    assert world.calls == ["check_drift", "track_kpis"]
    assert (reply.run_id, world.systems.store.get("run-1").status) == ("run-1", "finished")


def test_two_questions_at_once_are_answered_one_after_the_other(world: World) -> None:
    threads = [
        threading.Thread(target=ask, args=(world, "check ChurnModel now"), kwargs={"id": f"m-{n}"}) for n in (1, 2)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(Thread(world.systems, "terminal/t", toolbox=world.toolbox()).turns()) == 2


def test_who_is_not_declared_may_ask_and_measure_but_not_act(world: World) -> None:
    assert "may ask and measure" in ask(world, "retrain ChurnModel", person=STRANGER).text
    assert "drift-1" in ask(world, "check ChurnModel now", person=STRANGER).text
    assert "retrain" not in world.calls
    assert "train-1" in ask(world, "retrain ChurnModel", id="anna").text


def test_policies_and_approvals_hold_in_a_conversation(world: World) -> None:
    refused = ask(world, "deploy ChurnModel version 2").text
    assert "Not done: Refused by policy" in refused
    declare_approvals(world, retrain={"mode": "approve", "approvers": ["oncall"]})
    waits = ask(world, "retrain ChurnModel")
    assert waits.approval == "approval-1"
    assert "waits for oncall" in waits.text
    decided = answer(world.systems, "approval-1", "oncall", approve=True, toolbox=world.toolbox())
    assert "train-1" in decided.outcome
    assert world.calls == ["retrain"]  # what was asked, and nothing after it


def test_the_language_model_answers_with_tools_under_the_same_budget(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = in_turn(Call("check_drift", {"monitor": "ChurnDrift"}), Say("PSI of spend_30d is 0.31 (drift-1)."))
    with serve(script) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback-secret")
        reply = ask(world, "does spend drift? my key is sk-abcdefghijklmnop")
        sent = str(server.requests)
    assert reply.text == "PSI of spend_30d is 0.31 (drift-1)."
    assert "[secret]" in sent and "abcdefghijklmnop" not in sent
    run = world.systems.store.get("run-1")
    assert run.body["result"]["budget"]["llm_calls"] == 2


def test_without_the_provider_the_rows_answer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve(lambda request: Failure(401)) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "sk-loopback-secret")
        reply = ask(world, "how is the canary?")
    assert "had no rollout yet" in reply.text
    assert "runbook took over" in reply.text
    assert world.calls == []


def test_a_triage_does_not_go_on_with_somebodys_question(world: World) -> None:
    from agent.conversation.work import begin
    from agent.runs import Asked

    asked = Asked(session="terminal/t", text="status", by="anna", read_only=False)
    begin(world.systems, asked, MODEL, "runbook")
    world.systems.clock.set(world.systems.clock.now() + timedelta(hours=1))  # type: ignore[attr-defined]
    result = triage(world.systems, toolbox=world.toolbox(), advance=lambda systems, now: [])
    assert result.run_id == "run-2"
