"""What may be declared of a model by its task."""

from __future__ import annotations

import pytest

from policies.tasks import degradation_problem, metric_problem, shadow_problem


@pytest.mark.parametrize(
    ("name", "task", "right"),
    [
        ("auc_roc", "binary", True),
        ("latency_p99", "binary", True),
        ("mae", "multiclass", False),
        ("accuracy", "multiclass", True),
        ("latency_p99", "multiclass", True),
        ("auc_roc", "regression", False),
        ("mae", "regression", True),
        ("charm", "binary", False),
        ("charm", "regression", False),
    ],
)
def test_metrics(name: str, task: str, right: bool) -> None:
    problem = metric_problem(name, task)
    assert (problem is None) == right
    assert problem is None or (problem.startswith(f"{name!r} is no metric") and "allowed: " in problem)


@pytest.mark.parametrize(
    ("name", "task", "right"),
    [
        ("auc_degradation", "binary", True),
        ("auc_degradation", "regression", False),
        ("accuracy_degradation", "multiclass", True),
        ("mae_increase", "regression", True),
        ("mae_increase", "binary", False),
        ("error_rate", "regression", True),
    ],
)
def test_degradations(name: str, task: str, right: bool) -> None:
    assert (degradation_problem(name, task) is None) == right


@pytest.mark.parametrize(
    ("name", "task", "right"),
    [
        ("auc_roc", "binary", True),
        ("accuracy", "multiclass", True),
        ("latency_p99", "multiclass", True),
        ("auc_roc", "multiclass", False),
        ("mae", "regression", True),
        ("rmse", "regression", False),
    ],
)
def test_shadows(name: str, task: str, right: bool) -> None:
    assert (shadow_problem(name, task) is None) == right
