"""The availability promised in an SLA as an error budget: how much of it is left, and whether it burns too fast.

The budget of a period is the share of requests that may fail, 1 - availability. It burns at rate 1 where exactly that
share fails; at rate r it is gone after 1/r of the period. People are called by the rates of several windows at once, a
long one that shows it matters and a short one that shows it still goes on (Beyer et al. 2018, "The Site Reliability
Workbook", ch. 5, table 5-8).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from policies.declarations.base import Severity

PERIOD = timedelta(days=30)
FEWEST_FAILED = 10
"""Failures that a window must hold before anybody is called: of a handful of requests one failure is a high rate."""


class Seen(NamedTuple):
    """Requests of a window, and those that failed for their callers."""

    requests: int
    failed: int


class Burn(NamedTuple):
    """The budget burns `rate` times as fast as it may, over `window`."""

    severity: Severity
    rate: float
    window: timedelta


_RULES = (
    (timedelta(hours=1), timedelta(minutes=5), 14.4, Severity.critical),
    (timedelta(hours=6), timedelta(minutes=30), 6.0, Severity.critical),
    (timedelta(days=3), timedelta(hours=6), 1.0, Severity.warning),
)
WINDOWS = tuple(sorted({PERIOD, *(window for long, short, *_ in _RULES for window in (long, short))}))
"""The windows that `burning` and `budget_left` ask for."""


def burn_rate(seen: Seen, availability: float) -> float:
    """How many times as fast as it may the budget burns; infinite where nothing may fail and something did."""
    share = seen.failed / seen.requests if seen.requests else 0.0
    if share == 0.0:
        return 0.0
    return share / (1.0 - availability) if availability < 1.0 else float("inf")


def budget_left(seen: Mapping[timedelta, Seen], availability: float) -> float:
    """The share of the period's budget that is left, below zero where more failed than was promised."""
    return 1.0 - burn_rate(seen[PERIOD], availability)


def burning(seen: Mapping[timedelta, Seen], availability: float) -> Burn | None:
    """The most urgent rule that holds in both its windows, None where none does."""
    for long, short, limit, severity in _RULES:
        rate = burn_rate(seen[long], availability)
        if seen[long].failed >= FEWEST_FAILED and rate >= limit and burn_rate(seen[short], availability) >= limit:
            return Burn(severity, rate, long)
    return None
