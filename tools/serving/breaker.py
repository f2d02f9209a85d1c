"""A circuit breaker: after repeated failures, stop asking for a while, then try with one request."""

from __future__ import annotations

from collections.abc import Callable


class Breaker:
    """Opens after `failures` in a row; lets one trial through after a cool-down that doubles up to `longest`.

    Times in seconds, by `timer`. Not thread safe: it lives in one event loop.
    """

    def __init__(
        self, timer: Callable[[], float], failures: int = 5, cooldown: float = 1.0, longest: float = 30.0
    ) -> None:
        self._timer = timer
        self._limit = failures
        self._shortest = self._cooldown = cooldown
        self._longest = longest
        self._failed = 0
        self._open_until: float | None = None
        self._trying = False

    @property
    def is_open(self) -> bool:
        """Whether the last word was a failure that opened it."""
        return self._open_until is not None

    def allows(self) -> bool:
        """Whether to ask now. In the half-open state only the first caller may, until its outcome is known."""
        if self._open_until is None:
            return True
        if self._trying or self._timer() < self._open_until:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """Closes it."""
        self._failed, self._open_until, self._trying = 0, None, False
        self._cooldown = self._shortest

    def failed(self) -> bool:
        """Counts a failure; True if this one opened the breaker (again)."""
        self._failed += 1
        was_open = self._open_until is not None
        if was_open and not self._trying:
            return False
        if self._failed < self._limit and not self._trying:
            return False
        self._open_until = self._timer() + self._cooldown
        self._cooldown = min(self._cooldown * 2, self._longest)
        self._trying = False
        return True
