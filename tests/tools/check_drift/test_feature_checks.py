"""What each method says of one column where nulls, kinds and constants stand in its way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from policies.declarations import Severity
from policies.declarations.drift import DataDrift, DriftType
from tools.check_drift import compare, profile
from tools.check_drift.feature_checks import of_column
from tools.check_drift.result import Check

RANDOM = np.random.default_rng(5)
NORMAL = RANDOM.normal(size=2000)
NULL = np.where(RANDOM.random(2000) < 0.9, np.nan, NORMAL)


def check(method: str, before: Any, after: Any, threshold: float = 0.2) -> Check:
    declared = DataDrift.model_validate(
        {"type": "data_drift", "method": method, "threshold": threshold, "frequency": "daily"}
    )
    baseline = before if hasattr(before, "digest") else profile({"x": before})
    (change,) = compare(baseline, {"x": after})
    return of_column(DriftType.data_drift, declared, change, 0.01, change.reason)


@pytest.mark.parametrize("method", ["psi", "js", "hellinger", "kl_divergence", "ks", "wasserstein"])
def test_every_method_sees_that_a_column_broke(method: str) -> None:
    for broken in (NULL, np.full(2000, np.nan), [f"{value:.1f}" for value in NORMAL], NORMAL * 100 + 500):
        assert check(method, NORMAL, broken).found
    assert check(method, NULL, NORMAL).found
    assert check(method, np.full(2000, np.nan), NORMAL).found
    for sound in (NORMAL[::-1], RANDOM.normal(size=2000)):
        assert check(method, NORMAL, sound).severity is Severity.ok
    assert check(method, np.full(50, np.nan), np.full(60, np.nan)).severity is Severity.ok


def test_nulls_count_by_their_share() -> None:
    assert check("ks", NORMAL, NULL).value == pytest.approx(0.9, abs=0.02)
    assert 0.9 < (check("wasserstein", NORMAL, NULL).value or 0) < 1.1


def test_a_constant_that_changes_is_told_in_deviations_and_not_in_its_unit() -> None:
    for value in (1e6, 0.1, 5e11 + 0.3):
        constant = np.full(2000, value)
        assert check("wasserstein", constant, constant).value == 0.0
        assert check("wasserstein", constant, constant * 1.05).value == 1.0
    constant = np.full(2000, 1e6)
    spread = RANDOM.normal(1e6, 10, 2000)
    assert check("wasserstein", constant, spread).value == pytest.approx(np.mean(np.abs(spread - 1e6)) / 10, rel=0.05)


def test_what_is_too_coarse_to_tell_is_unknown() -> None:
    huge = RANDOM.lognormal(size=2000) * 1e200
    assert check("psi", huge, huge * 3).found and check("ks", huge, huge * 3).found
    positive, tiny = np.abs(NORMAL), 10 ** RANDOM.normal(-60, 5, 2000)
    for method in ("psi", "ks", "wasserstein"):
        assert check(method, tiny, tiny * 1e3).severity is not Severity.ok
        assert (
            check(method, profile({"x": tiny[:1000]}) + profile({"x": tiny[1000:]}), tiny * 1e3).severity
            is not Severity.ok
        )
        assert check(method, np.append(tiny, positive), np.append(tiny * 1e3, positive)).severity is Severity.unknown
    zeros = np.where(RANDOM.random(2000) < 0.5, 0.0, np.abs(NORMAL))
    assert check("ks", zeros, zeros[::-1]).severity is Severity.ok
    far = np.where(RANDOM.random(2000) < 0.5, NORMAL, 1e6 + NORMAL)
    unlike = profile({"x": far[:1000]}) + profile({"x": far[1000:]})
    for method in ("psi", "ks"):
        found = check(method, unlike, far)
        assert (found.severity, found.value) == (Severity.unknown, None)
        assert found.detail.startswith("histograms too coarse: ")
