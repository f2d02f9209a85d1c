"""How many instances a real-time endpoint needs, from its requests a second and its declared cooldowns.

The need is ceil(rate / target), within min and max, as Kubernetes' HorizontalPodAutoscaler has it
(https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details). Growing is quick: at
once, until the rate is measured whole, then again after `scale_up_cooldown`. Shrinking is slow: to the largest need of
the last `scale_down_cooldown` seconds (its stabilization window), so that a dip between two peaks costs no instance.
"""

from __future__ import annotations

import math
from collections import deque

from policies.declarations.serving import Autoscaling, Instances

RATE_SECONDS = 2.0
"""Over so long the rate is taken: at 100 requests a second, 200 of them, whose number varies by 7%."""


class Autoscaler:
    """Decides from the running total of requests, by what it is told alone; times are seconds that only grow."""

    def __init__(self, instances: Instances, rule: Autoscaling | None) -> None:
        self._instances = instances
        self._rule = rule
        self._totals: deque[tuple[float, float]] = deque()
        self._needs: deque[tuple[float, int]] = deque()
        self._grew = float("-inf")
        self.wanted = instances.min
        self.rate = 0.0

    def observe(self, total: float, now: float) -> int:
        """The number of instances wanted, now that `total` requests have arrived since the start.

        Without a rule that is `instances.min`.
        """
        self._totals.append((now, total))
        while len(self._totals) > 2 and self._totals[1][0] <= now - RATE_SECONDS:
            self._totals.popleft()
        began, before = self._totals[0]
        # Over at least the whole period: the first request after the start is no thousand a second.
        self.rate = (total - before) / max(now - began, RATE_SECONDS)
        if self._rule is None:
            return self.wanted
        need = self._within(math.ceil(self.rate / self._rule.target))
        # Only a need that no later one exceeds can still be the largest of a period to come.
        while self._needs and self._needs[-1][1] <= need:
            self._needs.pop()
        self._needs.append((now, need))
        while self._needs[0][0] < now - self._rule.scale_down_cooldown:
            self._needs.popleft()
        since = now - self._grew
        if need > self.wanted and (since <= RATE_SECONDS or since >= self._rule.scale_up_cooldown):
            self.wanted = need
            self._grew = self._grew if since <= RATE_SECONDS else now  # one growth, whose size was not known at once
        elif self._needs[0][1] < self.wanted:
            self.wanted = self._needs[0][1]
        return self.wanted

    def _within(self, need: int) -> int:
        return max(self._instances.min, min(need, self._instances.max))
