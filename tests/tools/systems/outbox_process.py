"""A process that records an alert and sends it by the environment's channels: to be killed, and started again.

python -m tests.tools.systems.outbox_process STORE_URL record|send [stop-before-send|stop-after-send]
"""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import timedelta
from typing import Any

from policies.declarations import Severity
from policies.declarations.binding import Person
from tools.systems.channels.channel import Channel, Letter
from tools.systems.channels.configured import configured
from tools.systems.clock import WallClock
from tools.systems.notify import Incident, Notifications
from tools.systems.outbox import CLAIM_SECONDS, Outbox
from tools.systems.store import Store


class Dying:
    """A channel whose process is killed by SIGKILL just before, or just after, the far side was told."""

    def __init__(self, inner: Channel, after: bool) -> None:
        self._inner, self._after = inner, after

    def send(self, letter: Letter) -> dict[str, Any] | None:
        """Dies."""
        if self._after:
            self._inner.send(letter)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def main(url: str, what: str, how: str = "") -> None:
    """Records, then sends; or sends what another process left, when its claim is over."""
    store, clock = Store(url), WallClock()
    people = {"oncall": Person(slack="#oncall", pagerduty="ml-platform", email="oncall@shop.example")}
    if what == "record":
        notifications = Notifications(store, clock, people)
        incident = Incident("M/crm", "M", Severity.critical, "M: crm is broken", "", {"oncall": ()}, timedelta(days=1))
        notifications.report(incident, seen_in="run-1")
    channels = configured()
    if how:
        channels = {name: Dying(each, how == "stop-after-send") for name, each in channels.items()}
    later = 0.0 if what == "record" else CLAIM_SECONDS + 1
    Outbox(store, clock, channels, seconds=lambda: time.time() + later).deliver()


if __name__ == "__main__":
    main(*sys.argv[1:])
