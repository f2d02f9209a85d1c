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
