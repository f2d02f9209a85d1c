from __future__ import annotations

import multiprocessing
from pathlib import Path

import pytest

from evals.suite.remembered import Remembered


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
