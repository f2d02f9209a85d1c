"""A shadow of a model of numbers or of several classes: copies compared by the task's loss, anything else refused."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from policies.declarations.deployment import Shadow
from policies.errors import InputError
from tests.tools.tasks.task_world import CLASSES, DAY, FIRST, MODEL, TaskWorld
from tools import tasks
from tools.deploy import shadow
from tools.deploy.verdicts import Verdict
from tools.serving.prediction_log import LogRow, to_arrow

BEST = {"regression": "mae", "multiclass": "accuracy"}


def _declared(*metrics: str) -> Shadow:
    return Shadow.model_validate(
        {
            "type": "shadow",
            "duration": "1d",
            "comparison": {"champion": "v1", "challenger": "v2", "metrics": list(metrics)},
            "promotion_criteria": {"challenger_wins_on": list(metrics), "max_latency_increase_pct": 10},
        }
    )


def _said(task: str, outcome: object, worse: float, rng: np.random.Generator) -> tuple[float, str | None]:
    if task == "regression":
        return float(outcome) + worse * rng.normal() * 10.0, None  # type: ignore[arg-type]
    return 0.6, str(outcome) if rng.random() > worse * 0.3 else str(CLASSES[rng.integers(3)])


@pytest.mark.parametrize("task", BEST)
@pytest.mark.parametrize(("ours", "theirs", "verdict"), [(0.3, 1.0, Verdict.PASS), (1.0, 0.3, Verdict.FAIL)])
def test_the_copies_are_compared_by_the_loss(
    task: str, ours: float, theirs: float, verdict: Verdict, tmp_path: Path
) -> None:
    world, rng = TaskWorld(tmp_path, task, change_on=99), np.random.default_rng(1)
    systems = world.systems
    try:
        world.live(10)
        log = []
        for day in (8, 9):
            for i, row in enumerate(world.rows(day).to_dict("records")):
                for variant, version, worse in (("champion", "1", theirs), ("shadow", "2", ours)):
                    score, label = _said(task, row["outcome"], worse, rng)
                    at = row["at"] + timedelta(minutes=1)
                    times = (5.0, 5.0) if variant == "shadow" else (None, None)
                    log.append(LogRow(f"{day}-{i}", str(row["parcel"]), at, variant, version, score, label, 5.0, None,
                                      None, None, None, *times))  # fmt: skip
        systems.warehouse.append("parcel_log", to_arrow(log, tasks.of(task)), "log")
        world.now(10.2)
        began = FIRST + 8 * DAY
        state = shadow.plan(
            systems, _declared(BEST[task]), strategy="S", model=MODEL, version="2", champion="1", now=began
        )
        stage = state.stages[0].model_copy(update={"started_at": began})
        found = shadow.assess(systems, state.model_copy(update={"stages": (stage,)}), systems.clock.now())
    finally:
        systems.close()
    measured = {each.name: each for each in found.measurements}[BEST[task]]
    assert measured.verdict is verdict, measured
    assert measured.n == 600
    assert measured.interval is not None
    assert (measured.interval[0] > 0) == (verdict is Verdict.PASS)
    assert "600 of 600 answered requests were copied" in found.detail
    assert ("the same label for" in found.detail) == (task == "multiclass")


@pytest.mark.parametrize(("task", "wanted"), [("regression", "mae"), ("multiclass", "accuracy")])
def test_what_is_not_compared_is_refused_in_one_line(task: str, wanted: str, tmp_path: Path) -> None:
    world = TaskWorld(tmp_path, task, change_on=99)
    try:
        with pytest.raises(InputError) as refused:
            shadow.plan(
                world.systems, _declared("auc_roc"), strategy="S", model=MODEL, version="2", champion="1", now=FIRST
            )
    finally:
        world.systems.close()
    assert refused.value.message == (
        f"auc_roc of a {task} model is not compared in a shadow; write {wanted} or latency_p99"
    )
