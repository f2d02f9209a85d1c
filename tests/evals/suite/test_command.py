"""What `guardian eval` is told is judged before anything is played: exit 2 and one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from agent.cli.app import run as guardian
from evals.suite.command import _must_be_playable
from evals.suite.reading import SCENARIOS, load
from policies.errors import InputError

WRONG = [
    (["nonsense"], "no scenario nonsense; there are ab_inconclusive"),
    (["--planner", "nobody"], "'nobody' is not a planner; write runbook"),
    (["--record", "--planner", "runbook"], "only the openai planner has traffic to record"),
    (["--record", "crm_lag"], "the openai planner needs OPENAI_API_KEY or OPENAI_BASE_URL"),
    (["--planner", "openai", "crm_lag"], "the openai planner needs OPENAI_API_KEY or OPENAI_BASE_URL"),
    (["--scripted", "crm_lag"], "write --record too"),
    (["--without-agent", "crm_lag"], "leave out scenarios, --record and --mlflow"),
    (["--without-agent", "--mlflow", "mlruns"], "leave out scenarios, --record and --mlflow"),
    (["--without-agent", "--planner", "loops"], "'loops' is not a planner; write openai or runbook"),
    (["--without-agent", "--planner", "openai"], "the openai planner needs OPENAI_API_KEY or OPENAI_BASE_URL"),
    (["--without-agent", "--planner", "openai", "--planner", "runbook"], "one planner on duty; name one"),
    (["--record", "--repeat", "2", "crm_lag"], "a recording is of one run; leave out --repeat"),
    (["--mlflow", "nonsense://x", "crm_lag"], "cannot be written to: Model registry functionality is unavailable"),
    (["--planner", "recorded", "nothing_wrong"], "not played by recorded: it has no recording; name another planner"),
    (["--planner", "runbook", "crm_lag", "budget_ends"], "not played by runbook: it is for recorded, openai"),
    (["--repeat", "0"], "'--repeat'"),
]


@pytest.mark.parametrize(("arguments", "told"), WRONG)
def test_bad_usage_is_refused_in_a_line_and_as_json(
    arguments: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    assert guardian(["eval", *arguments]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert told in said.err
    assert len(said.err.splitlines()) == 1
    assert guardian(["--json", "eval", *arguments]) == 2
    assert told in json.loads(capsys.readouterr().out)["error"]["message"]


def test_a_damaged_recording_is_told_before_anything_is_played(tmp_path: Path) -> None:
    folder = tmp_path / "late_crm"
    shutil.copytree(SCENARIOS / "crm_lag", folder)
    scenario = load(folder)
    _must_be_playable([scenario], ["recorded"], all_named=False, record=False)
    scenario.recording.write_bytes(b"\xff")
    with pytest.raises(InputError, match="no recording: not UTF-8 text"):
        _must_be_playable([scenario], ["recorded"], all_named=False, record=False)
