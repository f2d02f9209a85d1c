"""The benchmark runner: found by file name, listed with what they show."""

from __future__ import annotations

import pytest

from evals.benchmarks.__main__ import benchmarks, main


def test_benchmarks_are_listed_with_what_they_show(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    printed = capsys.readouterr().out
    assert "drift_speed" in printed
    assert all(line for line in benchmarks().values())


def test_an_unknown_benchmark_is_refused_with_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["absent"]) == 2
    assert "no benchmark absent" in capsys.readouterr().err
