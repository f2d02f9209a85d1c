"""The walk through Elec2, its first month: every way scores every row, and the table says so."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from evals.benchmarks.elec2_walk_forward import table, walk_forward


def test_three_ways_live_through_the_same_month(tmp_path: Path) -> None:
    root = os.environ.get("GUARDIAN_REFERENCE_DATA")
    if not root:
        pytest.skip("GUARDIAN_REFERENCE_DATA is not set")
    data = Path(root) / "data" / "elec2.csv"
    live, walks = walk_forward(data, tmp_path / "world", lambda line: None, months=1)
    assert len(live) == 28 * 48
    assert [each.name for each in walks] == ["never retraining", "every month", "guardian"]
    assert all(np.isfinite(each.scores).all() for each in walks)
    never, monthly, guarded = walks
    assert (never.trainings, monthly.trainings) == (0, 1)
    assert guarded.trainings <= 1
    lines = table(live, walks)
    assert [line.split()[0] for line in lines[1:2]] == ["1997-02-14"]
    assert lines[-3].split()[0] == "trainings"
