"""Against independently computed results on a public data set (car loans, 50,000 rows a side)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from tools.check_drift import compare, profile
from tools.check_drift.divergence import psi
from tools.check_drift.estimate import calibrate, estimate
from tools.check_drift.evidence import ks_p_value
from tools.check_drift.performance import measure

_ROOT = os.environ.get("GUARDIAN_REFERENCE_DATA")
pytestmark = pytest.mark.skipif(_ROOT is None, reason="GUARDIAN_REFERENCE_DATA is not set")
_CHUNK = 5000


@pytest.fixture(scope="module")
def oracle() -> Path:
    return Path(_ROOT or "") / "oracle"


@pytest.fixture(scope="module")
def sides(oracle: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    return pd.read_csv(oracle / "data_reference.csv"), pd.read_csv(oracle / "data_analysis.csv")


def test_ks_of_every_chunk_to_within_its_bound(oracle: Path, sides: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    expected = pd.read_csv(oracle / "ks_exact_scipy_chunk5000.csv")
    names = sorted(expected["feature"].unique())
    baseline = profile(sides[0], columns=names)
    for chunk, known in expected.groupby("chunk"):
        rows = sides[1].iloc[int(str(chunk)) * _CHUNK :][:_CHUNK]
        changes = {change.column: change for change in compare(baseline, rows[names])}
        for name, value, p_value in zip(known["feature"], known["ks_exact_scipy"], known["p_asymp"], strict=True):
            change = changes[name]
            assert change.ks - 1e-9 <= value <= change.ks + change.ks_bound + 1e-9
            assert change.ks == pytest.approx(value, abs=2e-3)
            assert ks_p_value(value, 50_000, _CHUNK) == pytest.approx(p_value, rel=0.1, abs=1e-6)


def test_realized_auc_of_every_chunk(oracle: Path, sides: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    expected = pd.read_csv(oracle / "realized_performance_chunk5000.csv")
    target = pd.read_csv(oracle / "data_analysis_target.csv")
    reference, analysis = sides
    rows = pd.concat([reference, analysis.merge(target, on="id")], ignore_index=True)
    for start, value in zip(range(0, len(rows), _CHUNK), expected["roc_auc.value"], strict=True):
        chunk = rows.iloc[start : start + _CHUNK]
        scores = chunk["y_pred_proba"].to_numpy()
        seen = measure("auc_roc", chunk["repaid"].to_numpy(dtype=np.float64), scores)
        assert seen.value == pytest.approx(value, abs=1e-9)


def test_performance_estimated_without_labels_of_every_chunk(
    oracle: Path, sides: tuple[pd.DataFrame, pd.DataFrame]
) -> None:
    expected = pd.read_csv(oracle / "cbpe_chunk5000.csv")
    reference, analysis = sides
    outcomes, known = reference["repaid"].to_numpy(dtype=np.float64), reference["y_pred_proba"].to_numpy()
    calibration = calibrate(outcomes, known)
    assert calibration.needed
    threshold = float(reference.loc[reference["y_pred"] == 1, "y_pred_proba"].min())
    scores = np.concatenate([known, analysis["y_pred_proba"].to_numpy()])
    names = {"auc_roc": "roc_auc", "accuracy": "accuracy", "f1": "f1"}
    for number, row in expected.iterrows():
        chunk = scores[int(str(number)) * _CHUNK :][:_CHUNK]
        for ours, theirs in names.items():
            seen = estimate(ours, chunk, calibration, threshold)
            assert seen.value == pytest.approx(row[f"{theirs}.value"], abs=1e-6 if ours == "auc_roc" else 0.005)


def test_missing_values_of_every_chunk(oracle: Path, sides: tuple[pd.DataFrame, pd.DataFrame]) -> None:
    expected = pd.read_csv(oracle / "missing_values_chunk5000.csv")
    names = [column.removesuffix(".value") for column in expected.columns if column.endswith(".value")]
    rows = pd.concat(sides, ignore_index=True)
    for number, known in expected.iterrows():
        seen = profile(rows.iloc[int(str(number)) * _CHUNK :][:_CHUNK], columns=names)
        # The oracle counts nulls or their share, one of the two throughout.
        for name in names:
            assert known[f"{name}.value"] in (seen.columns[name].nulls, seen.columns[name].nulls / _CHUNK)


def test_published_examples(oracle: Path) -> None:
    published = json.loads((oracle / "small_published.json").read_text())
    (scouter,) = [each for each in published if each["src"].startswith("scouter")]
    p, q = np.array([0.3, 0.4, 0.3]), np.array([0.2, 0.4, 0.4])
    assert psi(p, q) == pytest.approx(scouter["now"], abs=1e-9)
    random = np.random.RandomState(12345678)
    first = stats.norm.rvs(size=200, loc=0.0, scale=1, random_state=random)
    for known, (loc, scale) in zip(published[:3], [(0.5, 1.5), (0.01, 1.0), (0.0, 1.0)], strict=True):
        other = stats.norm.rvs(size=300, loc=loc, scale=scale, random_state=random)
        (change,) = compare({"x": first}, {"x": other})
        assert change.ks <= known["D"] + 1e-9 <= change.ks + change.ks_bound + 2e-9
        assert ks_p_value(known["D"], 200, 300) == pytest.approx(known["p_exact_now"], rel=0.02)
