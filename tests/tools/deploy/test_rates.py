"""The beta-mixture e-values: against numerical integration, and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from tools.deploy.comparison import Slices, log_e_breach
from tools.deploy.gates import FAIL_ALPHA, PASS_ALPHA
from tools.deploy.rates import log_e_above, log_e_below, requests_to_pass

LIMIT = 0.01
FAIL = math.log(3 / FAIL_ALPHA)
PASS = math.log(1 / PASS_ALPHA)


@pytest.mark.parametrize(("k", "n"), [(0, 10), (3, 40), (12, 200), (5, 900)])
def test_the_closed_form_is_the_integral_of_the_likelihood_ratio(k: int, n: int) -> None:
    def ratio(q: float) -> float:
        return float(np.exp(k * np.log(q / LIMIT) + (n - k) * (np.log1p(-q) - np.log1p(-LIMIT))))

    for low, high, prior, found in (
        (LIMIT, 1.0, stats.beta(1, 19), log_e_above(k, n, LIMIT)),
        (0.0, LIMIT, stats.beta(0.5, 0.5), log_e_below(k, n, LIMIT)),
    ):
        mass = prior.cdf(high) - prior.cdf(low)
        points = np.geomspace(1e-6, 1, 9)
        mixed, _ = integrate.quad(
            lambda q, prior=prior: ratio(q) * prior.pdf(q), low, high, points=points[(points > low) & (points < high)],
            limit=500,
        )  # fmt: skip
        assert float(found) == pytest.approx(math.log(mixed / mass), abs=1e-4)


def test_underflow_is_never_evidence() -> None:
    assert float(log_e_above(0, 10**8, LIMIT)) < 0
    assert float(log_e_below(10**7, 10**7, LIMIT)) < 0
    assert float(log_e_above(0, 0, LIMIT)) == pytest.approx(0)
    assert float(log_e_below(0, 0, LIMIT)) == pytest.approx(0)
    assert not np.isnan(log_e_above(np.arange(0, 10**6, 10**4), 10**6, LIMIT)).any()


def test_few_hundred_clean_requests_pass_and_fewer_do_not() -> None:
    assert float(log_e_below(0, 400, LIMIT)) > PASS > float(log_e_below(0, 300, LIMIT))
    needed = requests_to_pass(0, 100, LIMIT, PASS_ALPHA)
    assert needed is not None
    assert float(log_e_below(0, 100 + needed, LIMIT)) >= PASS > float(log_e_below(0, 99 + needed, LIMIT))
    assert requests_to_pass(5, 100, LIMIT, PASS_ALPHA) is None


def _paths(rng: np.random.Generator, runs: int, looks: int, each: int, rate: float) -> np.ndarray:
    return rng.binomial(each, rate, (runs, looks)).cumsum(axis=1)


@pytest.mark.parametrize("rate", [0.002, 0.005, 0.008])
def test_healthy_canaries_are_rolled_back_at_most_once_in_a_hundred(rate: float) -> None:
    """2,000 rollouts of 50,000 requests, looked at 250 times each."""
    counts = _paths(np.random.default_rng(1), 2_000, 250, 200, rate)
    evidence = log_e_above(counts, 200 * np.arange(1, 251), LIMIT)
    assert (evidence >= FAIL).any(axis=1).mean() <= 0.01


def test_at_the_limit_itself_neither_error_exceeds_its_level() -> None:
    counts = _paths(np.random.default_rng(2), 2_000, 250, 200, LIMIT)
    asked = 200 * np.arange(1, 251)
    assert (log_e_above(counts, asked, LIMIT) >= math.log(1 / FAIL_ALPHA)).any(axis=1).mean() <= FAIL_ALPHA
    assert (log_e_below(counts, asked, LIMIT) >= PASS).any(axis=1).mean() <= PASS_ALPHA


@pytest.mark.parametrize(("rate", "seconds"), [(0.05, 20), (0.02, 90)])
def test_broken_canaries_are_caught_fast(rate: float, seconds: int) -> None:
    """Median over 150 rollouts at 25 canary requests a second, 5% of the traffic, against a champion at 0.2%."""
    rng = np.random.default_rng(3)
    ours, theirs = _paths(rng, 150, 300, 25, rate), _paths(rng, 150, 300, 475, 0.002)
    found = []
    for run in range(150):
        for second in range(0, 300, 2):
            n = 25 * (second + 1)
            seen = [np.array([x]) for x in (n, ours[run, second], 19 * n, theirs[run, second])]
            if log_e_breach(Slices(*seen), LIMIT) >= FAIL:
                break
        found.append(second + 1)
    assert np.median(found) <= seconds


def test_an_outage_of_both_is_no_evidence_and_a_late_break_is_not_shielded_by_the_past() -> None:
    def slices(*rows: tuple[int, int, int, int]) -> Slices:
        return Slices(*(np.array(column) for column in zip(*rows, strict=True)))

    clean = [(500, 0, 500, 1)] * 100
    assert log_e_breach(slices(*clean, (500, 250, 500, 250)), LIMIT) < 0
    assert log_e_breach(slices(*clean, (500, 40, 500, 1)), LIMIT) > FAIL
    assert log_e_breach(slices((500, 40, 0, 0)), LIMIT) > FAIL
    assert log_e_breach(slices(*clean), LIMIT) < 0
