"""The error budget: rates by the table of the workbook, and nobody is called for a handful of requests."""

from __future__ import annotations

from datetime import timedelta

import pytest

from policies.sla import PERIOD, WINDOWS, Seen, budget_left, burn_rate, burning

HOUR = timedelta(hours=1)


def seen(short: float, long: float, hourly: int = 10_000) -> dict[timedelta, Seen]:
    """Shares that failed within the last half hour, and before."""
    found = {}
    for window in WINDOWS:
        requests = round(hourly * (window / HOUR))
        recent = min(requests, hourly // 2)
        found[window] = Seen(requests, round(recent * short + (requests - recent) * long))
    return found


@pytest.mark.parametrize(
    ("short", "long", "called"),
    [
        (0.0, 0.0, None),
        (0.0009, 0.0009, None),
        (0.0012, 0.0012, ("warning", 72)),
        (0.007, 0.007, ("critical", 6)),
        (0.02, 0.02, ("critical", 1)),
        (0.0, 0.02, ("warning", 72)),
        (0.02, 0.0, None),
    ],
    ids=["sound", "within", "slowly", "fast", "very fast", "over since half an hour", "just begun"],
)
def test_who_is_called_at_three_nines(short: float, long: float, called: tuple[str, int] | None) -> None:
    found = burning(seen(short, long), 0.999)
    assert (found and (found.severity.value, found.window / HOUR)) == called


def test_a_handful_of_requests_calls_nobody() -> None:
    assert burning(dict.fromkeys(WINDOWS, Seen(20, 9)), 0.999) is None


def test_the_budget_is_what_may_fail_in_thirty_days() -> None:
    assert budget_left({PERIOD: Seen(1_000_000, 250)}, 0.999) == pytest.approx(0.75)
    assert budget_left({PERIOD: Seen(1_000_000, 2_000)}, 0.999) == pytest.approx(-1.0)
    assert budget_left({PERIOD: Seen(0, 0)}, 0.999) == 1.0
    assert burn_rate(Seen(100, 1), 1.0) == float("inf")
