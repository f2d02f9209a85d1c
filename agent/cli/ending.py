"""SIGTERM for commands that must take away what they began."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TERMINATED = 128 + signal.SIGTERM


@contextmanager
def cleaning_up_on_sigterm() -> Iterator[Callable[[], bool]]:
    """Within the block SIGTERM is a Ctrl-C, but a second one does not disturb the cleaning up; gives whether one came.

    Not for commands that a later run carries on: those may die at once, and do not wait for what their threads do.
    """
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return

    def interrupt(number: int, frame: object) -> None:
        if not came:
            came.append(number)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGTERM, before)
