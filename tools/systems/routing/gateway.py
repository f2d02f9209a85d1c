"""The gateway's workers as `Traffic`: they read the newest split in the state store and sign for it."""

from __future__ import annotations

import time
from collections.abc import Callable

from tools.systems.routing.protocol import Asked


class GatewayTraffic:
    """A split is recorded first, for that is how workers learn of it; then every live one must have signed.

    `live_workers` gives of each worker of a model the number of the split it serves. The status is `acknowledged`,
    `unacknowledged` when time is up, or `no_worker`.
    """

    mirrors = True

    def __init__(self, live_workers: Callable[[str], dict[str, int]]) -> None:
        self._live_workers = live_workers

    def apply(self, asked: Asked, record: Callable[[], int], seconds: float) -> str:
        number, until = record(), time.monotonic() + seconds
        while workers := self._live_workers(asked.model):
            if all(acknowledged >= number for acknowledged in workers.values()):
                return "acknowledged"
            if time.monotonic() > until:
                return "unacknowledged"
            time.sleep(0.01)
        return "no_worker"

    def in_force(self, asked: Asked) -> bool:
        return True  # what is recorded is what workers follow

    def health(self, version: str) -> tuple[int, int]:
        return 0, 0  # copies of requests say more

    def reachable(self) -> str:
        return "the gateway's workers follow the state store"
