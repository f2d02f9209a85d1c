"""The daemon as people run it: the schedule caught up once, rollouts and approvals on their way, a page to look at."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from agent.conversation.lookups import night
from agent.daemon.daemon import Daemon, Settings
from agent.daemon.gateways import Gateways
from agent.daemon.job import TriageJob
from agent.daemon.log_watch import LogWatch
from agent.daemon.schedule import NIGHTLY, cron, is_due
from agent.triage import triage
from policies.errors import InputError
from tests.agent.test_sla import served
from tests.agent.world import MODEL, NIGHT, OPERATIONS, World, build_world, declare_approvals
from tests.chromium import browser
from tests.fakes.slack_server import APP_TOKEN, TOKEN
from tests.fakes.slack_socket import running_socket, until
from tests.postgres import database_url
from tools.deploy.rollout import Rollout, StageState, Status
from tools.systems.store import Kind


@dataclass
class FakeJob:
    """A triage in this process, over the world's quick tools."""

    world: World
    ran: int = 0
    doing: str = ""
    stopped: threading.Event = field(default_factory=threading.Event)

    def run(self) -> str:
        self.ran += 1
        return triage(self.world.systems, toolbox=self.world.toolbox(), advance=lambda systems, now: []).report

    def stop(self) -> None:
        self.stopped.set()


@contextmanager
def serving(
    world: World,
    *,
    key: str | None = None,
    gateways: Gateways | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[tuple[str, FakeJob]]:
    """A daemon at work: its page's URL and its job."""
    from agent.slack.app import credentials

    job = FakeJob(world)
    settings = Settings(NIGHTLY, "127.0.0.1", 0, "runbook", key)
    daemon = Daemon(world.systems, settings, job=job, gateways=gateways, slack=credentials(), say=say)
    urls: list[str] = []
    thread = threading.Thread(target=daemon.serve, args=(urls.append,))
    thread.start()
    try:
        until(lambda: urls, "a daemon")
        yield urls[0], job
    finally:
        daemon.stop()
        thread.join(60)
        assert not thread.is_alive() and job.stopped.is_set()


def get(url: str, **headers: str) -> tuple[int, str, Any]:
    """A request's status, body and headers."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=90) as answer:
            return answer.status, answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), error.headers


def set_time(world: World, at: datetime) -> None:
    world.systems.clock.set(at)  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _no_slack(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "SMTP_URL", "GUARDIAN_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_missed_nights_are_caught_up_once(world: World) -> None:
    set_time(world, NIGHT - timedelta(minutes=30))
    world.drift = False
    triage(world.systems, toolbox=world.toolbox())
    assert not is_due(world.systems, NIGHTLY, NIGHT)
    set_time(world, NIGHT + timedelta(days=5, hours=3))
    with serving(world) as (url, job):
        until(lambda: job.ran == 1 and not is_due(world.systems, NIGHTLY, NIGHT), "a triage")
        time.sleep(2.5)
        state = json.loads(get(f"{url}/status.json")[1])
        assert state["daemon"]["next_triage"].startswith("2026-02-08T02:00")
    assert job.ran == 1
    assert len(world.systems.store.list(Kind.run)) == 2


def test_without_a_night_before_the_first_tick_is_waited_for_and_an_interrupted_one_goes_on(world: World) -> None:
    set_time(world, NIGHT + timedelta(hours=1))
    assert not is_due(world.systems, NIGHTLY, NIGHT + timedelta(hours=1))
    set_time(world, NIGHT + timedelta(days=1, hours=1))
    assert is_due(world.systems, NIGHTLY, NIGHT + timedelta(hours=1))
    body = {"planner": "runbook", "because": "nightly triage", "models": [MODEL]}
    world.systems.store.add(Kind.run, MODEL, body, at=world.systems.clock.now(), status="running")
    assert is_due(world.systems, NIGHTLY, NIGHT)


def test_a_night_is_not_forgotten_over_many_questions(world: World) -> None:
    world.drift = False
    triage(world.systems, toolbox=world.toolbox())
    asked = {"session": "slack/C/1.1", "text": "?", "by": "anna", "read_only": False}
    for _ in range(120):
        body = {"planner": "runbook", "because": "asked in slack/C/1.1", "models": [MODEL], "asked": asked}
        world.systems.store.add(Kind.run, MODEL, body, at=world.systems.clock.now(), status="finished")
    assert not is_due(world.systems, NIGHTLY, NIGHT - timedelta(days=9))
    assert "run-1 of" in night(world.systems)


def test_a_cron_expression_that_is_none_is_said(world: World) -> None:
    assert cron("30 1 * * 1-5") == "30 1 * * 1-5"
    with pytest.raises(InputError, match="hour is '25'"):
        cron("0 25 * * *")


def test_a_second_daemon_says_so_and_leaves(world: World) -> None:
    with serving(world):
        settings = Settings(NIGHTLY, "127.0.0.1", 0)
        second = Daemon(world.systems, settings, job=FakeJob(world), gateways=None, slack=None, say=lambda text: None)
        with pytest.raises(InputError, match="at work here already"):
            second.serve(lambda url: None)


def test_the_page_shows_everything_and_changes_nothing(world: World) -> None:
    declare_approvals(world, deploy={"mode": "approve", "approvers": ["oncall"]})
    triage(world.systems, toolbox=world.toolbox())
    with serving(world) as (url, _):
        status, page, headers = get(url)
        assert status == 200
        for shown in (MODEL, "approval-1", "oncall", "run-1", 'http-equiv="refresh"', "of $50.00"):
            assert shown in page
        assert "<script" not in page and "http://" not in page and "https://" not in page
        assert headers["Content-Security-Policy"].startswith("default-src 'none'")
        assert get(f"{url}/healthz")[0] == 200
        assert "Why this version serves" in get(f"{url}/models/{MODEL}")[1]
        assert "run-1" in get(f"{url}/runs/run-1")[1]
        for missing in ("/models/Nobody", "/runs/run-99", "/runs/approval-1", "/etc/passwd"):
            assert get(url + missing)[0] == 404
        request = urllib.request.Request(url, data=b"{}", method="POST")
        with pytest.raises(urllib.error.HTTPError, match="405"):
            urllib.request.urlopen(request, timeout=10)
        assert get(url, Host="evil.example")[0] == 421
    assert world.systems.store.get("approval-1").status == "pending"


def test_the_page_shows_what_is_promised_and_how_it_is_kept(world: World) -> None:
    with serving(world) as (url, _):
        assert 'id="sla"' not in get(url)[1], "nothing is logged yet"
        served(world, 2_000, 1, "fine")
        page = get(url)[1]
        assert 'id="sla"' in page
        assert "99.9500% of 2,000 requests answered in 30 days, 50% of the error budget left; p99 12 of 200 ms" in page
        served(world, 2_000, 1_000, "broken")
        assert "the error budget is used up" in get(url)[1]


def test_with_a_key_the_page_is_for_those_who_have_it(world: World) -> None:
    with serving(world, key="s3cret-key") as (url, _):
        basic = base64.b64encode(b"anna:s3cret-key").decode()
        assert get(url)[0] == 401
        assert get(url, Authorization="Bearer wrong")[0] == 401
        assert get(url, Authorization="Bearer s3cret-key")[0] == 200
        assert get(url, Authorization=f"Basic {basic}")[0] == 200
        assert get(f"{url}/healthz")[0] == 200


def test_an_approval_expires_while_nobody_looks(world: World) -> None:
    declare_approvals(world, deploy={"mode": "approve", "approvers": ["oncall"]})
    triage(world.systems, toolbox=world.toolbox())
    set_time(world, NIGHT + timedelta(hours=24, minutes=1) - timedelta(minutes=2))
    with serving(world):
        assert world.systems.store.get("approval-1").status == "pending"
    set_time(world, NIGHT + timedelta(hours=24, minutes=1))
    with serving(world):
        until(lambda: world.systems.store.get("approval-1").status == "expired", "the end of its time")


def test_a_stage_that_is_over_is_left_within_seconds(world: World) -> None:
    """The regular step comes every 15 seconds; a health check of ten is not prolonged by them."""
    systems, seconds = world.systems, timedelta(seconds=10)
    world.evaluate(systems, None)  # type: ignore[arg-type]
    systems.traffic.set(MODEL, "1", at=NIGHT, why="test", rests_on=None)
    stages = (
        StageState(traffic_pct=5, duration=seconds, gate="none", max_wait=seconds, started_at=NIGHT),
        StageState(traffic_pct=50, duration=timedelta(hours=1), gate="none", max_wait=seconds),
    )
    body = Rollout(
        strategy="CanaryDeploy", declared=systems.operations.deployment_strategies["CanaryDeploy"], model=MODEL,
        version="2", champion="1", status=Status.RUNNING, started_at=NIGHT, stages=stages, settled=True,
    )  # fmt: skip
    row = systems.store.add(Kind.rollout, MODEL, body, at=NIGHT, version="2", status="running")
    set_time(world, NIGHT + timedelta(seconds=3))
    with serving(world):
        time.sleep(3)
        assert systems.store.get(row.id).body["stage"] == 0
        set_time(world, NIGHT + seconds)
        over = time.monotonic()
        until(lambda: systems.store.get(row.id).body["stage"] == 1, "the next stage")
        assert time.monotonic() - over < 6


def test_a_burning_error_budget_calls_people_while_nobody_looks(world: World) -> None:
    served(world, 2_000, 1_000, "broken")
    with serving(world):
        until(lambda: world.systems.notifications.open(MODEL), "an alert")
    assert [alert.key for alert in world.systems.notifications.open(MODEL)] == [f"{MODEL}/sla"]


def test_a_prediction_log_that_cannot_be_written_is_shown_and_told_once(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.daemon.log_watch.OVER_SECONDS", 0.1)
    state = {"ready": True, "prediction_log": "3 rows wait: <no> space left"}
    looks: list[None] = []

    def readiness() -> dict[str, Any]:
        looks.append(None)
        return dict(state)

    gateways, said = Gateways(world.systems.home / "none.yaml", [MODEL], 0, lambda text: None), list[str]()
    gateways._running[MODEL] = SimpleNamespace(  # type: ignore[assignment]
        alive=True, predict_url="http://gateway", readiness=readiness, stop=lambda: None
    )
    alerts = world.systems.notifications
    with serving(world, gateways=gateways, say=said.append) as (url, _):
        until(lambda: alerts.open(MODEL), "an alert")
        seen = len(looks)
        state["prediction_log"] = "5 rows wait: <no> space left"
        until(lambda: len(looks) > seen + 1, "another look")
        page = get(url)[1]
        assert "the prediction log cannot be written: 5 rows wait: &lt;no&gt; space left" in page
        assert "as they should be" not in page and "without a prediction log" in page
        [alert] = alerts.open(MODEL)
        assert (alert.severity, alert.seen, alert.calls) == ("warning", 1, 1)
        state["prediction_log"] = "ok"
        until(lambda: not alerts.open(MODEL), "the end of the alert")
        page = get(url)[1]
        assert "as they should be" in page and "cannot be written" not in page
    assert [each for each in said if "prediction log" in each] == [
        f"gateway of {MODEL}: the prediction log cannot be written: 3 rows wait: <no> space left",
        f"gateway of {MODEL}: the prediction log is written again",
    ]


def test_logs_that_cannot_be_written_are_said_though_nobody_can_be_told(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    watch, faults = LogWatch(world.systems, said.append), {MODEL: "no space left", "Other": "no space left"}
    with monkeypatch.context() as patched:
        patched.setattr(world.systems.notifications, "report", Mock(side_effect=OSError("disk is full")))
        for _ in range(2):
            with pytest.raises(OSError, match="disk is full"):
                watch.look(faults)
    assert [line.split(":")[0] for line in said] == [f"gateway of {MODEL}", "gateway of Other"]
    watch.look({MODEL: "no space left"})
    assert [alert.title for alert in world.systems.notifications.open(MODEL)] == [
        f"{MODEL}: the prediction log cannot be written"
    ]


def test_slack_is_part_of_it_where_it_is_configured(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    with running_socket() as socket:
        for name, value in (("BOT_TOKEN", TOKEN), ("APP_TOKEN", APP_TOKEN), ("API_URL", socket.slack.url)):
            monkeypatch.setenv(f"SLACK_{name}", value)
        with serving(world) as (url, _):
            socket.connected()
            thread = socket.mention("status")
            until(lambda: "version 1 serves" in " ".join(socket.slack.thread("C0ONCALL", thread)), "an answer")
            assert json.loads(get(f"{url}/status.json")[1])["daemon"]["slack"] == "connected"
            forged = urllib.request.Request(f"{url}/slack/events", data=b"{}", method="POST")
            with pytest.raises(urllib.error.HTTPError, match="405"):  # there is no secret to check it by
                urllib.request.urlopen(forged, timeout=10)


def test_clicking_through_the_page_in_a_browser(world: World, tmp_path: Path) -> None:
    triage(world.systems, toolbox=world.toolbox(), advance=lambda systems, now: [])
    with browser(tmp_path / "profile") as page, serving(world) as (url, _):
        page.open(url)
        assert "rollout-1" in page.text() and MODEL in page.text()
        page.click(MODEL)
        assert "Why this version serves" in page.text()
        page.click("All models")
        page.click("run-1")
        assert page.run("document.title") != ""
        assert f"{url}/runs/run-1" == page.run("location.href")
        page.wide(390)
        page.open(url)
        assert page.run("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize("ended_by", [signal.SIGTERM])
def test_the_command_serves_a_real_night_and_ends_cleanly(
    tmp_path: Path, ended_by: signal.Signals, chosen_time: Callable[[Path], None]
) -> None:
    operations = tmp_path / "operations.yaml"
    operations.write_text(OPERATIONS.read_text())
    chosen_time(operations)
    command = [sys.executable, "-c", "from agent.cli import main; main()", "--json", "--operations", str(operations)]
    process = subprocess.Popen(
        [*command, "serve", "--no-gateway", "--port", "0"],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        started = json.loads(process.stdout.readline())
        assert started["planner"] == "runbook"

        def ran() -> bool:
            status, seen, _ = get(f"{started['url']}/status.json")
            assert status == 200, seen
            runs, doing = json.loads(seen)["runs"]["runs"], json.loads(seen)["daemon"]["triage"]
            return len(runs) == 2 and runs[0]["status"] == "finished" and not doing

        end = time.monotonic() + 150
        while not ran():
            assert time.monotonic() < end
            time.sleep(0.3)
        process.send_signal(ended_by)
        said, errors = process.communicate(timeout=90)
    finally:
        process.kill()
    assert (process.returncode, said) == (0, ""), errors
    assert "run-2" in errors and "Traceback" not in errors


@pytest.fixture
def chosen_time() -> Callable[[Path], None]:
    """Sets the declared world's time to the day after a night that ran."""

    def chosen(operations: Path) -> None:
        from tools.systems.systems import Systems

        systems = Systems.open(operations)
        systems.clock.set(NIGHT + timedelta(days=1, hours=5))  # type: ignore[attr-defined]
        body = {"planner": "runbook", "because": "nightly triage", "models": list(systems.operations.models)}
        systems.store.add(Kind.run, MODEL, body, at=NIGHT, status="finished")
        systems.close()

    return chosen


def test_a_triage_of_the_daemon_is_one_at_a_time_and_interrupted_with_it(tmp_path: Path) -> None:
    job = TriageJob(tmp_path / "none.yaml", "runbook", lambda line: None)
    assert "name a declarations file" in job.run()
    job.stop()
    assert "nothing was started" in job.run()


def test_of_two_machines_on_one_store_one_works_and_the_other_goes_on_when_it_is_killed(
    postgres: Path, tmp_path: Path
) -> None:
    url = database_url(postgres)
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        (folder / ".guardian").mkdir(parents=True)
    asked = [sys.executable, "-m", "tests.agent.daemon.machine", str(folders[0]), url]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, text=True, cwd=OPERATIONS.parents[1]) as one:
        assert one.stdout is not None
        assert one.stdout.readline() == "evaluating\n"
        other = build_world(folders[1], store_url=url)
        with serving(other) as (page, job):
            time.sleep(3)
            assert (job.ran, other.calls) == (0, []), "the night is in other hands"
            assert "run-1" in get(page)[1]
            one.kill()
            until(lambda: job.ran == 1 and not is_due(other.systems, NIGHTLY, NIGHT), "the rest of the night")
    runs = other.systems.store.list(Kind.run)
    assert [(row.id, row.status) for row in runs] == [("run-1", "finished")]
    assert "retrain" not in other.calls and other.calls.count("deploy") == 1
    assert len(other.systems.store.list(Kind.training_run)) == 1
