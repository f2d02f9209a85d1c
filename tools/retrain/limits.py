"""The limit on a training process's memory."""

from __future__ import annotations

import sys


def limit_memory(gigabytes: float) -> None:
    """This process may hold `gigabytes` (10^9 bytes) of private memory; more is a MemoryError. Linux enforces it.

    `RLIMIT_DATA` counts what a process allocates, not the libraries and shared memory it maps (getrlimit(2)).
    """
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = int(gigabytes * 1e9)
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))
