"""Slack as people use it: the unpatched Bolt and slack_sdk against a workspace on loopback sockets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from slack_sdk.signature import SignatureVerifier

from agent.conversation.thread import Thread
from agent.deciding import answer, go_on_with_conversations
from agent.doctor import examine
from agent.slack.app import Credentials, SlackSurface
from agent.triage import triage
from policies.declarations.binding import Person
from tests.agent.world import World, declare_approvals
from tests.fakes.slack_server import APP_TOKEN, TOKEN, Fault
from tests.fakes.slack_socket import Socket, running_socket, until
from tools.systems.channels.card import APPROVE, DENY
from tools.systems.channels.slack import SlackChannel
from tools.systems.notify import Notifications
from tools.systems.outbox import Outbox
from tools.systems.store import Kind
from tools.systems.tables import SlackEventRow


@pytest.fixture
def socket() -> Iterator[Socket]:
    with running_socket() as running:
        yield running


@pytest.fixture
def people(world: World) -> World:
    """Anna may decide, Bob is declared only, everybody else is a stranger."""
    declare_approvals(world, deploy={"mode": "approve", "approvers": ["anna"]})
    block = world.systems.operations.systems
    known = {"anna": Person(slack="U0ANNA"), "bob": Person(slack="U0BOB"), "oncall": Person(slack="#oncall")}
    changed = block.model_copy(update={"people": known})
    world.systems.operations = world.systems.operations.model_copy(update={"systems": changed})
    world.systems.notifications = Notifications(world.systems.store, world.systems.clock, known)
    return world


def outbox(world: World, socket: Socket) -> Callable[[], object]:
    return Outbox(world.systems.store, world.systems.clock, {"slack": SlackChannel(TOKEN, socket.slack.url)}).deliver


@contextmanager
def connected(world: World, socket: Socket, times: int = 1, **options: Any) -> Iterator[SlackSurface]:
    surface = SlackSurface(
        world.systems,
        Credentials(TOKEN, APP_TOKEN, None, socket.slack.url),
        triage=options.pop("triage", lambda: "nothing was found"),
        send_now=outbox(world, socket),
        toolbox=world.toolbox(),
    )
    surface.start()
    try:
        socket.connected(times)
        yield surface
    finally:
        surface.close()


def answered(socket: Socket, thread: str, *parts: str, channel: str = "C0ONCALL") -> list[str]:
    """The thread, once all `parts` are in it."""
    until(lambda: all(part in "\n".join(socket.slack.thread(channel, thread)) for part in parts), f"an answer {parts}")
    return socket.slack.thread(channel, thread)


@pytest.fixture
def card(people: World, socket: Socket) -> tuple[World, str, str]:
    """A night that waits for Anna: the channel and ts of her card."""
    assert triage(people.systems, toolbox=people.toolbox()).status == "waiting_approval"
    outbox(people, socket)()
    (message,) = socket.slack.messages["D0ANNA"]
    assert "deploy strategy=CanaryDeploy" in json.dumps(message["blocks"])
    return people, "D0ANNA", message["ts"]


def shown(socket: Socket) -> str:
    """What the card in Anna's direct messages says."""
    return json.dumps(socket.slack.messages["D0ANNA"][0]["blocks"])


def test_a_conversation_stays_in_its_thread_and_shows_what_is_done(people: World, socket: Socket) -> None:
    with connected(people, socket):
        thread = socket.mention("check ChurnModel now")
        texts = answered(socket, thread, "drift-1", "churn_rate")
        socket.mention("how is the canary?", thread=thread)
        answered(socket, thread, "had no rollout yet")
    assert len(texts) == 1  # the status became the answer
    updates = [given["text"] for method, given in socket.slack.calls if method == "chat.update"]
    assert any("check_drift" in each for each in updates[:-1])


def events(people: World) -> list[SlackEventRow]:
    with people.systems.store.reading() as session:
        return session.query(SlackEventRow).all()


def test_a_direct_message_and_the_assistant_pane(people: World, socket: Socket) -> None:
    with connected(people, socket):
        socket.slack.panes.add("1771.1")
        pane = {"channel_id": "D0ANNA", "thread_ts": "1771.1", "user_id": "U0ANNA", "context": {}}
        socket.event({"type": "assistant_thread_started", "assistant_thread": pane, "event_ts": "1"})
        until(lambda: socket.slack.statuses, "the pane's prompts")
        said = {"type": "message", "channel_type": "im", "channel": "D0ANNA", "user": "U0ANNA", "ts": "1772.1"}
        socket.event({**said, "text": "status", "thread_ts": "1771.1"})
        answered(socket, "1771.1", "version 1 serves", channel="D0ANNA")
        socket.event({**said, "text": "what waits for approval?", "ts": "1773.1"})
        answered(socket, "1773.1", "Nothing waits", channel="D0ANNA")
        socket.event({**said, "text": "echo", "ts": "1774.1", "bot_id": "B1", "user": "UBOT"})
    assert "How is the canary?" in socket.slack.statuses[0]
    assert "is looking …" in socket.slack.statuses
    assert socket.slack.thread("D0ANNA", "1774.1") == []


def test_an_event_delivered_twice_is_answered_once(people: World, socket: Socket) -> None:
    with connected(people, socket):
        thread = socket.mention("check ChurnModel now", event_id="Ev1")
        socket.clock -= 1
        socket.mention("check ChurnModel now", event_id="Ev1")
        answered(socket, thread, "drift-1")
        time.sleep(0.3)
    assert people.calls == ["check_drift", "track_kpis"]
    assert len(socket.slack.thread("C0ONCALL", thread)) == 1


def test_what_a_killed_process_left_is_answered_by_the_next_in_the_same_message(people: World, socket: Socket) -> None:
    with connected(people, socket) as surface:
        held = threading.Event()
        surface._speaker.answer = lambda event_id: held.wait(10)  # type: ignore[method-assign,assignment]
        thread = socket.mention("status")
        held.set()
    with connected(people, socket, times=2):
        answered(socket, thread, "version 1 serves")
        until(lambda: [row.done for row in events(people)] == [True], "the end of the event")


def test_a_cut_connection_is_made_again_and_nothing_is_lost(people: World, socket: Socket) -> None:
    with connected(people, socket):
        first = socket.mention("status")
        answered(socket, first, "version 1 serves")
        socket.cut()
        socket.connected(2)
        second = socket.mention("what waits for approval?")
        answered(socket, second, "Nothing waits")
        socket.refresh()
        socket.connected(3)
        answered(socket, socket.mention("how is the canary?"), "had no rollout yet")


def test_slacks_rate_limit_is_waited_for(people: World, socket: Socket) -> None:
    socket.slack.fail("chat.postMessage", Fault(429, retry_after=1))
    with connected(people, socket):
        began = time.monotonic()
        answered(socket, socket.mention("status"), "version 1 serves")
    assert time.monotonic() - began >= 1.0
    posts = [method for method, _ in socket.slack.calls if method == "chat.postMessage"]
    assert len(posts) == 2


def test_while_slack_is_down_the_answer_waits(people: World, socket: Socket) -> None:
    socket.slack.fail("chat.postMessage", *[Fault(500)] * 2)
    with connected(people, socket) as surface:
        thread = socket.mention("status")
        until(lambda: not socket.slack.faults["chat.postMessage"] or surface.answer_what_is_left(), "two refusals")
        surface.answer_what_is_left()
        answered(socket, thread, "version 1 serves")


def test_an_approval_is_given_in_slack_and_the_card_says_by_whom(card: tuple[World, str, str], socket: Socket) -> None:
    world, channel, ts = card
    assert "gate-1 (passed)" in shown(socket)
    with connected(world, socket):
        socket.click(APPROVE, "approval-1", channel=channel, ts=ts)
        answered(socket, ts, "anna approves approval-1", "rollout-1", channel=channel)
        until(lambda: "Approved by anna and carried out" in shown(socket), "a redrawn card")
    assert "guardian_approve" not in shown(socket)
    assert world.systems.store.get("approval-1").body["decided_by"] == "anna"
    assert world.calls.count("deploy") == 1


def test_what_was_asked_for_in_a_thread_is_approved_on_a_card_and_told_in_both(people: World, socket: Socket) -> None:
    declare_approvals(people, retrain={"mode": "approve", "approvers": ["anna"]})
    with connected(people, socket):
        thread = socket.mention("retrain ChurnModel", user="U0BOB")
        answered(socket, thread, "approval-1 waits for anna")
        outbox(people, socket)()
        (message,) = socket.slack.messages["D0ANNA"]
        socket.click(APPROVE, "approval-1", channel="D0ANNA", ts=message["ts"])
        answered(socket, message["ts"], "train-1", channel="D0ANNA")
        answered(socket, thread, "train-1")
    assert people.calls == ["retrain"]


@pytest.fixture
def asked(people: World, socket: Socket) -> tuple[World, str]:
    """Bob asked in a thread for what Anna must approve: the thread."""
    declare_approvals(people, retrain={"mode": "approve", "approvers": ["anna"]})
    with connected(people, socket):
        thread = socket.mention("retrain ChurnModel", user="U0BOB")
        answered(socket, thread, "approval-1 waits for anna")
    outbox(people, socket)()
    return people, thread


def test_a_decision_on_the_command_line_is_told_in_the_thread_that_asked(
    asked: tuple[World, str], socket: Socket
) -> None:
    world, thread = asked
    answer(world.systems, "approval-1", "anna", approve=True, toolbox=world.toolbox())
    socket.slack.fail("chat.postMessage", Fault(swallow=True))  # it arrives, and its answer is lost
    hours = iter((0.0, 3600.0))
    for _ in range(2):
        slack = {"slack": SlackChannel(TOKEN, socket.slack.url)}
        Outbox(world.systems.store, world.systems.clock, slack, lambda: next(hours, 7200.0)).deliver()
    said = socket.slack.thread("C0ONCALL", thread)
    assert len(said) == 2  # what it waits for, and what came of it
    assert "approval-1: retrain pipeline=ChurnRetrain: Approved by anna and carried out" in said[1]
    assert "train-1" in said[1]
    assert "Approved by anna and carried out" in shown(socket)
    turns = Thread(world.systems, f"slack/C0ONCALL/{thread}", toolbox=world.toolbox()).turns()
    assert "train-1" in turns[0].text and turns[0].approval is None


def test_a_denial_and_its_reason_are_told_in_the_thread_that_asked(asked: tuple[World, str], socket: Socket) -> None:
    world, thread = asked
    answer(world.systems, "approval-1", "anna", approve=False, why="launch freeze", toolbox=world.toolbox())
    outbox(world, socket)()
    assert "Denied by anna: launch freeze" in socket.slack.thread("C0ONCALL", thread)[-1]
    assert "retrain" not in world.calls


def test_that_nobody_decided_is_told_in_the_thread_that_asked(asked: tuple[World, str], socket: Socket) -> None:
    world, thread = asked
    go_on_with_conversations(world.systems, world.toolbox())
    assert world.systems.store.get("run-1").status == "waiting_approval"
    world.systems.clock.set(world.systems.clock.now() + timedelta(hours=25))  # type: ignore[attr-defined]
    go_on_with_conversations(world.systems, world.toolbox())
    outbox(world, socket)()
    assert "Expired: nobody decided in time" in socket.slack.thread("C0ONCALL", thread)[-1]
    assert "retrain" not in world.calls


def test_what_was_approved_and_cut_off_is_carried_out_and_told_once(asked: tuple[World, str], socket: Socket) -> None:
    world, thread = asked

    class Killed(BaseException):
        pass

    def killed(systems: Any, arguments: Any) -> Any:
        raise Killed

    tools = world.toolbox()
    with pytest.raises(Killed):
        dying = {**tools, "retrain": replace(tools["retrain"], run=killed)}
        answer(world.systems, "approval-1", "anna", approve=True, toolbox=dying)
    for _ in range(2):
        go_on_with_conversations(world.systems, tools)
    outbox(world, socket)()
    said = socket.slack.thread("C0ONCALL", thread)
    assert len(said) == 2 and "train-1" in said[1]
    assert world.calls.count("retrain") == 1


def test_a_card_whose_answer_was_lost_is_not_sent_again(people: World, socket: Socket) -> None:
    triage(people.systems, toolbox=people.toolbox())
    socket.slack.fail("chat.postMessage", Fault(swallow=True))
    hours = iter((0.0, 3600.0))
    letters = Outbox(
        people.systems.store,
        people.systems.clock,
        {"slack": SlackChannel(TOKEN, socket.slack.url)},
        seconds=lambda: next(hours, 7200.0),
    )
    assert letters.deliver().failed
    letters.deliver()
    assert len(socket.slack.messages["D0ANNA"]) == 1


def test_a_strangers_click_is_refused_and_answered(card: tuple[World, str, str], socket: Socket) -> None:
    world, channel, ts = card
    with connected(world, socket):
        for user in ("U0BOB", "U0EVE"):
            for button in (APPROVE, DENY):
                socket.click(button, "approval-1", user=user, channel=channel, ts=ts)
        until(lambda: len(socket.slack.whispers) == 4, "four answers")
    assert {(user, "is not an approver; anna may decide" in text) for user, text in socket.slack.whispers} == {
        ("U0BOB", True),
        ("U0EVE", True),
    }
    assert world.systems.store.get("approval-1").status == "pending"
    assert socket.slack.views == {}


@pytest.mark.parametrize("button", [APPROVE, DENY])
def test_a_click_where_the_bot_may_not_speak_is_answered_directly(
    card: tuple[World, str, str], socket: Socket, button: str
) -> None:
    """A card of /guardian approvals stands in whatever channel it was asked for in."""
    world, _, ts = card
    absent = [Fault(error="not_in_channel")] * 3
    socket.slack.fail("chat.postEphemeral", *absent)
    socket.slack.fail("views.open", Fault(error="expired_trigger_id"))
    with connected(world, socket):
        if button == APPROVE:
            socket.slack.fail("chat.postMessage", absent[0])
        socket.click(button, "approval-1", channel="C0ELSEWHERE", ts=ts)
        said = "anna approves approval-1" if button == APPROVE else "guardian deny approval-1 --why"
        until(lambda: said in "".join(each["text"] for each in socket.slack.messages["D0ANNA"]), "a direct message")
        stands = "used" if button == APPROVE else "pending"
        until(lambda: world.systems.store.get("approval-1").status == stands, stands)


def test_a_click_does_not_wait_behind_long_answers(card: tuple[World, str, str], socket: Socket) -> None:
    world, channel, ts = card
    held = threading.Event()
    with connected(world, socket) as surface:
        surface._speaker.answer = lambda event_id: held.wait(60)  # type: ignore[method-assign,assignment,return-value]
        for _ in range(10):
            socket.mention("retrain ChurnModel")
        began = time.monotonic()
        socket.click(APPROVE, "approval-1", channel=channel, ts=ts)
        answered(socket, ts, "rollout-1", channel=channel)
        assert time.monotonic() - began < 30
        held.set()


def test_a_double_click_decides_once_and_both_are_answered(card: tuple[World, str, str], socket: Socket) -> None:
    world, channel, ts = card
    with connected(world, socket):
        clicks = [
            threading.Thread(target=socket.click, args=(APPROVE, "approval-1"), kwargs={"channel": channel, "ts": ts})
            for _ in range(2)
        ]
        for each in clicks:
            each.start()
        for each in clicks:
            each.join()
        answered(socket, ts, "rollout-1", channel=channel)
        thread = lambda: socket.slack.thread(channel, ts)  # noqa: E731
        until(lambda: len(socket.slack.whispers) + len(thread()) >= 3, "an answer to each")
    assert world.calls.count("deploy") == 1


def test_a_denial_asks_for_the_reason_and_a_click_after_it_is_told(
    card: tuple[World, str, str], socket: Socket
) -> None:
    world, channel, ts = card
    with connected(world, socket):
        socket.click(DENY, "approval-1", channel=channel, ts=ts)
        until(lambda: "trigger-U0ANNA" in socket.slack.views, "the question for a reason")
        socket.submit("trigger-U0ANNA", "launch <!channel> freeze")
        answered(socket, ts, "anna denies approval-1: launch &lt;!channel&gt; freeze", channel=channel)
        until(lambda: "Denied by anna: launch" in shown(socket), "a redrawn card")
        socket.click(APPROVE, "approval-1", channel=channel, ts=ts)
        until(lambda: socket.slack.whispers, "an answer")
    assert "Denied by anna" in socket.slack.whispers[0][1]
    assert "deploy" not in world.calls


def test_a_click_after_a_restart_is_answered_by_the_row(card: tuple[World, str, str], socket: Socket) -> None:
    world, channel, ts = card
    with connected(world, socket):
        pass
    with connected(world, socket, times=2):
        socket.click(APPROVE, "approval-1", channel=channel, ts=ts)
        answered(socket, ts, "rollout-1", channel=channel)
        until(lambda: world.systems.store.get("run-1").status == "finished", "the end of the night")


def test_an_expired_card_is_redrawn_and_says_so(card: tuple[World, str, str], socket: Socket) -> None:
    world, channel, ts = card
    world.systems.clock.set(world.systems.clock.now() + timedelta(hours=25))  # type: ignore[attr-defined]
    with connected(world, socket):
        socket.click(APPROVE, "approval-1", channel=channel, ts=ts)
        until(lambda: socket.slack.whispers, "an answer")
        until(lambda: "Expired: nobody decided in time" in shown(socket), "a redrawn card")
    assert "Expired" in socket.slack.whispers[0][1]
    assert "deploy" not in world.calls


def test_a_superseded_request_is_redrawn_and_asked_again(card: tuple[World, str, str], socket: Socket) -> None:
    world, channel, ts = card
    gate = {"artifact_digest": "digest-2", "champion": "1", "holdout_digest": "other"}
    world.systems.store.add(Kind.gate, "ChurnModel", gate, at=world.systems.clock.now(), version="2", status="passed")
    with connected(world, socket):
        socket.click(APPROVE, "approval-1", channel=channel, ts=ts)
        answered(socket, ts, "approval-2", channel=channel)
        until(lambda: "Superseded" in shown(socket), "a redrawn card")
        until(
            lambda: any("approval-2" in json.dumps(m.get("blocks")) for m in socket.slack.messages[channel]),
            "a new card",
        )


@pytest.mark.parametrize("fault", [None, Fault(error="missing_scope")])
def test_an_answer_about_a_course_carries_its_picture(people: World, socket: Socket, fault: Fault | None) -> None:
    for day, value in enumerate((0.12, 0.13, 0.15)):
        at = people.systems.clock.now() - timedelta(days=3 - day)
        reading = {"kpi": "churn_rate", "value": value, "target": 0.08, "severity": "warning", "read_at": str(at)}
        people.systems.store.add(Kind.kpi_reading, "ChurnModel", {"tracker": "ChurnKPIs", "readings": [reading]}, at=at)
    if fault is not None:
        socket.slack.fail("files.getUploadURLExternal", fault)
    with connected(people, socket):
        thread = socket.mention("which KPIs are off target?")
        answered(socket, thread, "churn_rate", *(["KPIs over time"] if fault is None else []))
        answered(socket, socket.mention("status"), "version 1 serves")
        until(lambda: all(row.done for row in events(people)), "the end of every event")
    if fault is None:
        (file,) = socket.slack.files.values()
        assert file["body"].startswith(b"\x89PNG") and "value 15.0%, target 8.0%" in file["alt"]
    else:
        assert socket.slack.files == {}


def test_the_slash_command(people: World, socket: Socket) -> None:
    with connected(people, socket, triage=lambda: "run-7: all is well"):
        for text, part in (
            ("status", "version 1 serves"),
            ("why ChurnModel", "was never given any traffic"),
            ("approvals", "Nothing waits"),
            ("triage", "run-7: all is well"),
        ):
            socket.command(text)
            until(lambda part=part: part in json.dumps(socket.slack.responses), part)
        socket.command("triage", user="U0EVE")
        until(lambda: "declared under systems.people" in json.dumps(socket.slack.responses), "a refusal")


def test_app_home_shows_the_models(people: World, socket: Socket) -> None:
    with connected(people, socket):
        socket.event({"type": "app_home_opened", "user": "U0EVE", "channel": "D0EVE", "tab": "home"})
        until(lambda: "U0EVE" in socket.slack.views, "a view")
    assert "ChurnModel" in json.dumps(socket.slack.views["U0EVE"])


def test_over_http_a_request_needs_slacks_signature(people: World, socket: Socket) -> None:
    from slack_bolt import BoltRequest

    secret = "8f742231b10e8888abcd99yyyzzz85a5"
    surface = SlackSurface(
        people.systems,
        Credentials(TOKEN, None, secret, socket.slack.url),
        triage=lambda: "",
        send_now=lambda: None,
        toolbox=people.toolbox(),
    )
    surface.start()
    try:
        until(lambda: surface.app is not None, "the app")
        event = {"type": "app_mention", "channel": "C0ONCALL", "user": "U0ANNA", "text": "<@UBOT> status", "ts": "1.1"}
        body = json.dumps({"type": "event_callback", "event_id": "Ev1", "team_id": "T1", "event": event})
        stamp = str(int(time.time()))
        signature = SignatureVerifier(secret).generate_signature(timestamp=stamp, body=body)
        for sign, status in (("v0=forged", 401), (signature, 200)):
            headers = {
                "x-slack-request-timestamp": stamp,
                "x-slack-signature": str(sign),
                "content-type": "application/json",
            }
            assert surface.app is not None
            assert surface.app.dispatch(BoltRequest(body=body, headers=headers)).status == status
        answered(socket, "1.1", "version 1 serves")
    finally:
        surface.close()


def test_doctor_says_what_is_missing_to_decide_in_slack(people: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", TOKEN)
    monkeypatch.delenv("SLACK_APP_TOKEN", raising=False)
    monkeypatch.delenv("SLACK_SIGNING_SECRET", raising=False)
    said = {each.subject: each.says for each in examine(people.systems).checks}
    assert "nothing is answered" in said["slack conversation"]
    monkeypatch.setenv("SLACK_APP_TOKEN", APP_TOKEN)
    declare_approvals(people, deploy={"mode": "approve", "approvers": ["oncall"]})
    said = {each.subject: each.says for each in examine(people.systems).checks}
    assert said["slack conversation"] == "over Socket Mode"
    assert "no approver of deploy (oncall)" in said["slack approvals"]
