"""The search: what it finds, that it is repeatable, that it goes on where it was interrupted, what it prunes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from policies.errors import InputError
from tests.tools.retrain.samples import both, built_in, some_rows
from tools.retrain.compute import Threads
from tools.retrain.recipes import BuiltIn
from tools.retrain.search import EARLY_SHARE, PRUNED_FROM, Attempt, Best, Task, TrialRecord, search


@dataclass
class OneAtATime:
    """Computes one trial at a time, and records what it was asked for. `ends_after` many fits it is interrupted."""

    at_once: int = 1
    ends_after: int = 1000
    shares: tuple[float, ...] = ()

    def map(self, task: Task, given: list[dict[str, Any]], share: float) -> list[Attempt]:
        if len(self.shares) >= self.ends_after:
            raise KeyboardInterrupt
        self.shares += (share,) * len(given)
        return Threads().map(task, given, share)


def _small(**base: float) -> Task:
    return built_in(some_rows(1, 1500, 60, 3), some_rows(2, 400, 3, 0), **{"iterations": 6, **base})


def test_after_a_change_the_search_learns_to_forget() -> None:
    train = both(some_rows(1, 12_000, 300, 5), some_rows(2, 1200, 5, 2, changed=True))
    task = built_in(train, some_rows(3, 600, 2, 0, changed=True), iterations=30)
    records: list[TrialRecord] = []
    found = search(task, Threads(), trials=4, max_seconds=600, on_trials=records.extend)
    assert found.parameters["half_life_days"] in (7.0, 14.0)
    assert found.rank > 0.7
    assert [record.state for record in records] == ["complete"] * 4


def test_the_same_rows_and_seed_give_the_same_search() -> None:
    def result() -> tuple[dict[str, Any], list[float]]:
        found = search(_small(), Threads(), trials=6, max_seconds=600)
        return found.parameters, found.attempt.said.scores.tolist()

    assert result() == result()


@pytest.mark.parametrize("ended", [1, 3, 5, 7])
def test_an_interrupted_search_ends_as_if_it_had_not_been(ended: int) -> None:
    whole: list[TrialRecord] = []
    expected = search(_small(), OneAtATime(), trials=8, max_seconds=600, on_trials=whole.extend)

    kept: list[TrialRecord] = []
    with pytest.raises(KeyboardInterrupt):
        search(_small(), OneAtATime(ends_after=ended), trials=8, max_seconds=600, on_trials=kept.extend)
    assert kept == whole[:ended]
    found = search(_small(), OneAtATime(), trials=8, max_seconds=600, earlier=tuple(kept), on_trials=kept.extend)
    assert kept == whole
    assert (found.number, found.parameters) == (expected.number, expected.parameters)
    assert found.attempt.said.scores.tolist() == expected.attempt.said.scores.tolist()


def test_time_that_runs_out_keeps_the_best_so_far() -> None:
    bests: list[Best] = []
    compute = OneAtATime()
    found = search(_small(), compute, trials=50, max_seconds=0, on_best=bests.append)
    assert compute.shares == (EARLY_SHARE, 1.0)
    assert bests == [found]


def test_a_long_search_drops_trials_that_start_badly() -> None:
    compute, records = OneAtATime(), list[TrialRecord]()
    found = search(_small(), compute, trials=16, max_seconds=600, on_trials=records.extend)
    pruned = [record.number for record in records if record.state == "pruned"]
    assert pruned
    assert min(pruned) >= 4
    assert compute.shares.count(EARLY_SHARE) == 16
    assert compute.shares.count(1.0) == 16 - len(pruned)
    assert found.number not in pruned
    short = OneAtATime()
    search(_small(), short, trials=PRUNED_FROM - 1, max_seconds=600)
    assert EARLY_SHARE not in short.shares


def test_capacity_is_not_searched() -> None:
    task = _small(iterations=7, leaves=5)
    found = search(task, Threads(), trials=6, max_seconds=600)
    described = task.recipe.described(found.parameters)
    assert (described["iterations"], described["leaves"]) == ("7", "5")


def test_an_undefined_objective_leaves_the_champions_parameters() -> None:
    one_class = some_rows(2, 200, 3, 0)
    one_class = replace(one_class, outcomes=np.zeros(200))
    found = search(built_in(some_rows(1, 800, 60, 3), one_class, iterations=5), Threads(), trials=4, max_seconds=600)
    assert found.number == 0
    assert np.isnan(found.attempt.value)


def test_f1_tells_trials_apart_where_nobody_reaches_one_half() -> None:
    train, validation = some_rows(1, 1500, 60, 3), some_rows(2, 400, 3, 0)
    rare = [replace(rows, outcomes=rows.outcomes * (np.arange(len(rows)) % 8 == 0)) for rows in (train, validation)]
    task = replace(built_in(*rare, iterations=3, learning_rate=0.04), objective="f1")
    records: list[TrialRecord] = []
    found = search(task, Threads(), trials=4, max_seconds=600, on_trials=records.extend)
    assert found.attempt.said.scores.max() < 0.5
    assert all(record.value is not None and record.value > 0 for record in records)
    assert len({record.value for record in records}) > 1


class _Fragile(BuiltIn):
    """Fails with all but one half-life."""

    def fit(self, parameters: Any, rows: Any, cap: int, seed: int) -> Any:
        if parameters["half_life_days"] != 30.0:
            raise ZeroDivisionError("no half-life of that kind")
        return super().fit(parameters, rows, cap, seed)


class _Endless(BuiltIn):
    """Its models' probabilities are not numbers."""

    def fit(self, parameters: Any, rows: Any, cap: int, seed: int) -> Any:
        fitted = super().fit(parameters, rows, cap, seed)
        fitted[-1]._baseline_prediction = np.full_like(fitted[-1]._baseline_prediction, np.nan)
        return fitted


class _Hopeless(BuiltIn):
    """Always fails."""

    def fit(self, parameters: Any, rows: Any, cap: int, seed: int) -> Any:
        raise ZeroDivisionError("never")


def test_a_trial_that_fails_is_one_trial_the_fewer() -> None:
    small = _small()
    assert isinstance(small.recipe, BuiltIn)
    fragile = replace(small, recipe=_Fragile(small.recipe.features, small.recipe.base))
    records: list[TrialRecord] = []
    found = search(fragile, Threads(), trials=4, max_seconds=600, on_trials=records.extend)
    assert found.parameters["half_life_days"] == 30.0
    assert [record.state for record in records].count("failed") == 3
    hopeless = replace(small, recipe=_Hopeless(small.recipe.features, small.recipe.base))
    with pytest.raises(InputError, match="ZeroDivisionError: never"):
        search(hopeless, Threads(), trials=4, max_seconds=600)


def test_a_model_whose_scores_are_not_numbers_is_not_chosen() -> None:
    small = _small()
    assert isinstance(small.recipe, BuiltIn)
    endless = replace(small, recipe=_Endless(small.recipe.features, small.recipe.base))
    with pytest.raises(InputError, match="its scores of the validation rows are not all numbers"):
        search(endless, Threads(), trials=2, max_seconds=600)
