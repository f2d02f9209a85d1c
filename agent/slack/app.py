"""The Bolt app: routes what Slack sends, over Socket Mode or HTTP; acknowledges at once, takes each event once."""

from __future__ import annotations

import logging
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agent.slack.clicks import REASON, Clicks
from agent.slack.commands import Commands, Triage
from agent.slack.home import home_view
from agent.slack.inbox import heard
from agent.slack.speaking import Speaker
from agent.untrusted import clean, redact
from tools.systems.channels.card import APPROVE, DENY
from tools.systems.channels.slack import API_URL
from tools.systems.systems import Systems
from tools.systems.tool import Tool

if TYPE_CHECKING:
    from slack_bolt import App
    from slack_bolt.adapter.socket_mode import SocketModeHandler
    from slack_sdk import WebClient

_log = logging.getLogger(__name__)

WORKERS = 8
RETRIES = 5
RECONNECT_SECONDS = 10.0
PING_SECONDS = 1.0
"""The library notices that a connection was cut after five pings that failed."""
PROMPTS = ("How are the models?", "Why did we retrain last night?", "How is the canary?", "What waits for approval?")


@dataclass(frozen=True)
class Credentials:
    """How the workspace is reached. Without `app_token` events come over HTTP, which needs `signing_secret`."""

    bot_token: str
    app_token: str | None
    signing_secret: str | None
    url: str = API_URL


def credentials(environment: Mapping[str, str] | None = None) -> Credentials | None:
    """The environment's, None where Slack is not configured to listen."""
    values = os.environ if environment is None else environment
    token, app, secret = (values.get(f"SLACK_{name}") or None for name in ("BOT_TOKEN", "APP_TOKEN", "SIGNING_SECRET"))
    if token is None or not (app or secret):
        return None
    return Credentials(token, app, secret, (values.get("SLACK_API_URL") or API_URL).rstrip("/") + "/")


class SlackSurface:
    """Slack, while it runs. `triage` runs a triage for /guardian, `send_now` brings what is in the outbox to people."""

    def __init__(
        self,
        systems: Systems,
        known: Credentials,
        *,
        triage: Triage,
        send_now: Callable[[], object],
        planner: str | None = None,
        toolbox: Mapping[str, Tool] | None = None,
    ) -> None:
        self._systems = systems
        self._known = known
        self._client = _client(known)
        self._speaker = Speaker(systems, self._client, planner=planner, toolbox=toolbox)
        self._clicks = Clicks(systems, self._client, toolbox=toolbox, send_now=send_now)
        self._commands = Commands(systems, triage)
        self._workers = ThreadPoolExecutor(WORKERS, "slack")
        self._answers = ThreadPoolExecutor(WORKERS, "slack answers")  # long work: a click never waits behind it
        self._at_work: set[str] = set()
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._connector: threading.Thread | None = None
        self._socket: SocketModeHandler | None = None
        self._app: App | None = None

    def start(self) -> None:
        """Connects in the background, for as long as it takes, and answers what was left unanswered."""
        self._connector = threading.Thread(target=self._connect, name="slack connect", daemon=True)
        self._connector.start()

    def close(self) -> None:
        """Ends the connection; what is not answered yet is answered by the next process."""
        self._ending.set()
        if self._connector is not None:
            self._connector.join(RECONNECT_SECONDS)
        if self._socket is not None:  # it waits some seconds for its own threads; nobody else need
            threading.Thread(target=self._socket.close, name="slack close", daemon=True).start()
        for pool in (self._workers, self._answers):
            pool.shutdown(wait=False, cancel_futures=True)

    @property
    def app(self) -> App | None:
        """What HTTP requests are dispatched to, once Slack has answered; None without a secret to check them by."""
        return self._app if self._known.signing_secret else None

    @property
    def state(self) -> str:
        """How the connection is, in a word or two."""
        if self._app is None:
            return "connecting"
        if self._socket is None:
            return "listening over HTTP"
        return "connected" if self._socket.client.is_connected() else "reconnecting"

    def answer_what_is_left(self) -> None:
        """Answers messages that an earlier process or attempt left; those at work are left alone."""
        for event_id in self._speaker.inbox.unanswered():
            self._answers.submit(self._answer, event_id)

    def _connect(self) -> None:
        while not self._ending.is_set():
            try:
                if self._app is None:
                    self._app = self._build()
                if self._known.app_token:
                    self._socket = self._socket or self._handler(self._app, self._known.app_token)
                    self._socket.connect()  # type: ignore[no-untyped-call]
                self.answer_what_is_left()
                return
            except Exception as error:
                _log.warning("Slack is not reached yet: %s", clean(redact(repr(error)), 300))
                self._ending.wait(RECONNECT_SECONDS)

    def _handler(self, app: App, app_token: str) -> SocketModeHandler:
        from slack_bolt.adapter.socket_mode import SocketModeHandler

        return SocketModeHandler(app, app_token, web_client=self._client, ping_interval=PING_SECONDS)

    def _build(self) -> App:
        """Raises where Slack does not answer or refuses the token."""
        from slack_bolt import App

        app = App(
            client=self._client,
            signing_secret=self._known.signing_secret or secrets.token_hex(32),  # nobody's: nothing comes over HTTP
            logger=_logger(),
            listener_executor=self._workers,
            attaching_conversation_kwargs_enabled=False,
        )
        app.middleware(self._once)
        for event in ("app_mention", "message"):
            app.event(event)(self._message)
        app.event("app_home_opened")(self._home)
        app.event("assistant_thread_started")(self._pane)
        app.event("assistant_thread_context_changed")(lambda: None)
        for button in (APPROVE, DENY):
            app.action(button)(self._button)
        app.view(REASON)(self._reason)
        app.command("/guardian")(self._command)
        return app

    def _once(self, body: dict[str, Any], next: Callable[[], Any]) -> Any:
        """An event that was delivered before is acknowledged, and no more."""
        from slack_bolt import BoltResponse

        if (id := body.get("event_id")) and not self._speaker.inbox.receive(str(id), heard(body["event"])):
            return BoltResponse(status=200, body="")
        return next()

    def _message(self, body: dict[str, Any]) -> None:
        if heard(body["event"]) is not None:
            self._answers.submit(self._answer, str(body["event_id"]))

    def _answer(self, event_id: str) -> None:
        with self._lock:
            if event_id in self._at_work:
                return
            self._at_work.add(event_id)
        try:
            self._speaker.answer(event_id)
        finally:
            with self._lock:
                self._at_work.discard(event_id)

    def _home(self, event: dict[str, Any]) -> None:
        if event.get("tab", "home") == "home":
            self._client.views_publish(user_id=str(event["user"]), view=home_view(self._systems))

    def _pane(self, event: dict[str, Any]) -> None:
        thread = event["assistant_thread"]
        self._client.assistant_threads_setSuggestedPrompts(
            channel_id=thread["channel_id"],
            thread_ts=thread["thread_ts"],
            prompts=[{"title": each, "message": each} for each in PROMPTS],
        )

    def _button(self, ack: Callable[..., Any], body: dict[str, Any]) -> None:
        ack()
        self._clicks.clicked(body)

    def _reason(self, ack: Callable[..., Any], body: dict[str, Any]) -> None:
        ack()
        self._clicks.reasoned(body)

    def _command(self, ack: Callable[..., Any], command: dict[str, Any], respond: Callable[..., Any]) -> None:
        ack()
        self._commands.asked(command, respond)


def _client(known: Credentials) -> WebClient:
    """Waits as long as Slack asks (429), and retries what did not reach it."""
    from slack_sdk import WebClient
    from slack_sdk.http_retry.builtin_handlers import ConnectionErrorRetryHandler, RateLimitErrorRetryHandler

    return WebClient(
        token=known.bot_token,
        base_url=known.url,
        timeout=15,
        logger=_logger(),
        retry_handlers=[ConnectionErrorRetryHandler(), RateLimitErrorRetryHandler(max_retry_count=RETRIES)],
    )


class _NoSecrets(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = redact(record.getMessage()), None
        return True


def _logger() -> logging.Logger:
    """Of the libraries: warnings, without secrets."""
    logger = logging.getLogger(f"{__name__}.libraries")
    logger.setLevel(logging.WARNING)
    if not logger.filters:
        logger.addFilter(_NoSecrets())
    return logger
