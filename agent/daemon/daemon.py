"""The daemon: every part in a thread or process of its own, each of which may fail without the others."""

from __future__ import annotations

import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from agent.daemon.gateways import Gateways, log_faults
from agent.daemon.http import StatusServer
from agent.daemon.log_watch import LogWatch
from agent.daemon.page import DaemonState
from agent.daemon.schedule import is_due, next_tick
from agent.deciding import go_on_with_conversations, listed
from agent.runs import TRIAGE, RunBusy, claimed
from agent.sla import watch
from agent.slack.app import Credentials, SlackSurface
from agent.status import status
from agent.untrusted import clean
from policies.errors import GuardianError, InputError
from tools.systems.channels.configured import configured
from tools.systems.outbox import Outbox
from tools.systems.systems import Systems

if TYPE_CHECKING:
    from slack_bolt import App

_log = logging.getLogger(__name__)

LOOK_SECONDS = 2.0
KEEP_SECONDS = 0.2
"""How long a gateway that was killed may go unnoticed; it is to be back within three seconds."""
RECONCILE_SECONDS = 15.0
"""How often rollouts take a step. One whose stage's time is over takes it within LOOK_SECONDS."""
WATCH_SECONDS = 60.0
"""How often the error budgets are looked at: their shortest window is five minutes, a look reads 30 days of the log."""
LEFT_SECONDS = 60.0
FAILED_AGAIN_SECONDS = 600.0
"""A triage that is still due when it has ended (it did not even begin) is tried again after this."""


class Job(Protocol):
    """Runs a triage (`agent.daemon.job`)."""

    doing: str

    def run(self) -> str: ...

    def stop(self) -> None: ...


@dataclass(frozen=True)
class Settings:
    """What `guardian serve` was told."""

    triage: str
    host: str
    port: int
    planner: str | None = None
    key: str | None = None


class Daemon:
    """Works until `stop`. `slack` are the workspace's credentials, None where it is not configured."""

    def __init__(
        self,
        systems: Systems,
        settings: Settings,
        *,
        job: Job,
        gateways: Gateways | None,
        slack: Credentials | None,
        say: Callable[[str], None],
    ) -> None:
        self._systems = systems
        self._settings = settings
        self._job = job
        self._gateways = gateways
        self._log_watch = LogWatch(systems, say)
        self._since = systems.clock.now()
        self._say = say
        self._ending = threading.Event()
        self._troubles: dict[str, str] = {}
        self._triage_thread: threading.Thread | None = None
        self._not_before = 0.0
        self._stepped = self._since
        self._outbox = Outbox(systems.store, systems.clock, configured())
        self._surface = (
            None
            if slack is None
            else SlackSurface(
                systems, slack, triage=self._triage_report, send_now=self._outbox.deliver, planner=settings.planner
            )
        )
        self.url = ""

    def stop(self) -> None:
        """Asks it to end; safe in a signal handler."""
        self._ending.set()

    def serve(self, ready: Callable[[str], None]) -> None:
        """Works until it is stopped; `ready` is given the status page's URL. Raises InputError where it cannot."""
        with self._alone():
            self._open_registry()
            page = StatusServer(
                self._systems,
                self._settings.host,
                self._settings.port,
                state=self.state,
                slack=self._app,
                key=self._settings.key,
            )
            self.url = page.url
            parts = [
                self._part("schedule", LOOK_SECONDS, self._look),
                self._part("rollouts", RECONCILE_SECONDS, self._reconcile, self._stage_ended),
                self._part("conversations", RECONCILE_SECONDS, lambda: go_on_with_conversations(self._systems)),
                self._part("sla", WATCH_SECONDS, lambda: watch(self._systems, self._systems.clock.now())),
                self._part("outbox", LOOK_SECONDS, self._deliver),
            ]
            if self._gateways is not None:
                parts.append(self._part("gateways", KEEP_SECONDS, self._gateways.keep))
                parts.append(self._part("prediction log", LOOK_SECONDS, self._look_at_logs))
            if self._surface is not None:
                self._surface.start()
                parts.append(self._part("slack", LEFT_SECONDS, self._surface.answer_what_is_left))
            ready(page.url)
            try:
                self._ending.wait()
            finally:
                self._end(page, parts)

    def state(self) -> DaemonState:
        """How it is."""
        said = self._gateways.readiness() if self._gateways else {}
        return DaemonState(
            since=self._since,
            next_triage=next_tick(self._settings.triage, self._systems.clock.now()),
            triage=self._job.doing,
            slack=self._surface.state if self._surface else "not configured",
            gateways=self._gateways.states(said) if self._gateways else {},
            unlogged={model: fault for model, fault in log_faults(said).items() if fault},
            troubles=dict(self._troubles),
        )

    def _end(self, page: StatusServer, parts: list[threading.Thread]) -> None:
        self._say("ending: what is under way is left as it is, and continued by the next start")
        self._ending.set()
        self._job.stop()
        if self._surface is not None:
            self._surface.close()
        for part in [*parts, *([self._triage_thread] if self._triage_thread else [])]:
            part.join(LOOK_SECONDS * 5)
        if self._gateways is not None:
            self._gateways.stop()
        with suppress(Exception):
            self._outbox.deliver()
        page.close()

    def _open_registry(self) -> None:
        """Looks once before anything else does: a new registry's tables are made by one process, not by several."""
        try:
            status(self._systems)
        except GuardianError as error:
            self._say(f"the models could not be looked up yet: {error}")

    def _look(self) -> None:
        """Starts a triage that is due, however many ticks were missed."""
        if self._triage_thread is not None and self._triage_thread.is_alive():
            return
        if time.monotonic() < self._not_before or not is_due(self._systems, self._settings.triage, self._since):
            return
        try:
            with claimed(self._systems, TRIAGE):
                pass
        except RunBusy:  # somebody else's, who may still be killed
            return
        self._not_before = time.monotonic() + FAILED_AGAIN_SECONDS
        self._triage_thread = threading.Thread(target=self._scheduled, name="triage", daemon=True)
        self._triage_thread.start()

    def _scheduled(self) -> None:
        report = self._triage_report()
        if not self._ending.is_set() and not is_due(self._systems, self._settings.triage, self._since):
            self._not_before = 0.0
        self._say(report)

    def _triage_report(self) -> str:
        return self._job.run()

    def _reconcile(self) -> None:
        """Rollouts take their step, approvals whose time is over expire. Neither needs a model."""
        from tools.deploy.tool import advance

        self._stepped = self._systems.clock.now()
        listed(self._systems)
        for rollout in advance(self._systems, self._stepped):
            if rollout.ended:
                self._say(f"{rollout.rollout_id}: {rollout.status}: {clean(rollout.reason)}")

    def _stage_ended(self) -> bool:
        from tools.deploy.due import stage_ended

        return stage_ended(self._systems, self._stepped, self._systems.clock.now())

    def _look_at_logs(self) -> None:
        assert self._gateways is not None
        self._log_watch.look(log_faults(self._gateways.readiness()))

    def _deliver(self) -> None:
        failed = self._outbox.deliver().failed
        if failed:
            self._troubles["outbox"] = failed[0]
        else:
            self._troubles.pop("outbox", None)

    def _app(self) -> App | None:
        return self._surface.app if self._surface else None

    def _part(
        self, name: str, seconds: float, work: Callable[[], None], sooner: Callable[[], bool] = lambda: False
    ) -> threading.Thread:
        """Does `work` again and again, before its time where `sooner` says so; what goes wrong is said once, shown on
        the page, and tried again."""

        def again() -> None:
            while not self._ending.is_set():
                try:
                    work()
                    if name != "outbox":
                        self._troubles.pop(name, None)
                except Exception as error:
                    text = clean(repr(error), 400)
                    if self._troubles.get(name) != text:
                        _log.exception("%s failed", name)
                        self._say(f"{name}: {text}")
                    self._troubles[name] = text
                self._pause(seconds, sooner)

        thread = threading.Thread(target=again, name=name, daemon=True)
        thread.start()
        return thread

    def _pause(self, seconds: float, sooner: Callable[[], bool]) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._ending.wait(min(left, LOOK_SECONDS)):
            with suppress(Exception):  # the work meets it too, and tells of it
                if sooner():
                    return

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One in a folder; on another machine another one may share the store."""
        name = f"serve {socket.gethostname()} {self._systems.state.resolve()}"
        try:
            with claimed(self._systems, name):
                yield
        except RunBusy as busy:
            if busy.where != name:
                raise
            raise InputError("is at work here already; end that one first", where="guardian serve") from None
