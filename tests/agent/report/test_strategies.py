"""Each strategy's rollout as people read it: copies are no traffic, and a comparison is no limit."""

from __future__ import annotations

from datetime import datetime, timedelta

from agent.cli.render import rollout as on_the_terminal
from agent.report.gates import shown, why_open
from agent.report.markdown import _rollout as as_markdown
from agent.report.rollouts import rollout
from agent.report.sentences import _traffic
from agent.status import _share
from policies.declarations import Operations
from tools.deploy.rollout import Rollout, StageState, Status
from tools.deploy.verdicts import GateVerdict, Measurement, Verdict
from tools.systems.store import Evidence, Kind

NOW = datetime(2026, 3, 1)


def measured(
    name: str, verdict: str, value: float, champion: float | None, limit: float | None, *, asked: bool = True
) -> Measurement:
    return Measurement(
        name=name, verdict=Verdict(verdict), value=value, champion_value=champion, limit=limit, n=10, champion_n=10,
        asked=asked, detail="so it is",
    )  # fmt: skip


def row(kind: Kind, body: dict[str, object], status: str) -> Evidence:
    return Evidence(
        id=f"{kind.value}-1", kind=kind, model="M", version="2", status=status, created_at=NOW, rests_on=None,
        revision=1, body=body,
    )  # fmt: skip


def shadow() -> Rollout:
    gate = GateVerdict(
        name="shadow",
        verdict=Verdict.INCONCLUSIVE,
        measurements=(
            measured("auc_roc", "pass", 0.85, 0.8, None),
            measured("p99_increase_pct", "fail", 42.0, None, 10.0),
            measured("f1", "inconclusive", 0.3, 0.3, None, asked=False),
        ),
    )
    stage = StageState(
        traffic_pct=0, duration=timedelta(days=7), gate="shadow", max_wait=timedelta(days=21), mirrored=True,
        started_at=NOW, last_gate=gate,
    )  # fmt: skip
    return Rollout(
        rollout_id="rollout-1", strategy="ShadowDeploy", model="M", version="2", champion="1", status=Status.RUNNING,
        started_at=NOW, last_gate=gate, stages=(stage,),
    )  # fmt: skip


def test_a_shadow_is_told_as_copies_and_comparisons() -> None:
    state = shadow()
    split = {"champion": "1", "challenger": "2", "challenger_pct": 0.0, "mirrored": True}
    change = row(Kind.traffic_change, split, "acknowledged")
    told = rollout(row(Kind.rollout, state.model_dump(mode="json"), "running"), [change], Operations())
    assert told.stages[0].mirrored
    assert "| copies |" in as_markdown(told)
    auc, increase, f1 = told.stages[0].measurements
    assert shown(auc) == ("AUC", "0.850", "champion 0.800")
    assert shown(increase) == ("p99 increase", "42%", "limit 10%")
    assert why_open(f1) == "not asked at this stage"
    assert _traffic(change) == "Version 2 gets a copy of each request, and nobody its answers."
    assert _share(change.body) == "a copy of each request to version 2, all answered by 1"
    assert on_the_terminal(state).endswith(
        "running, a copy of each request, all answered by version 1; gate shadow: inconclusive"
    )
