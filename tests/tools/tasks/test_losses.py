"""Evidence of mean losses: what it says of plain cases, and how often it is wrong however often it is looked at."""

from __future__ import annotations

import math

import numpy as np
import pytest

from policies.strategies import StrategyFacts, may_use_strategy
from tests.tools.tasks.task_world import MODEL, STRATEGY, declarations
from tools.deploy.comparison import Slices
from tools.deploy.gates import FAIL_ALPHA, PASS_ALPHA, Evidence, judge, limits
from tools.deploy.losses import FEWEST_ROWS, compare, replayed_gain, served_gain
from tools.deploy.ranking import UNLABELLED, Replayed, Served
from tools.deploy.verdicts import Verdict

LOOKS = np.unique(np.geomspace(FEWEST_ROWS, 3_000, 25).astype(int))


def _pairs(champion: np.ndarray, challenger: np.ndarray) -> Replayed:
    return Replayed(champion, challenger, np.ones(len(champion), dtype=np.bool_))


def _served(losses: np.ndarray, stage: np.ndarray | None = None) -> Served:
    stages = np.zeros(len(losses), dtype=np.int64) if stage is None else stage
    return Served(losses, np.ones(len(losses), dtype=np.bool_), stages)


def _errors(rng: np.random.Generator, rows: int, rise: float) -> Replayed:
    """Heavy errors that both versions share in part; the challenger's mean is higher by `rise` (a share)."""
    shared = rng.lognormal(sigma=1.0, size=rows)
    noise = rng.lognormal(sigma=0.5, size=(2, rows))
    return _pairs(shared * noise[0], shared * noise[1] * (1.0 + rise))


def _wrong(rng: np.random.Generator, rows: int, fall: float) -> Replayed:
    hard = rng.random(rows)
    flips = rng.random(rows) < 0.1
    champion = hard < 0.3
    challenger = np.where(flips, rng.random(rows) < 0.3 + fall, hard < 0.3 + fall)
    return _pairs(champion.astype(float), challenger.astype(float))


@pytest.mark.parametrize(("name", "drawn"), [("mae_increase", _errors), ("accuracy_degradation", _wrong)])
def test_however_often_it_is_looked_at_it_is_seldom_wrong(name: str, drawn: object) -> None:
    """On the very limit: never shown to be beyond it in more than 1%, nor within it in more than 5% of worlds."""
    limit, worlds, failed, passed = 0.05, 400, 0, 0
    for world in range(worlds):
        rows = drawn(np.random.default_rng(world), 3_000, limit)  # type: ignore[operator]
        seen = [
            compare(name, UNLABELLED, UNLABELLED, _pairs(rows.champion[:n], rows.challenger[:n]), limit, PASS_ALPHA)
            for n in LOOKS
        ]
        failed += max(each.log_e_fail for each in seen) >= math.log(1 / FAIL_ALPHA)
        passed += max(each.log_e_pass for each in seen) >= math.log(1 / PASS_ALPHA)
    assert failed <= 0.01 * worlds + 3
    assert passed <= 0.05 * worlds + 3


@pytest.mark.parametrize(("name", "drawn"), [("mae_increase", _errors), ("accuracy_degradation", _wrong)])
def test_what_is_much_better_or_worse_is_told(name: str, drawn: object) -> None:
    for rise, verdict in ((-0.1, Verdict.PASS), (0.3, Verdict.FAIL)):
        rows = drawn(np.random.default_rng(5), 3_000, rise)  # type: ignore[operator]
        quiet = Slices(*(np.array([n], dtype=np.int64) for n in (5_000, 0, 5_000, 0)))
        evidence = Evidence(quiet, {300.0: quiet}, requests_in_stage=5_000, replayed=rows)
        found = judge("full_metrics", [f"{name} > 0.05"], evidence, degradation=name)
        measured = {each.name: each for each in found.measurements}
        assert measured[name].verdict is verdict, measured[name]
        assert measured[name].value == pytest.approx(rise, abs=0.06)
        assert found.verdict is verdict
        assert found.breached == ((f"{name} > 0.05",) if verdict is Verdict.FAIL else ())


def test_the_unit_of_the_target_changes_nothing() -> None:
    rows = _errors(np.random.default_rng(1), 500, 0.1)
    one = replayed_gain(rows, relative=True)
    other = replayed_gain(_pairs(rows.champion * 1e6, rows.challenger * 1e6), relative=True)
    assert one is not None
    assert other is not None
    assert (one.value, one.error) == pytest.approx((other.value, other.error))


def test_few_rows_and_an_errorless_champion_say_nothing() -> None:
    rng = np.random.default_rng(2)
    few = _errors(rng, FEWEST_ROWS - 1, 0.5)
    found = compare("mae_increase", _served(few.challenger), _served(few.champion), few, 0.05, PASS_ALPHA)
    assert (found.log_e_fail, found.log_e_pass, found.rows_needed) == (0.0, 0.0, 1)
    nothing = np.zeros(500)
    assert replayed_gain(_pairs(nothing, nothing + 1.0), relative=True) is None
    assert served_gain(_served(nothing + 1.0), _served(nothing), relative=True) is None


def test_a_bad_hour_that_hits_both_weighs_the_same_in_both() -> None:
    """Most of the champion's answers are of the first stage, which was hard; the challenger's are of the second."""
    rng = np.random.default_rng(3)
    hard, easy = rng.lognormal(size=4_000) * 5.0, rng.lognormal(size=4_000)
    stage = np.repeat([0, 1], 4_000)
    champion = _served(np.r_[hard, easy], stage)
    challenger = _served(np.r_[hard[:100], easy], stage[3_900:])
    gain = served_gain(challenger, champion, relative=True)
    assert gain is not None
    assert abs(gain.value) < 3 * gain.error


@pytest.mark.parametrize(("task", "name"), [("regression", "mae_increase"), ("multiclass", "accuracy_degradation")])
def test_a_named_gate_asks_for_what_the_task_has(task: str, name: str) -> None:
    from tools import tasks

    assert tasks.of(task).degradation == name
    assert [each.name for each in limits("full_metrics", (), (), name)] == ["error_rate", "p99_latency_ms", name]


@pytest.mark.parametrize(("task", "right"), [("regression", "mae_increase"), ("multiclass", "accuracy_degradation")])
def test_a_condition_of_another_task_is_refused_in_one_line(task: str, right: str) -> None:
    from policies.declarations import Operations

    declared = declarations(task)
    declared["deployment_strategies"][STRATEGY]["rollback"]["conditions"] = ["auc_degradation > 0.05"]
    operations = Operations.model_validate(declared)
    strategy, binding = operations.deployment_strategies[STRATEGY], operations.models[MODEL]
    decision = may_use_strategy(STRATEGY, strategy, binding, StrategyFacts(labelled=True))
    assert decision.reasons == (f"{STRATEGY}: auc_degradation is not measured of a {task} model; write {right}",)
    declared["deployment_strategies"][STRATEGY]["rollback"]["conditions"] = [f"{right} > 0.05"]
    right_one = Operations.model_validate(declared).deployment_strategies[STRATEGY]
    assert may_use_strategy(STRATEGY, right_one, binding, StrategyFacts(labelled=True)).allowed
