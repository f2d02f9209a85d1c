"""A child process that does not outlive its parent."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1


def die_with_parent(parent: int, by: signal.Signals = signal.SIGKILL) -> None:
    """Has the kernel send this process `by` when `parent` dies, however it hangs; ends it where that has happened.

    To Linux the parent is the thread that started this process: one that stays must do that.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_SET_PARENT_DEATH_SIGNAL, by)
        if os.getppid() != parent:
            sys.exit(1)
