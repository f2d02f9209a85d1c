"""A holdout of the newest labelled rows moves as labels come, and none of it is ever learned."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from policies.errors import DeclarationError
from tests.tools.retrain.tiny_world import CHALLENGE, DAY, FIRST, MODEL, PIPELINE, ROWS_A_DAY, TinyWorld
from tools.evaluate import contenders
from tools.evaluate import tool as evaluate
from tools.evaluate.result import EvaluateArguments
from tools.retrain import tool as retrain
from tools.retrain.result import RetrainArguments
from tools.retrain.tool import train_first_champion
from tools.systems import holdouts
from tools.systems.holdouts import NothingLabelled

LAG = 14 * DAY
Make = Callable[..., TinyWorld]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[TinyWorld] = []

    def world(holdout: str, *, change_on: int | None = None, lag: timedelta = timedelta(0)) -> TinyWorld:
        made.append(TinyWorld(tmp_path, change_on, holdout=holdout, lag=lag))
        return made[-1]

    yield world
    for each in made:
        each.systems.close()


def test_it_is_the_latest_days_with_a_label_as_of_the_look(make: Make) -> None:
    world = make("{latest: 7d}", lag=LAG)
    world.live(30)
    assert (world.systems.warehouse.exists("loans_holdout"), world.today) == (False, 30)
    for today, whole_days in ((30, 15), (25, 10), (20, 5)):
        held = holdouts.period(world.systems, MODEL, FIRST + today * DAY)
        # Of the day that is 14 days past, the labels come in the course of this one.
        assert held.start == FIRST + (whole_days - 6) * DAY
        read = holdouts.read(world.systems, MODEL, FIRST + today * DAY)
        assert (read.num_rows, set(read.column_names)) == (
            held.rows, {"loan", "at", "income", "debt", "age", "region", "defaulted"},
        )  # fmt: skip
        assert read["at"].to_numpy().max() < np.datetime64(FIRST + today * DAY - LAG, "us")
    with pytest.raises(NothingLabelled, match="no row has a label as of 2026-01-11"):
        holdouts.period(world.systems, MODEL, FIRST + 10 * DAY)


def test_it_reaches_back_for_rows_enough(make: Make) -> None:
    world = make(f"{{latest: 1d, min_rows: {20 * ROWS_A_DAY}}}")
    world.live(30)
    held = holdouts.period(world.systems, MODEL, FIRST + 30 * DAY)
    assert (held.start, held.rows) == (FIRST + 9 * DAY, 21 * ROWS_A_DAY - 24)  # the last two hours have no label yet


def test_rows_younger_than_the_label_delay_wait(make: Make) -> None:
    world = make("{latest: 7d, label_delay: 10d}")
    world.live(30)
    held = holdouts.period(world.systems, MODEL, FIRST + 30 * DAY)
    assert (held.start, held.rows) == (FIRST + 13 * DAY, 7 * ROWS_A_DAY)
    assert holdouts.read(world.systems, MODEL, FIRST + 30 * DAY).num_rows == 7 * ROWS_A_DAY


def test_of_a_long_one_a_sample_is_judged_always_the_same(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make("{latest: 20d}")
    world.live(30)
    monkeypatch.setattr(holdouts, "MOST_ROWS", 1_000)
    first, again = (contenders.read_holdout(world.systems, MODEL, FIRST + 30 * DAY) for _ in range(2))
    assert 900 < first.about.rows < 1_100
    assert first.about.digest == again.about.digest


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("{latest: 12h}", "models.Loans.holdout.latest: 12h is less than a day, and days are held out whole"),
        ("{latets: 7d}", "models.Loans.holdout.latets: unknown key (did you mean 'latest'?)"),
        ("{latest: 7d, min_rows: 0}", "models.Loans.holdout.min_rows: Input should be greater than or equal to 1"),
    ],
)
def test_a_holdout_that_is_none_is_refused_in_a_line(written: str, told: str, make: Make) -> None:
    with pytest.raises(DeclarationError) as refused:
        make(written)
    assert told in str(refused.value).splitlines()[-1]


def test_with_labels_14_days_late_newer_rows_are_learned_week_by_week_and_judged(make: Make) -> None:
    world = make("{latest: 7d, min_rows: 1500}", change_on=31, lag=LAG)
    systems = world.systems
    world.live(44)
    train_first_champion(systems, MODEL, systems.clock.now())
    ends = []
    for day in (58, 65, 72):
        world.live(day)
        world.report()
        trained = retrain.run(systems, RetrainArguments(pipeline=PIPELINE, force_trigger="drift_detected"))
        assert trained.started, trained.skipped_because
        assert trained.version is not None and trained.data_window is not None
        held = contenders.read_holdout(systems, MODEL, systems.clock.now())
        assert held.about.rows >= 1_500
        assert held.about.end > FIRST + (day - 15) * DAY
        version = systems.registry.get("loans", trained.version)
        assert contenders.shared_rows(systems, version, systems.operations.model(MODEL), held) == 0
        assert trained.data_window.end == held.about.start.replace(hour=0, minute=0)
        ends.append(trained.data_window.end)
        judged = evaluate.run(systems, EvaluateArguments(challenge=CHALLENGE))
        assert judged.holdout.rows == held.about.rows
        checks = {each.name: each.verdict for each in judged.gate.checks}
        if judged.verdict == "challenger_wins":
            assert checks["holdout_rows"] == checks["no_overlap"] == "passed"
    assert ends == sorted(set(ends)) and ends[-1] - ends[0] == 14 * DAY
