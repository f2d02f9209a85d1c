"""Instances follow the rate: up at once, down only after a whole cooldown without the need, never out of bounds."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from policies.autoscaling import Autoscaler
from policies.declarations.serving import Autoscaling, Instances

TICK = 0.5


def run(rates: Callable[[float], float], seconds: float, rule: Autoscaling | None) -> list[tuple[float, int]]:
    """What is wanted under `rates` (requests a second at a time), as the times at which it changed."""
    scaler = Autoscaler(Instances(min=2, max=10), rule)
    changes, total, now = [(0.0, scaler.wanted)], 0.0, 0.0
    while now < seconds:
        now += TICK
        total += rates(now) * TICK
        wanted = scaler.observe(total, now)
        if wanted != changes[-1][1]:
            changes.append((now, wanted))
    return changes


def rule(up: float = 60.0, down: float = 300.0) -> Autoscaling:
    """The seed's: 100 requests a second an instance."""
    return Autoscaling(metric="requests_per_second", target=100, scale_up_cooldown=up, scale_down_cooldown=down)


def test_a_peak_is_met_at_once_and_given_back_after_the_whole_cooldown() -> None:
    changes = run(lambda now: 950.0 if 100 <= now < 400 else 50.0, 1_000, rule())
    wanted = [each for _, each in changes]
    assert wanted[0] == 2 and wanted[-1] == 2 and max(wanted) == 10
    grown = [now for (_, before), (now, after) in pairwise(changes) if after > before]
    assert grown[0] >= 100 and grown[-1] <= 103, "the first growth waits for no cooldown"
    back, last = changes[-1]
    assert last == 2 and 700 <= back <= 703, "300 s after the load went from the rate"


def test_a_second_growth_waits_for_the_cooldown() -> None:
    changes = run(lambda now: 250.0 if now < 30 else 650.0, 200, rule())
    assert [each for _, each in changes] == [2, 3, 7]
    assert changes[2][0] - changes[1][0] >= 60


def test_dips_shorter_than_the_cooldown_cost_no_instance() -> None:
    changes = run(lambda now: 900.0 if now % 200 < 20 else 10.0, 2_000, rule(up=0.0))
    assert max(each for _, each in changes) == 9 and changes[-1][1] == 9
    assert all(after >= before for (_, before), (_, after) in pairwise(changes))


def test_it_stays_within_bounds_and_at_the_minimum_without_a_rule() -> None:
    assert run(lambda now: 1e6, 200, rule(up=0.0))[-1][1] == 10
    assert run(lambda now: 0.0, 2_000, rule()) == [(0.0, 2)]
    assert run(lambda now: 1e6, 200, None) == [(0.0, 2)]


def test_one_request_after_the_start_is_no_rush() -> None:
    scaler = Autoscaler(Instances(min=1, max=10), rule(up=0.0))
    scaler.observe(0, 0.0)
    assert scaler.observe(20, 0.01) == 1 and scaler.rate == 10.0
