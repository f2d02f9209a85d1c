"""How the promotion benchmark counts: a seed counts once, the peers' rule looks at the AUC alone."""

from __future__ import annotations

from datetime import datetime

from evals.benchmarks.promotions import Attempt, Lives, summary


def _attempt(gain: float, promoted: bool) -> Attempt:
    verdict = "challenger_wins" if promoted else "tie"
    night = datetime(2026, 2, 1)
    return Attempt(night, 0.80, 0.80 + gain, gain, (gain - 0.01, gain + 0.01), verdict, "passed", promoted)


def test_seeds_are_counted_for_both_rules() -> None:
    lives = [
        Lives(1, [_attempt(0.05, True)], _attempt(0.002, False)),
        Lives(2, [_attempt(0.004, False), _attempt(0.06, True)], _attempt(-0.001, False)),
        Lives(3, [], _attempt(0.001, False)),
    ]
    first, ended, quiet = (line.split()[-6:] for line in summary(lives)[2:])
    assert first == ["1", "of", "3", "2", "of", "3"]
    assert ended == ["2", "of", "3", "2", "of", "3"]
    assert quiet == ["0", "of", "3", "2", "of", "3"]
