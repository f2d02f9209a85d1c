"""What doctor and audit verify tell."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest

from agent.cli.app import run
from tests.agent.world import OPERATIONS


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(OPERATIONS, tmp_path / "operations.yaml")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, object]]:
    code = run([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_doctor_names_retirement_fallbacks_and_credentials_but_no_secret(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-very-secret")
    code, told = asked(capsys, "doctor")
    text = json.dumps(told)
    assert code == 0
    for piece in ("gpt-4o is retired on 2027-01-14", "o200k_base is not in", "$2.50 a million", "runbook:"):
        assert piece in text
    assert "SLACK_BOT_TOKEN is set" in text
    assert "very-secret" not in text


def test_doctor_tells_of_a_state_store_that_is_down(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "file").touch()
    monkeypatch.setenv("GUARDIAN_STATE_URL", f"sqlite:///{project}/file/state.db")
    code, told = asked(capsys, "doctor")
    assert (code, told["healthy"]) == (0, False)
    (store,) = [each for each in told["checks"] if each["state"] == "warning"]  # type: ignore[attr-defined]
    assert store["subject"] == "state store"
    assert "cannot be made" in store["says"]


def test_doctor_says_that_nobody_may_approve(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = project / "operations.yaml"
    file.write_text(file.read_text().replace("approvers: []", "approvers: []\n  approvals: {deploy: approve}"))
    _, told = asked(capsys, "doctor")
    assert told["healthy"] is False
    assert "nobody may decide" in json.dumps(told)


def test_doctor_asks_what_routes_the_traffic(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = project / "operations.yaml"
    pools = "map: /m, blue: ['a:1'], green: ['b:1']"
    routed = f"traffic: {{ChurnModel: {{type: haproxy, socket: {project}/h.sock, {pools}}}}}"
    file.write_text(file.read_text().replace("approvers: []", f"approvers: []\n  {routed}"))
    _, told = asked(capsys, "doctor")
    (check,) = [each for each in told["checks"] if each["subject"] == "traffic of ChurnModel"]  # type: ignore[attr-defined]
    assert check["state"] == "warning"
    assert "the runtime API does not answer" in check["says"]


def test_an_edited_audit_row_is_found(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tools.systems.systems import Systems

    systems = Systems.open(project / "operations.yaml")
    for number in range(5):
        systems.store.audit("oncall", "approved", {"number": number}, at=systems.clock.now())
    systems.close()
    code, told = asked(capsys, "audit", "verify")
    assert (code, told["rows"]) == (0, 5)
    with sqlite3.connect(project / ".guardian" / "state.db") as connection:
        connection.execute("UPDATE audit SET detail = '{\"number\": 99}' WHERE number = 3")
    code, told = asked(capsys, "audit", "verify")
    assert code == 1
    assert "row 3" in json.dumps(told["error"])


def test_a_command_that_waits_ends_with_exit_code_4_and_the_id(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = project / "operations.yaml"
    file.write_text(file.read_text().replace("approvers: []", "approvers: [oncall]\n  approvals: {retrain: approve}"))
    code, told = asked(capsys, "retrain", "ChurnRetrain")
    assert code == 4
    assert told["error"]["kind"] == "approval"  # type: ignore[index]
    assert "approval-1" in told["error"]["message"]  # type: ignore[index]
    code, told = asked(capsys, "approvals")
    assert (code, told["approvals"][0]["approval_id"]) == (0, "approval-1")  # type: ignore[index]
    code, told = asked(capsys, "approve", "approval-1", "--by", "mallory")
    assert (code, told["error"]["kind"]) == (3, "policy")  # type: ignore[index]
    code, told = asked(capsys, "deny", "approval-1", "--why", "not now", "--by", "oncall")
    assert (code, told["status"], told["why"]) == (0, "denied", "not now")
