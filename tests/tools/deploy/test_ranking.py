"""Evidence on AUC: by simulation at the boundary, for a better challenger, and with too few labels."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import norm

from tools.deploy.gates import FAIL_ALPHA, PASS_ALPHA
from tools.deploy.ranking import (
    UNLABELLED,
    Replayed,
    Served,
    compare,
    interval,
    log_e_above,
    replayed_difference,
    served_difference,
)

LIMIT = 0.05
PASS, FAIL = math.log(1 / PASS_ALPHA), math.log(3 / FAIL_ALPHA)


def served(rng: np.random.Generator, n: int, auc: float, share: float = 0.07) -> Served:
    label = rng.random(n) < share
    return Served(rng.normal(size=n) + norm.ppf(auc) * math.sqrt(2) * label, label, np.zeros(n, dtype=np.int64))


def replayed(rng: np.random.Generator, n: int, champion: float, challenger: float, share: float = 0.07) -> Replayed:
    """Binormal scores of two models, correlated by 0.7."""
    label, common = rng.random(n) < share, math.sqrt(0.7) * rng.normal(size=n)
    own = [
        common + math.sqrt(0.3) * rng.normal(size=n) + norm.ppf(a) * math.sqrt(2) * label
        for a in (champion, challenger)
    ]
    return Replayed(champion=own[0], challenger=own[1], label=label)


def verdicts(paired: Replayed, looks: np.ndarray) -> tuple[bool, bool]:
    """Whether it ever passed, and ever failed."""
    passed = failed = False
    for n in looks:
        found = replayed_difference(Replayed(paired.champion[:n], paired.challenger[:n], paired.label[:n]))
        if found is not None:
            passed |= log_e_above(found.value, found.error, -LIMIT) >= PASS
            failed |= log_e_above(-found.value, found.error, LIMIT) >= FAIL
    return passed, failed


@pytest.mark.parametrize("auc", [0.75, 0.9])
def test_a_challenger_at_the_limit_passes_and_fails_within_the_levels(auc: float) -> None:
    """300 rollouts, each looked at 15 times while its labels grow to 3,000."""
    rng, looks = np.random.default_rng(4), np.geomspace(200, 3_000, 15).astype(int)
    ends = np.array([verdicts(replayed(rng, 3_000, auc, auc - LIMIT), looks) for _ in range(300)])
    assert ends[:, 0].mean() <= PASS_ALPHA
    assert ends[:, 1].mean() <= FAIL_ALPHA


def test_a_better_challenger_passes_on_the_labels_of_a_day() -> None:
    rng = np.random.default_rng(5)
    found = [compare(UNLABELLED, UNLABELLED, replayed(rng, 1_500, 0.79, 0.84), LIMIT, PASS_ALPHA) for _ in range(200)]
    assert np.mean([each.log_e_pass >= PASS for each in found]) >= 0.98
    assert max(each.log_e_fail for each in found) < FAIL


def test_scores_spoilt_in_serving_fail_although_the_replay_is_fine() -> None:
    rng = np.random.default_rng(6)
    found = compare(
        served(rng, 800, 0.5), served(rng, 4_000, 0.82), replayed(rng, 2_000, 0.82, 0.84), LIMIT, PASS_ALPHA
    )
    assert found.log_e_fail >= FAIL


def test_too_few_labels_say_nothing_and_how_many_more_they_need() -> None:
    rng = np.random.default_rng(7)
    few = replayed(rng, 100, 0.8, 0.9)
    found = compare(UNLABELLED, UNLABELLED, few, LIMIT, PASS_ALPHA)
    assert (found.log_e_fail, found.log_e_pass, found.replayed, found.interval) == (0.0, 0.0, None, None)
    assert found.rows_needed is not None
    assert found.rows_needed > 50
    assert compare(UNLABELLED, UNLABELLED, None, LIMIT, PASS_ALPHA).rows_needed is None
    assert served_difference(served(rng, 100, 0.9), served(rng, 5_000, 0.9)) is None


def test_a_bad_hour_weighs_the_same_in_both() -> None:
    """In stage 1 the scores are noise for both; the challenger has half of its answers there, the champion a tenth."""
    rng = np.random.default_rng(8)

    def mixed(good: int, bad: int) -> Served:
        parts = served(rng, good, 0.85), served(rng, bad, 0.5)
        stage = np.repeat([0, 1], [good, bad])
        return Served(
            np.concatenate([p.score for p in parts]), np.concatenate([p.label for p in parts]), stage.astype(np.int64)
        )

    found = served_difference(mixed(4_000, 4_000), mixed(18_000, 2_000))
    assert found is not None
    assert abs(found.value) < 3 * found.error
    assert found.champion < 0.72


def test_the_interval_covers_the_difference_and_perfect_order_is_not_certainty() -> None:
    rng = np.random.default_rng(9)
    found = replayed_difference(replayed(rng, 4_000, 0.8, 0.83))
    assert found is not None
    low, high = interval(found, PASS_ALPHA)
    assert low < 0.03 < high
    label = np.repeat([True, False], [20, 200])
    sure = Replayed(champion=label * 1.0, challenger=label * 1.0, label=label)
    perfect = replayed_difference(sure)
    assert perfect is not None
    assert perfect.error > 0.01
