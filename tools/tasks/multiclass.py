"""Which: the outcomes are names of classes, a model says the probability of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.metrics import DIRECTIONS
from policies.tasks import DEGRADATION
from tools.evaluate.metrics import METRICS, Floats, Metric
from tools.tasks.binary import probabilities_of
from tools.tasks.classes import CLASS_METRICS, Classified, classified
from tools.tasks.predicted import Predicted, class_names
from tools.tasks.task import FEWEST_OF_A_KIND, Answer, Outcomes, Reading, Support, mean_interval, no_metric


class Multiclass:
    """One of several classes."""

    name = "multiclass"
    objective = "log_loss"
    metrics = tuple(CLASS_METRICS)
    exported: Mapping[str, Any] = {}
    ranked = False
    degradation = DEGRADATION["multiclass"]
    uniform = "of one class"

    def outcomes(self, values: Any, where: str = "labels") -> Outcomes:
        """As names."""
        return class_names(values)

    def support(self, outcomes: Outcomes) -> Support:
        """20 rows outside the most frequent class are needed."""
        _, counts = np.unique(outcomes, return_counts=True)
        others = len(outcomes) - int(counts.max(initial=0))
        enough = others >= FEWEST_OF_A_KIND
        short = "" if enough else f"only {others} rows outside one class, fewer than {FEWEST_OF_A_KIND}"
        seen = f"{len(counts)} classes, of the rarest {int(counts.min(initial=len(outcomes))):,}"
        return Support(enough, short, f"{others} outside the most frequent class", seen)

    def positives(self, outcomes: Outcomes) -> int | None:
        """There are none."""
        return None

    def learner(self) -> Any:
        """A classifier."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier

    def targets(self, outcomes: Outcomes) -> NDArray[Any]:
        """The names."""
        return outcomes

    def asked(self, model: Any) -> Callable[[Any], Any]:
        """`predict_proba`."""
        return probabilities_of(model, self.name)

    def predict(self, model: Any, rows: Any) -> Predicted:
        """The probability of every class, the class with the highest, and that probability."""
        probabilities = self.raw(model, rows)
        classes = class_names(model.classes_)
        best = probabilities.argmax(axis=1)
        return Predicted(
            probabilities[np.arange(len(best)), best], classes[best], probabilities, tuple(classes.tolist())
        )

    def recorded(self, scores: Floats, labels: Any) -> Predicted:
        """The classes foretold and their probabilities."""
        return Predicted(scores, class_names(labels))

    def numbers(self, said: Predicted) -> list[float]:
        """Every probability, row by row."""
        assert said.probabilities is not None
        found: list[float] = said.probabilities.ravel().tolist()
        return found

    def threshold(self, outcomes: Outcomes, said: Predicted) -> float | None:
        """Nothing is flagged: the most probable class is foretold."""
        return None

    def answers(self, outcomes: Outcomes, said: Predicted, threshold: float | None = None) -> Classified:
        """Outcomes, the classes foretold and their probabilities."""
        return classified(outcomes, said)

    def metric(self, name: str) -> Metric:
        """`accuracy`, `f1`, `log_loss`, `auc_roc` (means over the classes), and what is measured of the model."""
        if name in CLASS_METRICS:
            computed = CLASS_METRICS[name]

            def compute(rows: Classified, weights: NDArray[np.float64] | None) -> float:
                return computed(rows, np.ones(len(rows)) if weights is None else weights)

            return Metric(name, DIRECTIONS[name], self.name, compute)
        if name in METRICS and METRICS[name].task == "system":
            return METRICS[name]
        raise no_metric(name, self.metrics, self.name)

    def reading(self, outcomes: Outcomes, champion: Predicted, challenger: Predicted) -> Reading:
        """By accuracy, with the interval of the paired difference."""
        theirs, ours = (np.asarray(each.labels == outcomes, np.float64) for each in (champion, challenger))
        before, after = (float(each.mean()) if len(each) else float("nan") for each in (theirs, ours))
        low, high = mean_interval(ours - theirs)
        return Reading("accuracy", "accuracy", before, after, before - after, low, high)

    def weighed(self, outcomes: Outcomes, said: Predicted) -> Floats:
        """1 for a wrong class, else 0."""
        return np.asarray(said.labels != outcomes, dtype=np.float64)

    def link(self, estimator: Any) -> Callable[[Floats], Floats] | None:
        """The softmax of the classes' sums."""
        from scipy.special import softmax
        from sklearn.ensemble import HistGradientBoostingClassifier

        if type(estimator) is not HistGradientBoostingClassifier or estimator.n_trees_per_iteration_ < 2:
            return None
        return lambda sums: np.asarray(softmax(sums, axis=1), dtype=np.float64)

    def raw(self, model: Any, rows: Any) -> Floats:
        """The probability of every class."""
        return np.asarray(self.asked(model)(rows), dtype=np.float64)

    def decided(self, raw: Floats) -> NDArray[Any]:
        """The places of the most probable classes."""
        best: NDArray[Any] = raw.argmax(axis=1)
        return best

    def served(self, raw: Floats, classes: Sequence[str]) -> list[Answer]:
        """Of each row the probability of every class."""
        if raw.ndim != 2 or raw.shape[1] != len(classes):
            raise ValueError(f"the model gives probabilities of shape {raw.shape} for {len(classes)} classes")
        if not ((raw >= 0.0) & (raw <= 1.0)).all() or not np.allclose(raw.sum(axis=1), 1.0, atol=1e-6):
            raise ValueError("the model's scores are no probabilities of classes")
        return [dict(zip(classes, row, strict=True)) for row in raw.tolist()]

    def rendered(self, answer: Answer) -> dict[str, Any]:
        """`label`, its probability as `score`, and the `probabilities` of all classes."""
        score, label = self.logged(answer)
        return {"score": score, "label": label, "probabilities": answer}

    def logged(self, answer: Answer) -> tuple[float, int | str | None]:
        """The most probable class and its probability; of equal ones the first, as `predict` has it."""
        assert isinstance(answer, dict)
        label = max(answer, key=answer.__getitem__)
        return answer[label], label

    def label_type(self) -> Any:
        """The name of the class."""
        import pyarrow as pa

        return pa.string()
