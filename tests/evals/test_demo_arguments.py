"""What `guardian demo` is told is judged before the folder of an earlier run is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.cli.app import run as guardian


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The folder of an earlier demo, with its report."""
    home = tmp_path / "shop"
    home.mkdir()
    (home / ".guardian-example").write_text("{}\n")
    (home / "report.html").write_text("the earlier run")
    return home


@pytest.mark.parametrize("seed", ["-1", str(2**32), "1.5", "twenty"])
def test_a_seed_out_of_reach_is_refused_and_the_earlier_run_stays(
    earlier: Path, seed: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert guardian(["demo", "--dir", str(earlier), "--seed", seed]) == 2
    assert "--seed" in capsys.readouterr().err
    assert (earlier / "report.html").read_text() == "the earlier run"


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["--planner", "bogus", "--without-agent"], {}, "'bogus' is not a planner"),
        (["--planner", "openai"], {"OPENAI_API_KEY": "k", "GUARDIAN_OPENAI_API": "soap"}, "write responses or chat"),
        (["--planner", "openai"], {"OPENAI_BASE_URL": "localhost"}, "'localhost' is no address"),
    ],
)
def test_a_planner_that_cannot_work_is_refused_and_the_earlier_run_stays(
    earlier: Path,
    arguments: list[str],
    environment: dict[str, str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "GUARDIAN_OPENAI_API"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert guardian(["demo", "--dir", str(earlier), *arguments]) == 2
    assert told in capsys.readouterr().err
    assert (earlier / "report.html").read_text() == "the earlier run"
