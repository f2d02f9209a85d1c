"""The loop on real data: the electricity market's decay is found, answered by a training, and judged."""

from __future__ import annotations

import os
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from evals.elec2.example import Elec2Result, run_example, show
from policies.errors import InputError
from tools.systems.systems import Systems


@pytest.fixture(scope="module")
def data() -> Path:
    root = os.environ.get("GUARDIAN_REFERENCE_DATA")
    if not root:
        pytest.skip("GUARDIAN_REFERENCE_DATA is not set")
    return Path(root) / "data" / "elec2.csv"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elec2") / "world"


@pytest.fixture(scope="module")
def result(data: Path, home: Path) -> Elec2Result:
    return run_example(data, home, most_weeks=12)


def test_the_decay_is_found(result: Elec2Result) -> None:
    assert result.decay_found is not None
    found = next(week for week in result.weeks if week.concept)
    assert "auc_roc" in (found.concept or "")
    assert found.auc < result.first_auc


def test_a_training_started_because_of_it_and_was_judged(result: Elec2Result, home: Path) -> None:
    judged = result.judgements[0]
    assert judged.because_of_decay
    assert judged.evaluation_id is not None
    systems = Systems.open(home / "operations.yaml")
    try:
        run = systems.store.get(judged.run_id)
        assert run.status == "completed"
        assert run.body["triggered_by"] in ("drift_detected", "performance_decay")
        report = systems.store.get(run.rests_on or "")
        assert any(
            c["type"] == "concept_drift" and c["severity"] in ("warning", "critical") for c in report.body["checks"]
        )
        assert result.decay_found is not None
        began = datetime.fromisoformat(report.body["diagnosis"]["first_seen"])
        assert result.decay_found - timedelta(days=29) <= began <= result.decay_found
        evaluation = systems.store.get(judged.evaluation_id)
        assert evaluation.body["verdict"] in ("challenger_wins", "tie", "champion_wins")
        assert evaluation.body["challenger"]["version"] == run.version
        assert judged.gate == "passed"
        assert judged.rollout == "rollout-1: promoted"
    finally:
        systems.close()


def test_the_summary_names_the_steps(result: Elec2Result) -> None:
    told = show(result)
    for word in ("Decay found", "train-2", "gate passed", "week of 1997-02-14", "Mean AUC"):
        assert word in told


def test_every_week_is_lived_with_and_without(result: Elec2Result) -> None:
    assert len(result.weeks) == 12
    before = [week for week in result.weeks if week.version == "1"]
    after = [week for week in result.weeks if week.version == "2"]
    assert len(before) + len(after) == 12
    assert all(week.auc == week.without for week in before)
    assert all(week.auc != week.without for week in after)


def test_a_file_that_is_not_elec2_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="no column period"):
        run_example(other, tmp_path / "world")


def test_a_strange_folder_is_left_alone(data: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="no example's folder"):
        run_example(data, tmp_path)
    assert (tmp_path / "mine.txt").exists()
