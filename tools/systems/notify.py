"""Notifications to people. Every message is a row of the audit log; channels deliver it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from policies.declarations import Severity
from tools.systems.store import Store

if TYPE_CHECKING:
    from tools.systems.clock import Clock


class Channel(Protocol):
    """Somewhere a message can be delivered."""

    def send(self, to: str, severity: Severity, text: str) -> None:
        """Delivers `text`. Raises SystemDown where that failed."""
        ...


class Notifications:
    """Messages to the people declared under `systems.people`."""

    def __init__(self, store: Store, clock: Clock, channels: list[Channel] | None = None) -> None:
        self._store = store
        self._clock = clock
        self._channels = channels or []

    def notify(self, to: str, severity: Severity, text: str) -> None:
        """Records the message and hands it to every channel."""
        detail = {"to": to, "severity": severity.value, "text": text}
        self._store.audit("guardian", "notify", detail, at=self._clock.now())
        for channel in self._channels:
            channel.send(to, severity, text)
