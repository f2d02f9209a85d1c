"""What a task must say of itself, and what it hands out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from policies.errors import InputError
from tools.evaluate.metrics import Direction, Floats, Metric

if TYPE_CHECKING:
    from tools.tasks.predicted import Predicted

FEWEST_OF_A_KIND = 20
"""Rows that tell something apart below which nothing is said of them."""

Answer = float | dict[str, float]
"""What a caller is answered of one row: a score, a value, or the probability of every class."""

Outcomes = NDArray[Any]
"""What turned out to be true, shape (rows,): 0.0 or 1.0, values, or the names of classes."""


class Answers(Protocol):
    """Outcomes beside what a model said of the same rows, as the task's metrics take them."""

    @property
    def outcomes(self) -> NDArray[Any]:
        """What turned out to be true, as numbers: of several classes their places."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Support:
    """How much some outcomes can tell.

    Attributes:
        enough: whether anything can be said of them.
        short: what they lack, a clause; empty where there are enough.
        counted: how many of them tell something apart, for a segment's account; may be empty.
        seen: what is among them, for a gate's account; may be empty.
    """

    enough: bool
    short: str
    counted: str
    seen: str


@dataclass(frozen=True)
class Reading:
    """Two models on the same rows by the one measure that segments are judged by.

    Attributes:
        measure: its key (`auc`), and `title` its name for people (`AUC`).
        champion, challenger: its values; NaN where it is undefined.
        fall: how much worse the challenger is: absolute, or of an error relative to the champion's.
        low, high: 95% interval of how much better the challenger is, in the units of `fall`.
    """

    measure: str
    title: str
    champion: float
    challenger: float
    fall: float
    low: float
    high: float


class Task(Protocol):
    """What a model foretells, and all that follows from it."""

    name: str
    objective: str
    """The metric that chooses where none is declared."""
    metrics: tuple[str, ...]
    """Every metric computed from outcomes and answers."""
    exported: Mapping[str, Any]
    """What the manifest of an exported model says of its output, beside its type."""
    ranked: bool
    """Whether rollouts compare how rows are ranked (`weighed`), not mean losses."""
    degradation: str
    """What a rollout measures of labels (`policies.tasks.DEGRADATION`)."""
    uniform: str
    """What outcomes are called that do not differ: `of one class`."""

    def outcomes(self, values: Any, where: str = "labels") -> Outcomes:
        """A column of labels (none of them null) as outcomes. Raises InputError for what is none, found in `where`."""
        ...

    def support(self, outcomes: Outcomes) -> Support:
        """How much these outcomes can tell."""
        ...

    def positives(self, outcomes: Outcomes) -> int | None:
        """How many are positive; None where there is no such thing."""
        ...

    def learner(self) -> Any:
        """scikit-learn's histogram gradient boosting for it, a class."""
        ...

    def targets(self, outcomes: Outcomes) -> NDArray[Any]:
        """Outcomes as an estimator is fitted on them."""
        ...

    def asked(self, model: Any) -> Callable[[Any], Any]:
        """The fitted model's method that answers a frame. Raises InputError where it has none: another task's model."""
        ...

    def predict(self, model: Any, rows: Any) -> Predicted:
        """What a fitted scikit-learn model says of a frame of its features. Raises InputError for another task's."""
        ...

    def recorded(self, scores: Floats, labels: Any) -> Predicted:
        """What a table or log of predictions has of it: its `score` and, of several classes, its `label`."""
        ...

    def numbers(self, said: Predicted) -> list[float]:
        """Everything said, as one list: what an artifact must say again to the last digit."""
        ...

    def threshold(self, outcomes: Outcomes, said: Predicted) -> float | None:
        """Where a model with these answers on its validation rows flags a row; None where nothing is flagged."""
        ...

    def answers(self, outcomes: Outcomes, said: Predicted, threshold: float | None = None) -> Answers:
        """Outcomes and answers together."""
        ...

    def metric(self, name: str) -> Metric:
        """The metric of that name over `answers`. Raises KeyError with the names there are."""
        ...

    def reading(self, outcomes: Outcomes, champion: Predicted, challenger: Predicted) -> Reading:
        """Both models on the same rows by the measure of segments."""
        ...

    def weighed(self, outcomes: Outcomes, said: Predicted) -> Floats:
        """A number a row by which a rollout compares versions on labelled rows: of two classes the score, which is
        ranked, else a loss, whose mean is compared."""
        ...

    def link(self, estimator: Any) -> Callable[[Floats], Floats] | None:
        """Of a histogram gradient boosting: from the sums of its trees, shape (rows, trees an iteration), to what
        `raw` gives; None where it is another estimator's, or not understood."""
        ...

    def raw(self, model: Any, rows: Any) -> Floats:
        """What a fitted model, or a pipeline's last step, gives of a frame or a matrix: shape (rows,), or of several
        classes (rows, classes). Raises InputError for another task's model."""
        ...

    def decided(self, raw: Floats) -> NDArray[Any]:
        """What is decided by what `raw` gives, shape (rows,): another way to score must decide the same."""
        ...

    def served(self, raw: Floats, classes: Sequence[str]) -> list[Answer]:
        """What callers are answered. Raises ValueError that says what is wrong with it."""
        ...

    def rendered(self, answer: Answer) -> dict[str, Any]:
        """An answer as a caller gets it."""
        ...

    def logged(self, answer: Answer) -> tuple[float, int | str | None]:
        """An answer as the prediction log has it: `score` and `label`."""
        ...

    def label_type(self) -> Any:
        """The Arrow type of the log's `label`."""
        ...


def known_outcomes(task: Task, values: Any) -> tuple[Outcomes, NDArray[np.bool_]]:
    """The outcomes in a column of labels, and which of its values are null or NaN, and so none.

    Raises InputError for outcomes of another kind than the task's.
    """
    import pandas as pd

    series = pd.Series(values)
    missing = series.isna().to_numpy(dtype=bool)
    return task.outcomes(series[~missing].to_numpy()), missing


def finite(values: Any, where: str) -> Floats:
    """Outcomes that are numbers as float64. Raises InputError for what is no finite number."""
    try:
        numbers = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"holds {_odd(values)!r}; an outcome is a finite number", where=where) from None
    if np.isinf(numbers).any():
        raise InputError("holds infinite values; an outcome is a finite number", where=where)
    if np.isnan(numbers).any():
        raise InputError("holds NaN; an outcome that is not known is null", where=where)
    return numbers


def _odd(values: Any) -> Any:
    for value in values:
        try:
            float(value)
        except (TypeError, ValueError):
            return value
    raise AssertionError("all of them are numbers")


def differ(outcomes: Outcomes) -> bool:
    """Whether there is more than one value among them."""
    return bool(len(outcomes)) and bool((outcomes != outcomes[0]).any())


def measured(task: Task, answers: Answers) -> dict[str, float]:
    """Every metric of the task by name; an undefined one is NaN."""
    return {name: task.metric(name)(answers) for name in task.metrics}


def sound(said: Predicted) -> bool:
    """Whether everything said is a finite number."""
    parts = [said.scores, *([] if said.probabilities is None else [said.probabilities])]
    return all(bool(np.isfinite(part).all()) for part in parts)


def mean_interval(differences: Floats) -> tuple[float, float]:
    """The mean's 95% interval by its standard error; NaN with fewer than two rows."""
    if len(differences) < 2:
        return float("nan"), float("nan")
    mean, reach = float(differences.mean()), 1.959964 * float(differences.std(ddof=1)) / len(differences) ** 0.5
    return mean - reach, mean + reach


def no_metric(name: str, computed: Sequence[str], task: str) -> KeyError:
    """What to raise for a metric that the task has not."""
    return KeyError(f"no metric {name!r} of a {task}; there are {', '.join(computed)}")


__all__ = [
    "FEWEST_OF_A_KIND",
    "Answer",
    "Answers",
    "Direction",
    "Metric",
    "Outcomes",
    "Reading",
    "Support",
    "Task",
    "differ",
    "finite",
    "known_outcomes",
    "mean_interval",
    "measured",
    "no_metric",
    "sound",
]  # fmt: skip
