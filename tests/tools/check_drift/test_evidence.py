"""Calm: what noise explains is no finding, whatever the sample size; and p-values agree with scipy's."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tools.check_drift import compare, profile
from tools.check_drift.divergence import both_shares, psi
from tools.check_drift.evidence import divergence_p_value, holm, homogeneity, ks_p_value


@pytest.mark.parametrize("size", [200, 1_000, 10_000])
def test_stationary_data_raise_no_alarm_by_evidence_alone(size: int) -> None:
    """50 features, 60 checks with the threshold at nothing: at most a few may call anything drifted (5% allowed)."""
    random = np.random.default_rng(size)
    draw = {
        "normal": random.standard_normal,
        "counts": lambda n: random.poisson(2, n).astype(float),
        "heavy": random.standard_cauchy,
    }
    names = [f"{kind}{i}" for kind in draw for i in range(17)][:50]
    baseline = profile({name: draw[name.rstrip("0123456789")](10_000) for name in names})
    alarms = 0
    for _ in range(60):
        current = {name: draw[name.rstrip("0123456789")](size) for name in names}
        alarms += any(change.drifted for change in compare(baseline, current, threshold=0.0))
    assert alarms <= 8  # P(more | 5%) < 0.002


def test_small_real_shifts_are_found_by_evidence() -> None:
    random = np.random.default_rng(1)
    before, after = {"x": random.normal(size=100_000)}, {"x": random.normal(0.1, 1, size=20_000)}
    assert compare(before, after, threshold=0.0)[0].drifted
    assert not compare(before, after)[0].drifted


@pytest.mark.parametrize(("n", "m"), [(5000, 400), (100_000, 600)])
def test_psi_null_is_a_scaled_chi_square(n: int, m: int) -> None:
    random = np.random.default_rng(n)
    p_values = []
    for _ in range(400):
        a, b = (random.multinomial(size, [0.1] * 10).astype(float) for size in (n, m))
        p_values.append(divergence_p_value("psi", psi(*both_shares(a, b)), a, b, psi))
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_ks_p_values_are_scipys() -> None:
    for n, m, statistic in ((1000, 1000, 0.05), (300, 5000, 0.08), (100_000, 600, 0.06)):
        expected = stats.kstwo.sf(statistic, round(n * m / (n + m)))
        assert ks_p_value(statistic, n, m) == pytest.approx(expected, rel=0.1)


def test_homogeneity_is_scipys_chi_square() -> None:
    a, b = np.array([30.0, 50.0, 20.0]), np.array([60.0, 55.0, 35.0])
    expected = stats.chi2_contingency(np.array([a, b]), correction=False).pvalue
    assert homogeneity(a, b) == pytest.approx(expected, rel=1e-9)


def test_sparse_bins_are_judged_by_simulation() -> None:
    """One of forty current rows in a bin with one in a thousand: PSI's chi-square would call it certain."""
    before, after = np.array([999.0, 1.0]), np.array([39.0, 1.0])
    value = psi(*both_shares(before, after))
    assert divergence_p_value("psi", value, before, after, psi) > 0.01


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []


def test_nothing_to_compare_is_no_evidence() -> None:
    empty = np.zeros(3)
    assert homogeneity(empty, np.ones(3)) == 1.0
    assert ks_p_value(0.5, 0, 10) == 1.0
