"""What may be declared of a model by what it foretells; `tools.tasks` is what is done for it."""

from __future__ import annotations

from policies.metrics import ALLOWED, MEASURED, direction_of

METRICS_BY_TASK = {
    "binary": (
        "auc_roc", "average_precision", "f1", "accuracy", "log_loss", "brier", "calibration_error",
        "precision_at_10", "recall_at_10",
    ),
    "multiclass": ("accuracy", "log_loss", "f1", "auc_roc"),
    "regression": ("mae", "rmse", "r2"),
}  # fmt: skip
"""Metrics computed from labelled rows, by the model's task. Of several classes `f1` is the mean over the classes,
`auc_roc` the mean of each class against the rest."""

DEGRADATION = {"binary": "auc_degradation", "multiclass": "accuracy_degradation", "regression": "mae_increase"}
"""What a rollout measures of labels, by task: an absolute fall of the AUC or the accuracy below the champion's, a rise
of the mean absolute error as a share of the champion's."""

COMPARED = {"auc_degradation": "AUC", "accuracy_degradation": "accuracy", "mae_increase": "mean absolute error"}
"""What each of these compares, in words."""

SHADOWED = {"multiclass": "accuracy", "regression": "mae"}
"""The one metric of the answers that a shadow compares; of two classes it compares any."""


def metric_problem(name: str, task: str) -> str | None:
    """Why `name` cannot judge a model of this task; None where it can. Of two classes any metric there is can."""
    if task == "binary":
        return None if direction_of(name) is not None else f"{name!r} is no metric; allowed: {', '.join(ALLOWED)}"
    allowed = (*METRICS_BY_TASK[task], *MEASURED)
    return None if name in allowed else f"{name!r} is no metric of a {task} model; allowed: {', '.join(allowed)}"


def degradation_problem(name: str, task: str) -> str | None:
    """Why a rollout of a model of this task cannot have a limit on `name`; None where it can."""
    if name not in COMPARED or name == DEGRADATION[task]:
        return None
    return f"{name} is not measured of a {task} model; write {DEGRADATION[task]}"


def shadow_problem(name: str, task: str) -> str | None:
    """Why a shadow of a model of this task cannot compare the metric `name`; None where it can."""
    if task not in SHADOWED or name in (SHADOWED[task], "latency_p99"):
        return None
    return f"{name} of a {task} model is not compared in a shadow; write {SHADOWED[task]} or latency_p99"
