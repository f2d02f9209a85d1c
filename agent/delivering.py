"""Bringing alerts to people while a command or the daemon works, and for a while after."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tools.systems.channels.configured import configured
from tools.systems.outbox import Outbox
from tools.systems.systems import Systems

EVERY_SECONDS = 2.0
PATIENCE_SECONDS = 30.0
"""How long a command that is done goes on trying a channel that does not answer."""


@contextmanager
def delivering(systems: Systems, say: Callable[[str], None]) -> Iterator[None]:
    """Sends what is recorded within the block, soon, by the channels that the environment has credentials for.

    What cannot be sent in time stays in the outbox: the next command or the daemon sends it. Raises InputError for
    credentials that are none.
    """
    channels = configured()
    if not channels:
        yield
        return
    outbox, ended = Outbox(systems.store, systems.clock, channels), threading.Event()
    told: set[str] = set()

    def send() -> None:
        for failure in outbox.deliver().failed:
            if failure not in told:
                told.add(failure)
                say(f"{failure}; the message is kept and sent again")

    def work() -> None:
        while not ended.wait(EVERY_SECONDS):
            send()

    courier = threading.Thread(target=work, name="courier", daemon=True)
    courier.start()
    try:
        yield
    finally:
        ended.set()
        courier.join()
        until = time.monotonic() + PATIENCE_SECONDS
        send()
        while outbox.waiting() and time.monotonic() < until:
            time.sleep(EVERY_SECONDS)
            send()
        if waiting := outbox.waiting():
            say(f"{waiting} messages could not be sent yet and wait in the outbox")
