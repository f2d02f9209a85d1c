from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import NoReturn

import numpy as np
import pandas as pd
import pytest

from evals.suite import remembered
from evals.suite.remembered import Remembered
from policies.declarations.binding import Features
from policies.declarations.training import Training
from tools.evaluate.clean_process import ReplayFailed
from tools.retrain.job import Job
from tools.retrain.process import TrainingProcess
from tools.retrain.sampling import Rows


def _ask(folder: Path) -> int:
    """Asks as a process of the suite does; whoever is asked leaves a line."""

    def answer() -> int:
        with (folder / "asked").open("a") as log:
            log.write("asked\n")
        return 42

    return Remembered(folder / "remembered").once(("question", 1.5), answer)


def test_processes_that_ask_alike_share_one_answer(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.map(_ask, [tmp_path] * 4, chunksize=1) == [42] * 4
    assert (tmp_path / "asked").read_text().splitlines() == ["asked"]


def test_another_question_is_asked_and_a_failure_is_no_answer(tmp_path: Path) -> None:
    memory = Remembered(tmp_path / "remembered")

    def fails() -> int:
        raise RuntimeError("no answer")

    with pytest.raises(RuntimeError, match="no answer"):
        memory.once("question", fails)
    assert memory.once("question", lambda: 1) == 1
    assert memory.once("another", lambda: 2) == 2
    assert memory.once("question", fails) == 1


class Limited(Exception):
    """What was to be done came to the process that holds a declared limit."""


def _limited(*_: object) -> NoReturn:
    raise Limited


@pytest.mark.parametrize("limit", [{"memory_limit_gb": 0.2}, {"max_training_hours": 0.001}])
def test_a_declared_limit_of_a_training_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: dict[str, float]
) -> None:
    monkeypatch.setattr(TrainingProcess, "train", _limited)
    declared = {"use_experiment": "ChurnModel", "data_window": "expanding", **limit}
    job = Job(
        training=Training.model_validate(declared), home=tmp_path, scratch=tmp_path, features=Features(),
        target="churned", rows=Rows(pd.DataFrame(), np.zeros(0), np.zeros(0), np.zeros(0)), cut=0,
        objective="auc_roc", known={}, trials=1, seed=1, earlier=(), search_seconds=1.0,
    )  # fmt: skip
    with Remembered(tmp_path / "remembered").trainer() as trainer, pytest.raises(Limited):
        trainer.train(job, 60.0, lambda records: None)


def test_a_declared_limit_of_a_replay_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "scores_of", _limited)
    (tmp_path / "model.pkl").write_bytes(b"")
    memory = Remembered(tmp_path / "remembered")
    with pytest.raises(Limited):
        memory.replayer(tmp_path, [], Features(), 0.2, "binary")
    with pytest.raises(ReplayFailed):
        memory.replayer(tmp_path, [], Features(), 8.0, "binary")
