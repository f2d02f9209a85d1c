"""Metrics of models with several classes, over one prepared set of outcomes and predictions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from policies.errors import InputError
from tools.evaluate.metrics import Floats, Scored
from tools.evaluate.metrics import auc_roc as binary_auc
from tools.tasks.predicted import Names, Predicted

_FLOOR = 1e-15


@dataclass(frozen=True)
class Classified:
    """`outcomes` and `labels` as positions in all classes seen; `probabilities`, shape (rows, classes), may be None."""

    outcomes: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: Floats | None
    classes: int

    def __len__(self) -> int:
        return len(self.outcomes)

    @cached_property
    def against_rest(self) -> list[Scored]:
        """Of each class its probabilities beside whether it came true. Raises InputError without probabilities."""
        probabilities = _probabilities(self)
        return [Scored((self.outcomes == k).astype(np.float64), probabilities[:, k]) for k in range(self.classes)]


ClassMetric = Callable[[Classified, Floats], float]


def classified(outcomes: Names, predicted: Predicted) -> Classified:
    """Outcomes beside predictions; a class the model does not know has no probability."""
    assert predicted.labels is not None
    names = list(predicted.classes)
    known = set(names)
    names += sorted((set(outcomes.tolist()) | set(predicted.labels.tolist())) - known)
    place = {name: i for i, name in enumerate(names)}
    probabilities = predicted.probabilities
    if probabilities is not None:
        strange = np.zeros((len(probabilities), len(names) - probabilities.shape[1]))
        probabilities = np.hstack([probabilities, strange])
    true, said = (
        np.fromiter((place[name] for name in side.tolist()), np.int64, len(side))
        for side in (outcomes, predicted.labels)
    )
    return Classified(true, said, probabilities, len(names))


def accuracy(rows: Classified, weights: Floats) -> float:
    """Share of rows whose class was foretold."""
    return _ratio(float(weights @ (rows.outcomes == rows.labels)), float(weights.sum()))


def f1(rows: Classified, weights: Floats) -> float:
    """Mean over the classes seen of 2 TP / (2 TP + FP + FN)."""
    hits = np.bincount(rows.outcomes, weights * (rows.outcomes == rows.labels), rows.classes)
    sizes = np.bincount(rows.outcomes, weights, rows.classes) + np.bincount(rows.labels, weights, rows.classes)
    seen = sizes > 0
    return float(np.mean(2 * hits[seen] / sizes[seen])) if seen.any() else float("nan")


def log_loss(rows: Classified, weights: Floats) -> float:
    """Mean negative log likelihood of the true class in nats, probabilities clipped to [1e-15, 1]."""
    given = _probabilities(rows)[np.arange(len(rows.outcomes)), rows.outcomes]
    return _ratio(float(weights @ -np.log(np.clip(given, _FLOOR, 1.0))), float(weights.sum()))


def auc_roc(rows: Classified, weights: Floats) -> float:
    """Mean over the classes of the area under the curve of that class against the rest (Provost & Domingos 2000)."""
    areas = [binary_auc(each, weights) for each in rows.against_rest]
    defined = [area for area in areas if np.isfinite(area)]
    return float(np.mean(defined)) if defined else float("nan")


CLASS_METRICS: dict[str, ClassMetric] = {"accuracy": accuracy, "f1": f1, "log_loss": log_loss, "auc_roc": auc_roc}
FROM_LABELS = ("accuracy", "f1")
"""Those that need no probabilities."""


def class_metric(name: str) -> ClassMetric:
    """The metric `name` of several classes. Raises InputError that lists those there are."""
    if name not in CLASS_METRICS:
        raise InputError(f"no metric {name!r} of several classes; there are {', '.join(CLASS_METRICS)}", where="metric")
    return CLASS_METRICS[name]


def _probabilities(rows: Classified) -> Floats:
    if rows.probabilities is None:
        raise InputError("needs the probability of every class, and only that of the class foretold is recorded")
    return rows.probabilities


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom else float("nan")
