"""Group-sequential looks: against published boundaries, and by simulation of whole experiments."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from tools.deploy.experiment import MISMATCH_ALPHA, Arms, effect, log_e_mismatch, looks
from tools.deploy.sequential import boundaries

FIFTHS = [0.2, 0.4, 0.6, 0.8, 1.0]


def test_boundaries_are_the_published_ones() -> None:
    """Lan & DeMets' O'Brien-Fleming type function, five equal looks, two-sided 5% (Reboussin et al. 2000)."""
    found = boundaries([1, 2, 3, 4, 5], FIFTHS, 0.05)
    assert found == pytest.approx([4.8769, 3.3570, 2.6803, 2.2898, 2.0310], abs=1e-3)


@pytest.mark.parametrize("alpha", [0.01, 0.1])
def test_all_looks_together_spend_the_level(alpha: float) -> None:
    """Against scipy's integral of the joint normal distribution, with looks neither equal nor in step with time."""
    information = np.array([100.0, 180.0, 420.0, 500.0])
    bounds = np.array(boundaries(list(information), [0.3, 0.5, 0.9, 1.0], alpha))
    correlation = np.sqrt(np.minimum.outer(information, information) / np.maximum.outer(information, information))
    joint = stats.multivariate_normal(np.zeros(4), correlation, seed=1)
    assert 1 - joint.cdf(bounds, lower_limit=-bounds) == pytest.approx(alpha, rel=0.01)


def test_one_look_at_the_end_is_the_fixed_test() -> None:
    assert boundaries([700.0], [1.0], 0.05) == pytest.approx([1.959964], abs=1e-5)


def experiments(rng: np.random.Generator, base: float, lift: float, each: int, runs: int) -> tuple[np.ndarray, ...]:
    """z statistics of `runs` experiments at five looks, and of the fixed design at the end."""
    control = rng.binomial(each, base, (runs, 5)).cumsum(axis=1)
    treatment = rng.binomial(each, base * (1 + lift), (runs, 5)).cumsum(axis=1)
    n = each * np.arange(1, 6)
    pooled = (control + treatment) / (2 * n)
    z = (treatment - control) / n / np.sqrt(pooled * (1 - pooled) * 2 / n)
    bounds = np.array(boundaries(list(n), FIFTHS, 0.05))
    crossed = np.abs(z) >= bounds
    return crossed.any(axis=1), np.abs(z[:, -1]) >= 1.959964, np.where(crossed.any(axis=1), crossed.argmax(axis=1), 4)


def test_the_level_is_kept_and_the_power_too_while_fewer_people_are_needed() -> None:
    """20,000 experiments without a difference, 20,000 with 20% more conversions."""
    rng = np.random.default_rng(5)
    wrong, fixed, _ = experiments(rng, 0.10, 0.0, 1_000, 20_000)
    assert wrong.mean() <= 0.055
    assert fixed.mean() <= 0.055
    found, fixed, at = experiments(rng, 0.10, 0.20, 1_000, 20_000)
    assert found.mean() >= 0.99 * fixed.mean()
    assert (at.mean() + 1) / 5 < 0.8, "share of the people that the test asked"
    peeking = np.abs(_peeked(np.random.default_rng(6))) >= 1.959964
    assert peeking.any(axis=1).mean() > 0.2, "the rule that is not used: chi-squared as data arrives"


def _peeked(rng: np.random.Generator) -> np.ndarray:
    control = rng.binomial(100, 0.1, (2_000, 50)).cumsum(axis=1)
    treatment = rng.binomial(100, 0.1, (2_000, 50)).cumsum(axis=1)
    n = 100 * np.arange(1, 51)
    pooled = (control + treatment) / (2 * n)
    return (treatment - control) / n / np.sqrt(pooled * (1 - pooled) * 2 / n)


def test_looks_stop_at_the_first_that_decides_and_wait_for_enough_people() -> None:
    rng = np.random.default_rng(7)
    control, treatment = (rng.random(6_000) < 0.10).astype(float), (rng.random(6_000) < 0.16).astype(float)
    seen = [Arms(control[: 1_200 * k], treatment[: 1_200 * k]) for k in range(1, 6)]
    found = looks(seen, 5, "chi_squared", 0.05, 1_000)
    assert found[-1].significant and found[-1].number < 5
    low, high = found[-1].interval
    assert 0 < low < 0.06 < high
    late = looks(seen, 5, "chi_squared", 0.05, 3_000)
    assert late[0].number == 3
    assert looks(seen[:2], 5, "chi_squared", 0.05, 3_000) == []
    assert [look.number for look in looks([seen[0], seen[0]], 5, "chi_squared", 1e-9, 10)] == [1]


def test_the_statistics_are_those_of_scipy() -> None:
    rng = np.random.default_rng(8)
    arms = Arms(rng.gamma(2.0, 10.0, 900).round(), rng.gamma(2.0, 11.0, 1_100).round())
    found = stats.ttest_ind(arms.treatment, arms.control, equal_var=False)
    assert effect(arms, "t_test").z == pytest.approx(float(found.statistic))
    ranked = stats.mannwhitneyu(arms.treatment, arms.control, use_continuity=False, method="asymptotic")
    assert 2 * stats.norm.sf(abs(effect(arms, "mann_whitney").z)) == pytest.approx(float(ranked.pvalue))
    yes = Arms((arms.control > 25).astype(float), (arms.treatment > 25).astype(float))
    table = [[each.sum(), len(each) - each.sum()] for each in (yes.control, yes.treatment)]
    assert effect(yes, "chi_squared").z ** 2 == pytest.approx(stats.chi2_contingency(table, correction=False).statistic)


def test_a_mismatch_is_found_and_a_fair_share_is_not() -> None:
    assert log_e_mismatch(4_800, 10_000, 0.5) < math.log(1 / MISMATCH_ALPHA) < log_e_mismatch(4_700, 10_000, 0.5)
    rng = np.random.default_rng(9)
    people = np.arange(500, 20_001, 500)
    treated = rng.binomial(500, 0.1, (2_000, len(people))).cumsum(axis=1)
    evidence = np.array(
        [[log_e_mismatch(int(k), int(n), 0.1) for k, n in zip(run, people, strict=True)] for run in treated[:500]]
    )
    assert (evidence >= math.log(1 / MISMATCH_ALPHA)).any(axis=1).mean() <= MISMATCH_ALPHA + 0.002
