"""Whether: the outcomes are 0 and 1, a model says the probability of 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.errors import InputError
from policies.tasks import DEGRADATION
from tools.evaluate.metrics import METRICS, Floats, Metric, Scored, best_f1_threshold, metric
from tools.tasks.predicted import Predicted
from tools.tasks.task import FEWEST_OF_A_KIND, Answer, Outcomes, Reading, Support, finite

LABEL_AT = 0.5
"""Served scores from here on get label 1."""


class Binary:
    """Two classes."""

    name = "binary"
    objective = "auc_roc"
    metrics = tuple(name for name, entry in METRICS.items() if entry.task == "binary")
    exported: Mapping[str, Any] = {"label_1_from": LABEL_AT}
    ranked = True
    degradation = DEGRADATION["binary"]
    uniform = "of one class"

    def outcomes(self, values: Any, where: str = "labels") -> Outcomes:
        """As float64; others than 0 and 1 are none."""
        found = finite(values, where)
        odd = found[(found != 0.0) & (found != 1.0)]
        if len(odd):
            raise InputError(f"holds {odd[0]:g}; the outcomes of a binary model are 0 and 1", where)
        return found

    def support(self, outcomes: Outcomes) -> Support:
        """20 rows of either class are needed."""
        positives = int(outcomes.sum())
        rarest = min(positives, len(outcomes) - positives)
        enough = rarest >= FEWEST_OF_A_KIND
        short = "" if enough else f"only {rarest} rows of one class, fewer than {FEWEST_OF_A_KIND}"
        return Support(enough, short, f"{rarest} of the rarer class", f"{positives:,} positive")

    def positives(self, outcomes: Outcomes) -> int | None:
        """Those that are 1."""
        return int(outcomes.sum())

    def learner(self) -> Any:
        """A classifier."""
        from sklearn.ensemble import HistGradientBoostingClassifier

        return HistGradientBoostingClassifier

    def targets(self, outcomes: Outcomes) -> NDArray[Any]:
        """Whole numbers."""
        return outcomes.astype(np.int64)

    def asked(self, model: Any) -> Callable[[Any], Any]:
        """`predict_proba`."""
        return probabilities_of(model, self.name)

    def predict(self, model: Any, rows: Any) -> Predicted:
        """The probability of 1."""
        return Predicted(self.raw(model, rows))

    def recorded(self, scores: Floats, labels: Any) -> Predicted:
        """The scores."""
        return Predicted(scores)

    def numbers(self, said: Predicted) -> list[float]:
        """The scores."""
        found: list[float] = said.scores.tolist()
        return found

    def threshold(self, outcomes: Outcomes, said: Predicted) -> float | None:
        """Where F1 is highest."""
        return best_f1_threshold(outcomes, said.scores)

    def answers(self, outcomes: Outcomes, said: Predicted, threshold: float | None = None) -> Scored:
        """A row is flagged from the threshold on, from 0.5 without one."""
        return Scored(outcomes, said.scores, 0.5 if threshold is None else threshold)

    def metric(self, name: str) -> Metric:
        """Any of `tools.evaluate.metrics`."""
        return metric(name)

    def reading(self, outcomes: Outcomes, champion: Predicted, challenger: Predicted) -> Reading:
        """By AUC, with DeLong's interval of the paired difference."""
        from tools.evaluate.significance import delong

        found = delong(outcomes, champion.scores, challenger.scores)
        fall = found.auc_a - found.auc_b
        return Reading("auc", "AUC", found.auc_a, found.auc_b, fall, found.low, found.high)

    def weighed(self, outcomes: Outcomes, said: Predicted) -> Floats:
        """The score."""
        return said.scores

    def link(self, estimator: Any) -> Callable[[Floats], Floats] | None:
        """The logistic function of the one sum."""
        from scipy.special import expit
        from sklearn.ensemble import HistGradientBoostingClassifier

        if type(estimator) is not HistGradientBoostingClassifier or estimator.n_trees_per_iteration_ != 1:
            return None

        def linked(sums: Floats) -> Floats:
            scores: Floats = expit(sums[:, 0])
            return scores

        return linked

    def raw(self, model: Any, rows: Any) -> Floats:
        """The probability of 1."""
        probabilities = np.asarray(self.asked(model)(rows), dtype=np.float64)
        if probabilities.ndim != 2 or probabilities.shape[1] != 2:
            seen = f"gives probabilities of shape {probabilities.shape}"
            raise InputError(f"the model {seen}, a binary model two a row", where="model registry")
        return probabilities[:, 1]

    def decided(self, raw: Floats) -> NDArray[Any]:
        """The labels."""
        labels: NDArray[Any] = raw >= LABEL_AT
        return labels

    def served(self, raw: Floats, classes: Sequence[str]) -> list[Answer]:
        """Scores."""
        scores: list[Answer] = np.asarray(raw, dtype=np.float64).tolist()
        if not all(0.0 <= score <= 1.0 for score in scores):  # type: ignore[operator]
            raise ValueError("the model's score is not a probability")
        return scores

    def rendered(self, answer: Answer) -> dict[str, Any]:
        """`score` and `label`."""
        return {"score": answer, "label": int(answer >= LABEL_AT)}  # type: ignore[operator]

    def logged(self, answer: Answer) -> tuple[float, int | str | None]:
        """The score and the label."""
        return answer, int(answer >= LABEL_AT)  # type: ignore[operator, return-value]

    def label_type(self) -> Any:
        """0 or 1."""
        import pyarrow as pa

        return pa.int64()


def probabilities_of(model: Any, task: str) -> Callable[[Any], Any]:
    """A classifier's `predict_proba`. Raises InputError where the model has none."""
    if not hasattr(model, "predict_proba"):
        raise InputError(f"the model gives no probabilities, which a {task} model must", where="model registry")
    asked: Callable[[Any], Any] = model.predict_proba
    return asked
