"""The demo's lines about a rollout read as a person would say them."""

from __future__ import annotations

from datetime import datetime

import pytest

from evals.demo.shop import in_words
from tools.deploy.rollout import Rollout, Status
from tools.deploy.verdicts import GateVerdict, Verdict


@pytest.mark.parametrize(
    ("status", "gate", "said"),
    [
        ("running", None, "version 2 gets 10% of the traffic"),
        ("running", "inconclusive", "version 2 gets 10% of the traffic; gate full metrics is not conclusive yet"),
        ("promoted", "pass", "version 2 is promoted and gets all traffic; gate full metrics passed"),
        ("rolled_back", "fail", "version 2 is rolled back, version 1 gets all traffic: too slow"),
        ("paused", "inconclusive", "version 2 is paused at 10% of the traffic: too slow"),
    ],
)
def test_a_rollout_in_words(status: str, gate: str | None, said: str) -> None:
    rollout = Rollout(
        strategy="CanaryDeploy",
        model="ChurnModel",
        version="2",
        champion="1",
        status=Status(status),
        traffic_pct=10,
        started_at=datetime(2026, 2, 1),
        reason="too slow",
        stages=(),
        events=(),
        last_gate=GateVerdict(name="full_metrics", verdict=Verdict(gate), measurements=()) if gate else None,
    )
    assert in_words(rollout) == said
