"""Alerts on their way to people: one message an incident, nothing lost, nothing twice, whatever fails in between."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.message import Message
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from policies.alerting import Change
from policies.declarations import Severity
from policies.declarations.binding import Person
from tests.fakes.pagerduty_server import ROUTING_KEY, PagerDutyServer, running_pagerduty
from tests.fakes.slack_server import TOKEN, Fault, SlackServer, running_slack
from tools.systems.channels.configured import configured
from tools.systems.clock import VirtualClock
from tools.systems.notify import Incident, Notifications
from tools.systems.outbox import CLAIM_SECONDS, KEPT, Delivered, Outbox
from tools.systems.store import Store

NOW = datetime(2026, 2, 2, 2, 0)
DAY = timedelta(days=1)
PEOPLE = {
    "data-team": Person(slack="#data-team", email="data-team@shop.example"),
    "oncall": Person(slack="#oncall", pagerduty="ml-platform", email="oncall@shop.example"),
}


@dataclass
class Mailbox:
    """What a local SMTP server took; `refuse` is an answer to give first."""

    mails: list[Message] = field(default_factory=list)
    refuse: list[str] = field(default_factory=list)

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        import email

        if self.refuse:
            return self.refuse.pop()
        self.mails.append(email.message_from_bytes(envelope.content or b""))
        return "250 OK"


@dataclass
class Desk:
    """A store with its outbox, and the three far sides."""

    url: str
    store: Store
    clock: VirtualClock
    slack: SlackServer
    pager: PagerDutyServer
    mailbox: Mailbox
    environment: dict[str, str]
    seconds: float = 1e9

    @property
    def notifications(self) -> Notifications:
        return Notifications(self.store, self.clock, PEOPLE)

    def report(self, severity: str = "warning", run: str = "run-1", text: str = "", **changes: object) -> Change | None:
        who = "oncall" if severity == "critical" else "data-team"
        given = {"people": {who: ("slack", "pagerduty", "email")}, "quiet_period": 3 * DAY, **changes}
        title = "ChurnModel: crm is broken"
        incident = Incident("ChurnModel/crm", "ChurnModel", Severity(severity), title, text, **given)  # type: ignore[arg-type]
        return self.notifications.report(incident, seen_in=run)

    def deliver(self, later: float = 0.0) -> Delivered:
        self.seconds += later
        return Outbox(self.store, self.clock, configured(self.environment), lambda: self.seconds).deliver()

    def night(self, number: int) -> str:
        self.clock.set(NOW + number * DAY)
        return f"run-{number + 1}"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    url = f"sqlite:///{tmp_path}/state.db"
    store = Store(url)
    clock = VirtualClock(store)
    clock.set(NOW)
    mailbox = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    controller = Controller(mailbox, hostname="127.0.0.1", port=port)
    controller.start()
    with running_slack() as slack, running_pagerduty() as pager:
        environment = {
            "SLACK_BOT_TOKEN": TOKEN,
            "SLACK_API_URL": slack.url,
            "PAGERDUTY_ROUTING_KEY": ROUTING_KEY,
            "PAGERDUTY_API_URL": pager.url,
            "SMTP_URL": f"smtp://127.0.0.1:{port}?from=guardian@shop.example",
        }
        yield Desk(url, store, clock, slack, pager, mailbox, environment)
    controller.stop()
    store.close()


def test_who_was_paged_for_a_decision_need_not_come_once_it_is_taken(desk: Desk) -> None:
    for about, told_first in (("approval-1", True), ("approval-2", False)):
        desk.notifications.notify("oncall", Severity.critical, f"{about} waits for you.", about=about)
        if told_first:
            desk.deliver()
        desk.notifications.amend(about, f"{about}: Denied by anna.", {})
        desk.deliver()
    (incident,) = desk.pager.incidents.values()  # the second was decided before anybody was paged
    assert (incident["status"], incident["summary"], desk.pager.paged) == ("resolved", "approval-1 waits for you.", 1)
    assert desk.slack.shown("#oncall")[0]["text"].endswith("approval-1: Denied by anna.")


def test_an_alert_reaches_each_of_the_declared_channels_once(desk: Desk) -> None:
    assert desk.report("critical", text="tickets are 48 h late") is Change.opened
    assert desk.deliver().sent == 3
    assert desk.deliver().sent == 0
    (message,) = desk.slack.shown("#oncall")
    assert "CRITICAL ChurnModel: crm is broken" in message["text"]
    assert "48 h late" in str(message["blocks"])
    (incident,) = desk.pager.incidents.values()
    assert (incident["status"], incident["severity"]) == ("triggered", "critical")
    (mail,) = desk.mailbox.mails
    assert (mail["To"], mail["From"]) == ("oncall@shop.example", "guardian@shop.example")


def test_repeats_within_the_quiet_period_change_the_message_and_call_nobody(desk: Desk) -> None:
    desk.report()
    desk.deliver()
    for number in (1, 2):
        assert desk.report(run=desk.night(number), text=f"night {number}") is Change.repeated
        desk.deliver()
    assert desk.report(run="run-3", text="night 2") is None  # a night that was continued
    (message,) = desk.slack.shown("#data-team")
    assert "night 2" in str(message["blocks"])
    assert "seen 3 times" in str(message["blocks"])
    assert len(desk.mailbox.mails) == 1
    assert desk.report(run=desk.night(3)) is Change.reminded
    desk.deliver()
    assert len(desk.slack.shown("#data-team")) == len(desk.mailbox.mails) == 2
    assert desk.mailbox.mails[1]["In-Reply-To"] == desk.mailbox.mails[0]["Message-ID"]


def test_worse_calls_who_is_named_for_it_and_recovery_resolves_everywhere(desk: Desk) -> None:
    desk.report("warning")
    desk.deliver()
    assert desk.report("critical", run=desk.night(1)) is Change.worse
    desk.deliver()
    assert [len(desk.slack.shown(each)) for each in ("#data-team", "#oncall")] == [2, 1]
    assert "CRITICAL" in desk.slack.shown("#data-team")[0]["text"]
    assert desk.pager.paged == 1
    desk.night(2)
    assert desk.notifications.resolve("ChurnModel/crm", "the last check found nothing")
    desk.deliver()
    assert "RESOLVED" in desk.slack.shown("#oncall")[0]["text"]
    assert [each["status"] for each in desk.pager.incidents.values()] == ["resolved"]
    assert "RESOLVED" in desk.mailbox.mails[-1]["Subject"]
    assert not desk.notifications.resolve("ChurnModel/crm", "again")
    assert desk.report("critical", run=desk.night(3)) is Change.reopened
    desk.deliver()
    assert "CRITICAL" in desk.slack.shown("#oncall")[0]["text"]
    assert (len(desk.slack.shown("#oncall")), desk.pager.paged) == (1, 1)
    assert desk.report("critical", run=desk.night(8)) is Change.reminded
    desk.deliver()
    assert desk.pager.paged == 2


def test_what_is_taken_by_a_person_is_acknowledged_and_reminds_nobody(desk: Desk) -> None:
    desk.report("critical")
    desk.deliver()
    desk.notifications.acknowledge(1, "oncall")
    desk.deliver()
    assert [each["status"] for each in desk.pager.incidents.values()] == ["acknowledged"]
    assert desk.report("critical", run=desk.night(9)) is Change.repeated


def test_a_rate_limit_is_waited_out_as_long_as_it_says(desk: Desk) -> None:
    desk.slack.fail("chat.postMessage", Fault(429, retry_after=40))
    desk.pager.statuses.append((429, {"Retry-After": "70"}))
    desk.report("critical")
    assert (desk.deliver().sent, desk.deliver(later=39).sent) == (1, 0)
    assert desk.deliver(later=2).sent == 1
    assert desk.deliver(later=30).sent == 1
    assert (len(desk.slack.shown("#oncall")), desk.pager.paged) == (1, 1)


def test_a_channel_that_is_down_gets_the_newest_state_once_it_is_up(desk: Desk) -> None:
    up = dict(desk.environment)
    desk.environment |= {"SLACK_API_URL": "http://127.0.0.1:9/api/", "PAGERDUTY_API_URL": "http://127.0.0.1:9"}
    desk.mailbox.refuse = ["451 try later"]
    desk.report("critical", text="night 0")
    assert len(desk.deliver().failed) == 3
    desk.report("critical", run=desk.night(1), text="night 1")
    assert desk.deliver(later=6).sent == 1
    desk.environment = up
    assert desk.deliver(later=11).sent == 2
    (message,) = desk.slack.shown("#oncall")
    assert "night 1" in str(message["blocks"])
    assert (desk.pager.paged, len(desk.mailbox.mails)) == (1, 1)
    desk.slack.fail("chat.update", Fault(500))
    desk.report("critical", run=desk.night(2), text="night 2")
    assert "slack: refused: HTTP 500" in desk.deliver().failed
    desk.deliver(later=6)
    assert "night 2" in str(desk.slack.shown("#oncall"))
    assert desk.store.verify_audit() is None


def test_a_message_whose_answer_was_lost_is_not_posted_again(desk: Desk) -> None:
    desk.slack.fail("chat.postMessage", Fault(swallow=True))
    desk.report()
    assert desk.deliver().failed
    desk.report("critical", run="run-2")  # worse, while it is not known whether the first message arrived
    desk.slack.fail("chat.postMessage", Fault(swallow=True))
    desk.deliver(later=6)
    desk.deliver(later=20)
    desk.deliver(later=60)
    assert ["CRITICAL" in each["text"] for each in desk.slack.shown("#data-team")] == [True, True]
    assert len(desk.slack.shown("#oncall")) == 1


def test_a_bot_that_may_not_look_posts_again_rather_than_never(desk: Desk) -> None:
    desk.slack.fail("chat.postMessage", Fault(swallow=True))
    desk.slack.fail("conversations.history", Fault(error="missing_scope"))
    desk.report()
    desk.deliver()
    desk.deliver(later=6)
    assert len(desk.slack.shown("#data-team")) == 2


@pytest.mark.parametrize("how", ["stop-before-send", "stop-after-send"])
def test_a_process_killed_between_recording_and_ticking_off_loses_nothing_and_tells_once(desk: Desk, how: str) -> None:
    def process(*arguments: str) -> int:
        command = [sys.executable, "-m", "tests.tools.systems.outbox_process", desk.url, *arguments]
        environment = {"PATH": "", **desk.environment}
        return subprocess.run(command, check=False, env=environment, cwd=Path(__file__).parents[3]).returncode

    assert process("record", how) == -9
    for _ in range(2):  # the claimed letter, and another one of the three, each time
        assert process("send", how) == -9
    assert desk.deliver(later=2e9).failed == []
    assert len(desk.slack.shown("#oncall")) == 1
    assert desk.pager.paged == 1
    assert len({each["Message-ID"] for each in desk.mailbox.mails}) == 1
    assert desk.deliver().sent == 0


def test_two_processes_never_send_one_letter(desk: Desk) -> None:
    desk.report()
    first = Outbox(desk.store, desk.clock, configured(desk.environment), lambda: desk.seconds)
    assert first._claim({"slack"}) is not None
    assert desk.deliver().sent == 1  # the e-mail
    assert desk.slack.shown("#data-team") == []
    assert desk.deliver(later=CLAIM_SECONDS + 1).sent == 1


def test_what_is_out_of_date_is_given_up_and_said_so(desk: Desk) -> None:
    desk.environment["SLACK_BOT_TOKEN"] = "xoxb-wrong-token"
    desk.report()
    assert "slack: refused: invalid_auth" in desk.deliver().failed
    desk.clock.set(NOW + KEPT + DAY)
    assert desk.deliver(later=9e9).waiting == 0
    from sqlalchemy import select

    from tools.systems.tables import AuditRow

    with desk.store.reading() as session:
        logged = {row.action: row.detail for row in session.scalars(select(AuditRow))}
    assert "invalid_auth" in logged["notify given up"]
    assert "xoxb" not in str(logged)


def test_a_notice_about_a_row_is_told_once_and_good_news_page_nobody(desk: Desk) -> None:
    for _ in range(2):
        desk.notifications.notify("oncall", Severity.ok, "version 2 is promoted <@U1>", about="rollout-1")
    desk.notifications.notify("risk@bank.example", Severity.warning, "look at gate-3", about="gate-3")
    desk.notifications.notify("nobody-bound", Severity.warning, "is recorded all the same")
    desk.deliver()
    (message,) = desk.slack.shown("#oncall")
    assert "&lt;@U1&gt;" in message["text"]
    assert (desk.pager.events, len(desk.mailbox.mails)) == ([], 2)
