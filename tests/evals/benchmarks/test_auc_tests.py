"""Betting on blocks of rows: exact levels, an unbiased difference, and fewer labels for the gate's own test."""

from __future__ import annotations

import numpy as np
import pytest

from evals.benchmarks.auc_tests import LIMIT, betting, block_differences, ours, shares, simulated
from tools.deploy.gates import FAIL_ALPHA, PASS_ALPHA


@pytest.mark.parametrize("auc", [0.75, 0.9])
def test_betting_keeps_its_levels_at_the_limit(auc: float) -> None:
    passed, failed = shares(betting, np.random.default_rng(2), 3_000, (auc, auc - LIMIT), 800)
    assert passed <= PASS_ALPHA
    assert failed <= FAIL_ALPHA / 3


def test_a_blocks_mean_difference_is_that_of_the_aucs_whichever_class_is_rarer() -> None:
    rows = simulated(np.random.default_rng(3), 200_000, 0.75, 0.85)
    found = block_differences(rows)
    assert found.mean() == pytest.approx(0.10, abs=4 * found.std() / np.sqrt(len(found)))
    turned = type(rows)(-rows.champion, -rows.challenger, ~rows.label)
    assert block_differences(turned).mean() == pytest.approx(found.mean(), abs=1e-9)


def test_the_gates_own_test_takes_fewer_labels() -> None:
    rng = np.random.default_rng(4)
    theirs, own = (shares(test, rng, 1_000, (0.79, 0.84), 60)[0] for test in (betting, ours))
    assert own >= 0.9 > theirs
