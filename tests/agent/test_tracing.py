"""A run is one trace in MLflow, with its calls, tokens and cost; what waits for a person is no error."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from agent.deciding import answer
from agent.triage import triage
from tests.agent.world import World, declare_approvals
from tests.fakes.openai_server import follow_the_book, serve
from tools.systems.pointing import point_mlflow
from tools.systems.traces import Traces


def traces(uri: str) -> list[Any]:
    import mlflow

    point_mlflow(uri)
    experiment = mlflow.get_experiment_by_name("guardian")
    assert experiment is not None
    return list(mlflow.search_traces(locations=[experiment.experiment_id], return_type="list"))


def test_a_run_that_waited_is_one_trace_with_its_calls_and_what_they_cost(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    world.systems.traces = Traces(uri)
    declare_approvals(world, deploy={"mode": "approve", "approvers": ["oncall"]})
    with serve(follow_the_book) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        triage(world.systems, toolbox=world.toolbox())
        answer(world.systems, "approval-1", "oncall", approve=True, toolbox=world.toolbox())
    result = world.systems.store.get("run-1").body["result"]

    (found,) = traces(uri)
    root, *children = found.data.spans
    assert (root.span_type, root.parent_id, root.status.status_code) == ("AGENT", None, "OK")
    assert [span.name for span in children if span.span_type == "TOOL"] == [
        "check_drift",
        "track_kpis",
        "retrain",
        "evaluate",
        "deploy",
        "track_kpis",
    ]
    assert len([span for span in children if span.span_type == "LLM"]) == result["budget"]["llm_calls"] == 5
    assert {span.status.status_code for span in children} == {"OK"}
    assert found.info.token_usage["total_tokens"] == result["budget"]["tokens"]
    assert found.info.cost["total_cost"] == pytest.approx(result["budget"]["cost_usd"])
    assert found.info.tags["guardian.prompt"] == "operator 1"
    assert found.info.tags["guardian.run"] == "run-1"


def test_an_unreachable_mlflow_holds_up_no_run(world: World) -> None:
    world.systems.traces = Traces("http://127.0.0.1:9")
    began = time.monotonic()
    assert triage(world.systems, toolbox=world.toolbox()).status == "finished"
    assert time.monotonic() - began < 30
