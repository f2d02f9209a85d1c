from __future__ import annotations

from typing import Any

import pytest

from evals.suite.end_state import MadeCall
from evals.suite.scenario import CallPattern, Trajectory
from evals.suite.trajectory import faults, matches, redundant


def made(tool: str, status: str = "done", facts: dict[str, Any] | None = None, **arguments: Any) -> MadeCall:
    return MadeCall(run="run-1", model="M", tool=tool, arguments=arguments, status=status, facts=facts or {})


FLOW = [made("retrain"), made("evaluate"), made("deploy", version="2")]


@pytest.mark.parametrize(
    ("match", "asked", "calls", "right"),
    [
        ("exact", ["retrain", "evaluate", "deploy"], FLOW, True),
        ("exact", ["retrain", "deploy"], FLOW, False),
        ("exact", ["retrain", "evaluate"], FLOW, False),
        ("ordered", ["retrain", "deploy"], FLOW, True),
        ("ordered", ["deploy", "retrain"], FLOW, False),
        ("unordered", ["deploy", "evaluate", "retrain"], FLOW, True),
        ("unordered", ["deploy", "retrain"], FLOW, False),
        ("superset", ["deploy", "retrain"], FLOW, True),
        ("superset", ["retrain", "retrain"], FLOW, False),
        ("superset", [], [], True),
        ("exact", ["retrain"], [made("retrain", status="refused")], False),
    ],
)
def test_calls_match_as_the_mode_says(match: Any, asked: list[str], calls: list[MadeCall], right: bool) -> None:
    found = faults(Trajectory(match=match, calls=[CallPattern(tool=each) for each in asked]), calls)
    assert (not found) is right, found


def test_only_written_arguments_are_compared() -> None:
    call = made("deploy", strategy="Canary", version="2")
    assert matches(CallPattern(tool="deploy", arguments={"version": "2"}), call)
    assert not matches(CallPattern(tool="deploy", arguments={"version": "3"}), call)


def test_a_skipped_training_and_a_refusal_count_as_attempts_only() -> None:
    skipped = made("retrain", facts={"started": False})
    refused = made("deploy", status="refused")
    for call in (skipped, refused):
        assert not matches(CallPattern(tool=call.tool), call)
        assert matches(CallPattern(tool=call.tool, attempted=True), call)


def test_a_repeated_call_is_redundant_unless_something_changed_between() -> None:
    check = made("check_drift", monitor="D")
    assert redundant([check, check]) == ["check_drift(monitor=D) repeated"]
    assert redundant([check, made("retrain"), check]) == []
    assert redundant([made("deploy", status="refused", version="2")]) == ["deploy(version=2) refused"]
