"""The whole error gate, champion beside it: healthy canaries stay, broken ones go fast; peers' rules do neither."""

from __future__ import annotations

import numpy as np
import pytest

from evals.benchmarks.gate_rules import median_seconds, rules


def test_healthy_canaries_are_rolled_back_at_most_once_in_a_hundred() -> None:
    found = rules(np.random.default_rng(11), 0.005, 300)
    wrong = {rule: aborted[:, -1].mean() for rule, aborted in found.items()}
    assert wrong["Guardian"] <= 0.01
    assert wrong["any bad window"] > 0.98
    assert wrong["Argo Rollouts, failureLimit 3"] > 0.9
    assert wrong["Flagger, threshold 5"] > 0.8
    assert wrong["three bad windows in a row"] > 0.05


@pytest.mark.parametrize(("rate", "seconds"), [(0.05, 20), (0.02, 90)])
def test_broken_canaries_are_found_in_seconds(rate: float, seconds: float) -> None:
    assert median_seconds(rules(np.random.default_rng(12), rate, 150)["Guardian"]) <= seconds
