"""The search on a Ray cluster of several nodes, one of which is killed in the middle of a trial."""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from policies.errors import InputError
from tests.tools.retrain.samples import built_in, some_rows
from tests.tools.retrain.test_process import job
from tools.retrain.compute import RayTasks, Threads
from tools.retrain.process import TrainingProcess
from tools.retrain.recipes import BuiltIn
from tools.retrain.search import TrialRecord, search

REPOSITORY = str(Path(__file__).parents[3])
INSTALLED = importlib.util.find_spec("ray") is not None


class _Slow(BuiltIn):
    """Takes three seconds on a node of a cluster, none elsewhere."""

    def fit(self, parameters: Any, rows: Any, cap: int, seed: int) -> Any:
        time.sleep(3 if "ray" in sys.modules and os.environ.get("RAY_NODE_OF_TEST") else 0)
        return super().fit(parameters, rows, cap, seed)


@pytest.mark.skipif(INSTALLED, reason="ray is installed here")
def test_without_the_extra_it_says_what_to_install() -> None:
    with pytest.raises(InputError, match=r"mlops-guardian\[ray\]"):
        RayTasks("auto", 8)
    assert "ray" not in sys.modules


@pytest.mark.skipif(not INSTALLED, reason="the extra ray is not installed")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.timeout(180)
def test_a_node_killed_in_the_middle_costs_no_trial_and_changes_no_result(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import ray
    from ray.cluster_utils import Cluster

    task = built_in(some_rows(1, 1500, 60, 3), some_rows(2, 400, 3, 0), iterations=6)
    assert isinstance(task.recipe, BuiltIn)
    task = replace(task, recipe=_Slow(task.recipe.features, task.recipe.base))
    expected: list[TrialRecord] = []
    best = search(task, Threads(), trials=6, max_seconds=600, on_trials=expected.extend)

    monkeypatch.setenv("PYTHONPATH", REPOSITORY)
    monkeypatch.setenv("RAY_NODE_OF_TEST", "1")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    monkeypatch.delenv("RAY_NODE_OF_TEST")
    killed: list[float] = []

    def kill_one_soon() -> None:
        time.sleep(1)
        cluster.remove_node(nodes[1], allow_graceful=False)
        killed.append(time.monotonic())

    killer = threading.Thread(target=kill_one_soon)
    records: list[TrialRecord] = []

    def kept(ended: list[TrialRecord]) -> None:
        records.extend(ended)
        if len(records) == 2:
            killer.start()

    try:
        compute = RayTasks(cluster.address, 8)
        assert compute.at_once == 2
        found = search(task, compute, trials=6, max_seconds=600, on_trials=kept)
        ended = time.monotonic()
        killer.join()
        assert killed[0] < ended
        assert records == expected
        assert (found.number, found.attempt.value) == (best.number, best.attempt.value)
        ray.shutdown()
        _trains_as_declared(cluster.address, tmp_path)
    finally:
        ray.shutdown()
        cluster.shutdown()


def _trains_as_declared(address: str, home: Path) -> None:
    """The training process joins the cluster that the declaration names."""
    local = job(home, "Loans", trials=2)
    remote = local.training.model_copy(update={"compute": "ray", "address": address})
    records: list[TrialRecord] = []
    with TrainingProcess() as process:
        made = process.train(replace(local, training=remote), 90, records.extend)
    assert made.stopped is None
    assert [record.state for record in records] == ["complete"] * 2
    with TrainingProcess() as process:
        alone = process.train(local, 90, lambda records: None)
    assert made.parameters == alone.parameters
    assert made.scores.tolist() == alone.scores.tolist()
