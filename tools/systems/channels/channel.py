"""What every channel is: it brings one letter to one place, and says what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from policies.alerting import AlertStatus
from policies.declarations import Severity
from policies.errors import GuardianError
from tools.systems.notify import Alert

TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Letter:
    """An alert on its way to `address`. `token` names the letter on the far side, the same in every attempt.

    `place` is the message already there, None before the first; `calls_sent` how often it called people so far.
    `doubtful`: an earlier attempt may have arrived.
    """

    alert: Alert
    address: str
    token: str
    place: dict[str, Any] | None
    calls_sent: int
    doubtful: bool

    @property
    def call_token(self) -> str:
        """The name of this call of people, the same in every attempt of it."""
        return f"{self.token}-{self.alert.calls}"


class Undelivered(GuardianError):
    """A channel did not take a letter. `doubtful`: it may have arrived; `wait`: seconds the far side asked for."""

    def __init__(self, message: str, where: str, *, doubtful: bool = False, wait: float | None = None) -> None:
        super().__init__(message, where)
        self.doubtful = doubtful
        self.wait = wait


class Channel(Protocol):
    """Somewhere a letter can be brought to."""

    def send(self, letter: Letter) -> dict[str, Any] | None:
        """Makes the far side show the letter; the place of the message there. Raises Undelivered."""
        ...


def headline(alert: Alert) -> str:
    """An alert in one line: `CRITICAL ChurnModel: the source crm is broken`, `RESOLVED …`."""
    if alert.status is AlertStatus.notice:
        return alert.title
    resolved, taken = alert.status is AlertStatus.resolved, alert.status is AlertStatus.acknowledged
    state = "RESOLVED" if resolved else alert.severity.value.upper() + (" (taken)" if taken else "")
    return f"{state} {alert.title}"


def footer(alert: Alert) -> str:
    """Since when, and how often an incident was seen; empty for a notice."""
    if alert.status is AlertStatus.notice:
        return ""
    since = f"Alert {alert.id}, open since {alert.opened_at:%Y-%m-%d %H:%M} UTC"
    if alert.resolved_at is not None:
        return f"{since.replace('open since', 'from')} to {alert.resolved_at:%Y-%m-%d %H:%M} UTC"
    return since + (f", seen {alert.seen} times, last {alert.changed_at:%Y-%m-%d %H:%M}" if alert.seen > 1 else "")


def is_information(alert: Alert) -> bool:
    """Whether nothing is wrong: good news, for which nobody is paged."""
    return alert.severity.rank < Severity.warning.rank
