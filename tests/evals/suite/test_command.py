"""What `guardian eval` is told is judged before anything is played: exit 2 and one line."""

from __future__ import annotations

import json

import pytest

from agent.cli.app import run as guardian

WRONG = [
    (["nonsense"], "no scenario nonsense; there are ab_inconclusive"),
    (["--planner", "nobody"], "'nobody' is not a planner; write runbook"),
    (["--record", "--planner", "runbook"], "only the openai planner has traffic to record"),
    (["--record", "crm_lag"], "the openai planner needs OPENAI_API_KEY or OPENAI_BASE_URL"),
    (["--planner", "openai", "crm_lag"], "the openai planner needs OPENAI_API_KEY or OPENAI_BASE_URL"),
    (["--scripted", "crm_lag"], "write --record too"),
    (["--without-agent", "crm_lag"], "leave out scenarios and --record"),
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
