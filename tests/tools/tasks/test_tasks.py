"""The tasks' numbers against scikit-learn's and against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.linear_model import LinearRegression, LogisticRegression

from policies.errors import InputError
from policies.metrics import MEASURED
from policies.tasks import METRICS_BY_TASK, metric_problem
from tools import tasks
from tools.evaluate.comparison import WeightedMetric
from tools.evaluate.metrics import Direction
from tools.evaluate.significance import improvement_interval
from tools.tasks.predicted import Predicted

NAMES = np.array(["a", "b", "c"])


def _classes(seed: int, rows: int, sharp: float) -> tuple[np.ndarray, Predicted]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, rows)
    odds = np.exp(rng.normal(size=(rows, 3)) + sharp * np.eye(3)[truth])
    chances = odds / odds.sum(axis=1, keepdims=True)
    best = chances.argmax(axis=1)
    return NAMES[truth], Predicted(chances[np.arange(rows), best], NAMES[best], chances, ("a", "b", "c"))


def test_several_classes_are_measured_as_scikit_learn_does() -> None:
    outcomes, said = _classes(1, 500, 1.0)
    found = tasks.measured(tasks.of("multiclass"), tasks.of("multiclass").answers(outcomes, said))
    wanted = {
        "accuracy": sk.accuracy_score(outcomes, said.labels),
        "f1": sk.f1_score(outcomes, said.labels, average="macro"),
        "log_loss": sk.log_loss(outcomes, said.probabilities),
        "auc_roc": sk.roc_auc_score(outcomes, said.probabilities, multi_class="ovr"),
    }
    assert found == pytest.approx(wanted, abs=1e-12)


def test_numbers_are_measured_as_scikit_learn_does() -> None:
    rng = np.random.default_rng(2)
    outcomes = rng.normal(size=400)
    said = Predicted(outcomes + rng.normal(size=400))
    found = tasks.measured(tasks.of("regression"), tasks.of("regression").answers(outcomes, said))
    wanted = {
        "mae": sk.mean_absolute_error(outcomes, said.scores),
        "rmse": sk.root_mean_squared_error(outcomes, said.scores),
        "r2": sk.r2_score(outcomes, said.scores),
    }
    assert found == pytest.approx(wanted, abs=1e-12)


@pytest.mark.parametrize("name", tasks.TASKS)
def test_what_may_be_declared_is_what_is_computed(name: str) -> None:
    task = tasks.of(name)
    for metric in (*METRICS_BY_TASK[name], *MEASURED):
        assert task.metric(metric).name == metric
        assert metric_problem(metric, name) is None
    assert task.objective in METRICS_BY_TASK[name]
    with pytest.raises(KeyError, match="there are"):
        task.metric("luck")
    assert metric_problem("luck", name) is not None


def test_metrics_of_another_task_are_refused() -> None:
    for metric, name in (("auc_roc", "regression"), ("rmse", "multiclass"), ("precision_at_5", "multiclass")):
        assert "is no metric of a" in (metric_problem(metric, name) or "")
        with pytest.raises(KeyError):
            tasks.of(name).metric(metric)


@pytest.mark.parametrize("name", ["multiclass", "regression"])
def test_an_interval_covers_no_difference_as_often_as_it_says(name: str) -> None:
    """Two equally good models: the 95% interval of the weighted improvement excludes zero in about 1 of 20 worlds."""
    task, apart, worlds = tasks.of(name), 0, 100
    weighed = {
        "multiclass": [WeightedMetric(name="log_loss", weight=1.0, direction=Direction.LOWER)],
        "regression": [WeightedMetric(name="rmse", weight=1.0, direction=Direction.LOWER)],
    }[name]
    for world in range(worlds):
        rng = np.random.default_rng(world)
        if name == "multiclass":
            outcomes, one = _classes(world, 300, 1.0)
            _, other = _classes(world, 300, 1.0)
            mixed = [np.exp(rng.normal(size=(300, 3)) * 0.5) * each.probabilities for each in (one, other)]
            chances = [each / each.sum(axis=1, keepdims=True) for each in mixed]
            answers = [
                task.answers(outcomes, Predicted(each.max(axis=1), NAMES[each.argmax(axis=1)], each, ("a", "b", "c")))
                for each in chances
            ]
        else:
            outcomes = rng.normal(size=300)
            answers = [task.answers(outcomes, Predicted(outcomes + rng.normal(size=300))) for _ in range(2)]
        low, high = improvement_interval(
            weighed, answers[0], answers[1], fixed={}, seed=world, replicates=200, metric_of=task.metric
        )
        apart += low > 0 or high < 0
    assert apart <= 11


@pytest.mark.parametrize("name", ["multiclass", "regression"])
def test_a_segments_interval_covers_the_truth(name: str) -> None:
    task, missed, worlds = tasks.of(name), 0, 200
    for world in range(worlds):
        rng = np.random.default_rng(world)
        if name == "regression":
            outcomes = rng.normal(size=400)
            champion, challenger = (Predicted(outcomes + size * rng.normal(size=400)) for size in (1.0, 1.2))
            truth = -0.2
        else:
            outcomes = NAMES[rng.integers(0, 3, 400)]
            champion, challenger = (
                Predicted(np.ones(400), np.where(rng.random(400) < share, outcomes, "none")) for share in (0.8, 0.7)
            )
            truth = -0.1
        found = task.reading(outcomes, champion, challenger)
        missed += not found.low <= truth <= found.high
        assert found.low <= -found.fall <= found.high
    assert missed <= 20


def test_a_model_of_another_task_is_refused() -> None:
    rows = np.random.default_rng(0).normal(size=(60, 2))
    number = LinearRegression().fit(rows, rows[:, 0])
    three = LogisticRegression().fit(rows, np.arange(60) % 3)
    with pytest.raises(InputError, match="foretells classes"):
        tasks.of("regression").predict(three, rows)
    for name in ("binary", "multiclass"):
        with pytest.raises(InputError, match="gives no probabilities"):
            tasks.of(name).predict(number, rows)
    with pytest.raises(InputError, match="a binary model two a row"):
        tasks.of("binary").predict(three, rows)
    assert tasks.of("multiclass").predict(three, rows).classes == ("0", "1", "2")


@pytest.mark.parametrize(
    ("task", "values", "told"),
    [
        ("regression", [1.0, np.inf], "loans: holds infinite values; an outcome is a finite number"),
        ("regression", [1.0, np.nan], "loans: holds NaN; an outcome that is not known is null"),
        ("regression", ["1.5", "much"], "loans: holds 'much'; an outcome is a finite number"),
        ("binary", ["yes", "no"], "loans: holds 'yes'; an outcome is a finite number"),
        ("binary", [0, 1, 2], "loans: holds 2; the outcomes of a binary model are 0 and 1"),
    ],
)
def test_what_is_no_outcome_is_told_in_one_line(task: str, values: list[object], told: str) -> None:
    with pytest.raises(InputError) as refused:
        tasks.of(task).outcomes(np.array(values, dtype=object), "loans")
    assert str(refused.value) == told


def test_labels_are_read_as_they_come() -> None:
    assert tasks.of("binary").outcomes(np.array([True, False], dtype=object)).tolist() == [1.0, 0.0]
    assert tasks.of("regression").outcomes(np.array(["1.5", "-2"])).tolist() == [1.5, -2.0]
    assert tasks.of("multiclass").outcomes(np.array([1, 2.0, "2"], dtype=object)).tolist() == ["1", "2", "2"]
    outcomes, missing = tasks.known_outcomes(tasks.of("binary"), [1, None, 0, np.nan])
    assert (outcomes.tolist(), missing.tolist()) == ([1.0, 0.0], [False, True, False, True])


def test_a_rare_class_does_not_block_for_ever_and_one_class_alone_says_nothing() -> None:
    several = tasks.of("multiclass")
    assert several.support(NAMES[[0] * 500 + [1] * 19 + [2]]).enough
    assert not several.support(NAMES[[0] * 500 + [1] * 19]).enough
    assert not several.support(NAMES[:0]).enough
    assert not tasks.of("regression").support(np.arange(19.0)).enough
