"""Calm: what noise explains is no finding, whatever the sample size; and p-values agree with scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tools.check_drift import compare
from tools.check_drift.evidence import (
    change_p_value,
    combined,
    fisher_p_value,
    holm,
    homogeneity,
    ks_p_value,
    likelihood_ratio,
    location_p_value,
)


def test_small_real_shifts_are_found_by_evidence() -> None:
    random = np.random.default_rng(1)
    before, after = {"x": random.normal(size=100_000)}, {"x": random.normal(0.1, 1, size=20_000)}
    assert compare(before, after, threshold=0.0)[0].drifted
    assert not compare(before, after)[0].drifted


@pytest.mark.parametrize(("n", "m"), [(100, 100), (10_000, 200), (200, 10_000)])
def test_decile_p_values_are_uniform_under_no_change(n: int, m: int) -> None:
    """Deciles are estimated from n rows: the shares beyond them are Dirichlet, exactly, for continuous data."""
    random = np.random.default_rng(n)
    before = np.append(np.full(10, n / 10), 0.0)
    spacings = np.full(10, n / 10)
    spacings[-1] += 1
    p_values = []
    for shares in random.dirichlet(spacings, 3000):
        p_values.append(change_p_value(before, np.append(random.multinomial(m, shares), 0.0), ks=1.0))
    for level in (0.05, 0.005):
        assert np.mean(np.array(p_values) < level) < level + 4 * np.sqrt(level / 3000)


def test_ks_p_values_are_scipys() -> None:
    random = np.random.default_rng(5)
    for n, m in ((50, 50), (100, 170), (60, 500), (400, 600)):
        expected = stats.ks_2samp(random.normal(size=n), random.normal(0.5, 1, m), method="exact")
        asymptotic = expected.pvalue < 1e-10 or expected.pvalue > 0.2
        relative = 0.3 if asymptotic else 1e-4
        assert ks_p_value(expected.statistic, n, m) == pytest.approx(expected.pvalue, rel=relative, abs=1e-10)
    for n, m, statistic in ((1000, 1000, 0.05), (1000, 1000, 0.1), (300, 5000, 0.08), (100_000, 600, 0.06)):
        expected_p = stats.kstwo.sf(statistic, round(n * m / (n + m)))
        assert ks_p_value(statistic, n, m) == pytest.approx(expected_p, rel=0.1)


def test_likelihood_ratio_is_scipys_with_williams_correction() -> None:
    a, b = np.array([30.0, 50.0, 20.0]), np.array([60.0, 55.0, 35.0])
    g = stats.chi2_contingency(np.array([a, b]), correction=False, lambda_="log-likelihood").statistic
    size, both = 250.0, a + b
    williams = 1 + (size / 100 + size / 150 - 1) * (np.sum(size / both) - 1) / (6 * size * 2)
    assert likelihood_ratio(a, b) == pytest.approx(stats.chi2.sf(g / williams, 2), rel=1e-9)
    assert homogeneity(a, b) == likelihood_ratio(a, b)
    assert homogeneity(a, b) == pytest.approx(stats.chi2_contingency(np.array([a, b])).pvalue, rel=0.05)


def test_large_samples_give_pearsons_p_value() -> None:
    a, b = np.array([30_000.0, 50_000, 20_000]), np.array([60_300.0, 99_200, 40_500])
    assert homogeneity(a, b) == pytest.approx(stats.chi2_contingency(np.array([a, b])).pvalue, rel=1e-3)


@pytest.mark.parametrize("table", [(3, 200, 11, 300), (0, 10_000, 5, 200), (7, 50, 1, 5000), (40, 90, 70, 120)])
def test_fisher_is_scipys(table: tuple[int, int, int, int]) -> None:
    a, n, b, m = table
    tails = [stats.fisher_exact([[a, n - a], [b, m - b]], alternative=side).pvalue for side in ("less", "greater")]
    assert fisher_p_value(a, n, b, m) == pytest.approx(min(1.0, 2 * min(tails)), rel=1e-9)


def test_location_is_a_permutation_test() -> None:
    """Against the same statistic over random permutations of the rows, with ties."""
    random = np.random.default_rng(6)
    before, after = random.poisson(3, 300), random.poisson(3.4, 200)
    both, bins = np.concatenate([before, after]), 8
    counts = [np.bincount(np.minimum(side, bins - 1), minlength=bins).astype(float) for side in (before, after)]
    ranks = stats.rankdata(np.minimum(both, bins - 1)) - 0.5
    scores = stats.norm.ppf(ranks / len(both))
    scores -= scores.mean()
    drawn = np.array([random.permutation(scores)[300:].sum() for _ in range(20_000)])
    expected = np.mean(np.abs(drawn) >= abs(scores[300:].sum()))
    assert location_p_value(counts[0], counts[1]) == pytest.approx(expected, rel=0.15)


def test_combining_agrees_with_itself_and_follows_the_smallest() -> None:
    assert combined([0.03, 0.03, 0.03], [0.25, 0.25, 0.5]) == pytest.approx(0.03)
    assert combined([1.0, 1e-6, 0.5], [0.25, 0.25, 0.5]) == pytest.approx(4e-6, rel=1e-3)
    assert combined([1.0, 1.0, 1e-20], [0.25, 0.25, 0.5]) == pytest.approx(2e-20)
    assert combined([1.0, 1.0, 1.0], [0.25, 0.25, 0.5]) > 0.9


def test_one_row_of_a_rare_category_is_no_evidence() -> None:
    """One of forty current rows in a bin with one in a thousand: PSI's chi-square would call it certain."""
    assert homogeneity(np.array([999.0, 1.0]), np.array([39.0, 1.0])) > 0.01


def test_a_new_category_is_evidence_even_in_a_small_window() -> None:
    assert homogeneity(np.array([6000.0, 4000.0, 0.0]), np.array([114.0, 76.0, 10.0])) < 1e-10


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_nothing_to_compare_is_no_evidence() -> None:
    empty = np.zeros(3)
    assert homogeneity(empty, np.ones(3)) == homogeneity(empty, empty) == 1.0
    assert homogeneity(np.array([50.0, 0.0]), np.array([60.0, 0.0])) == 1.0
    assert location_p_value(empty, np.ones(3)) == 1.0
    assert ks_p_value(0.5, 0, 10) == 1.0
