"""A retraining killed with SIGKILL at any step ends, after a restart, in one challenger and leaves no orphan."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from policies.errors import SystemDown
from policies.promotion import Decision
from tests.tools.retrain import killing
from tests.tools.retrain.tiny_world import DAY, MODEL, PIPELINE
from tools.retrain import claim
from tools.retrain.result import RetrainResult
from tools.retrain.tool import TOOL
from tools.systems.store import Evidence, Kind
from tools.systems.systems import Systems

STEPS = {
    "the run is claimed": "INSERT INTO evidence",
    "trials are kept": "INSERT INTO trials",
    "the result is kept": "UPDATE evidence SET revision",
    "the MLflow run is begun": "INSERT INTO runs",
    "parameters are logged": "INSERT INTO params",
    "the model is logged": "INSERT INTO logged_models",
    "the MLflow run is ended": "UPDATE runs SET status",
    "the version is created": "INSERT INTO model_versions",
    "the alias is given": "INSERT INTO registered_model_aliases",
    "the run is completed": "UPDATE evidence SET version",
}
QUICK = ("trials are kept", "the run is completed")
"""The others are tried where EVERY_KILL is set: each costs two trainings."""


def _retrain(systems: Systems) -> RetrainResult:
    result = TOOL.run(systems, TOOL.arguments(pipeline=PIPELINE, force_trigger=None))
    assert isinstance(result, RetrainResult)
    return result


def _runs(systems: Systems) -> list[Evidence]:
    return [row for row in systems.store.list(Kind.training_run, MODEL) if row.body.get("pipeline") == PIPELINE]


def _kill(home: Path, statement: str) -> None:
    process = killing.forkserver().Process(target=killing.retrain_until, args=(home, statement))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    until = time.monotonic() + 10
    while killing.marked(home) and time.monotonic() < until:
        time.sleep(0.05)
    assert killing.marked(home) == []


@pytest.mark.parametrize("step", [step for step in STEPS if step in QUICK or os.environ.get("EVERY_KILL")])
def test_killed_before(step: str, opened: Callable[[str], Systems]) -> None:
    systems = opened("home")
    _kill(systems.home, STEPS[step])
    result = _retrain(systems)

    row = _runs(systems)[0]
    assert [each.id for each in _runs(systems)] == [row.id]
    assert (row.status, row.version) == ("completed", "2")
    assert RetrainResult.model_validate(row.body) == result
    registry = systems.registry
    assert [version.version for version in registry.versions("loans")] == ["2", "1"]
    assert registry.get("loans", "2").aliases == ("challenger",)
    assert registry.get("loans", "2").tags["guardian.run"] == row.id
    assert registry.load("loans", "2") is not None
    experiments = [registry.client.get_experiment_by_name("loans").experiment_id]
    ended = [run.info.status for run in registry.client.search_runs(experiments)]
    assert sorted(status for status in ended if status != "FAILED") == ["FINISHED"] * 2
    assert all(
        run.data.tags["guardian.failure"]
        for run in registry.client.search_runs(experiments)
        if run.info.status == "FAILED"
    )
    assert len(registry.client.search_logged_models(experiments)) == 2
    assert _retrain(systems).policy == "retraining_cooldown"


def _killed(systems: Systems, **about: object) -> Evidence:
    """A run whose process ended right after it started."""
    asked = {"trigger": "drift_detected", "fired": True, "reason": "for the test"}
    opening = {"pipeline": PIPELINE, "alias": "challenger", "changed_at": None, "triggers": [asked]}
    started = claim.start(systems, MODEL, opening, lambda runs, now: [], rests_on=None)
    assert not isinstance(started, Decision)
    started.release()
    return systems.store.update(started.row.id, body={**started.row.body, **about})


def test_a_killed_run_that_may_not_go_on_fails_with_its_reason(opened: Callable[[str], Systems]) -> None:
    systems = opened("home")
    row = _killed(systems)
    broken = {"type": "schema_drift", "subject": "debt", "severity": "critical", "detail": "column is missing"}
    body = {"monitor": "LoanDrift", "status": "checked", "checks": [broken], "severity": "critical"}
    systems.store.add(Kind.drift_report, MODEL, body, at=systems.clock.now())
    assert _retrain(systems).policy == "no_retraining_on_broken_data"
    row = systems.store.get(row.id)
    assert row.status == "failed"
    assert "column is missing" in row.body["failure"]


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({"attempt": 3}, "its process was killed, 3 times"),
        ({"began": 0.0}, "its process was killed, and max_training_hours have passed since it began"),
        ({"began": 0.0, "host": "another"}, "its process was killed, and max_training_hours have passed"),
    ],
)
def test_a_killed_run_is_given_up_in_the_end(
    about: dict[str, object], told: str, opened: Callable[[str], Systems]
) -> None:
    systems = opened("home")
    row = _killed(systems, **about)
    refused = _retrain(systems)
    assert (refused.started, refused.policy) == (False, "retraining_cooldown")
    assert refused.until == row.created_at + DAY
    assert told in systems.store.get(row.id).body["failure"]


def test_a_registered_version_that_could_not_be_named_is_finished_by_the_next_request(
    opened: Callable[[str], Systems], monkeypatch: pytest.MonkeyPatch
) -> None:
    systems = opened("unnamed")

    def down(*_: object) -> None:
        raise SystemDown("no answer", where="model registry")

    with monkeypatch.context() as broken:
        broken.setattr(systems.registry, "set_alias", down)
        with pytest.raises(SystemDown, match="no answer"):
            _retrain(systems)
    assert systems.registry.alias("loans", "challenger") is None
    result = _retrain(systems)
    assert systems.registry.alias("loans", "challenger") == result.version == "2"
    assert [(row.status, row.version) for row in _runs(systems)] == [("completed", "2")]


def test_a_run_on_another_machine_is_left_alone(opened: Callable[[str], Systems]) -> None:
    systems = opened("home")
    row = _killed(systems, host="another")
    assert _retrain(systems).policy == "one_retraining_at_a_time"
    assert systems.store.get(row.id).status == "running"
