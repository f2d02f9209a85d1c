"""How much: the outcomes are numbers, and so is what a model says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from policies.errors import InputError
from policies.tasks import DEGRADATION
from tools.evaluate.metrics import METRICS, Floats, Metric, Scored
from tools.evaluate.metrics import metric as any_metric
from tools.tasks.predicted import Predicted
from tools.tasks.task import FEWEST_OF_A_KIND, Answer, Outcomes, Reading, Support, finite, mean_interval, no_metric


class Regression:
    """A number."""

    name = "regression"
    objective = "rmse"
    metrics = tuple(name for name, entry in METRICS.items() if entry.task == "regression")
    exported: Mapping[str, Any] = {}
    ranked = False
    degradation = DEGRADATION["regression"]
    uniform = "of one value"

    def outcomes(self, values: Any, where: str = "labels") -> Outcomes:
        """As float64; an infinite one is none."""
        return finite(values, where)

    def support(self, outcomes: Outcomes) -> Support:
        """20 rows are needed."""
        rows = len(outcomes)
        enough = rows >= FEWEST_OF_A_KIND
        return Support(enough, "" if enough else f"only {rows} rows, fewer than {FEWEST_OF_A_KIND}", "", "")

    def positives(self, outcomes: Outcomes) -> int | None:
        """There are none."""
        return None

    def learner(self) -> Any:
        """A regressor, by squared error."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        return HistGradientBoostingRegressor

    def targets(self, outcomes: Outcomes) -> NDArray[Any]:
        """As they are."""
        return outcomes

    def asked(self, model: Any) -> Callable[[Any], Any]:
        """`predict`; a classifier's would give classes, not values."""
        if hasattr(model, "predict_proba") or not hasattr(model, "predict"):
            raise InputError(
                "the model foretells classes, which a regression does not; it needs predict", where="model registry"
            )
        asked: Callable[[Any], Any] = model.predict
        return asked

    def predict(self, model: Any, rows: Any) -> Predicted:
        """The values."""
        return Predicted(self.raw(model, rows))

    def recorded(self, scores: Floats, labels: Any) -> Predicted:
        """The values."""
        return Predicted(scores)

    def numbers(self, said: Predicted) -> list[float]:
        """The values."""
        found: list[float] = said.scores.tolist()
        return found

    def threshold(self, outcomes: Outcomes, said: Predicted) -> float | None:
        """Nothing is flagged."""
        return None

    def answers(self, outcomes: Outcomes, said: Predicted, threshold: float | None = None) -> Scored:
        """Outcomes beside values."""
        return Scored(outcomes, said.scores)

    def metric(self, name: str) -> Metric:
        """`rmse`, `mae`, `r2`, and what is measured of the running model."""
        if name not in METRICS or METRICS[name].task not in (self.name, "system"):
            raise no_metric(name, self.metrics, self.name)
        return any_metric(name)

    def reading(self, outcomes: Outcomes, champion: Predicted, challenger: Predicted) -> Reading:
        """By the mean absolute error; the fall is relative to the champion's, so that it means the same of any unit."""
        theirs, ours = (np.abs(each.scores - outcomes) for each in (champion, challenger))
        before, after = (float(each.mean()) if len(each) else float("nan") for each in (theirs, ours))
        if not before:  # a champion without any error: nothing is relative to it
            return Reading("mae", "mean absolute error", before, after, 0.0 if not after else float("inf"), 0.0, 0.0)
        # Of a ratio of means: its linearisation around it, row by row.
        better = 1.0 - after / before - (ours - after / before * theirs) / before
        low, high = mean_interval(better)
        return Reading("mae", "mean absolute error", before, after, after / before - 1.0, low, high)

    def weighed(self, outcomes: Outcomes, said: Predicted) -> Floats:
        """The absolute error."""
        return np.abs(said.scores - outcomes)

    def link(self, estimator: Any) -> Callable[[Floats], Floats] | None:
        """The sum itself, but of losses whose sum is a logarithm."""
        from sklearn.ensemble import HistGradientBoostingRegressor

        if type(estimator) is not HistGradientBoostingRegressor or estimator.loss in ("gamma", "poisson"):
            return None
        return lambda sums: sums[:, 0]

    def raw(self, model: Any, rows: Any) -> Floats:
        """The values."""
        return np.asarray(self.asked(model)(rows), dtype=np.float64).reshape(-1)

    def decided(self, raw: Floats) -> NDArray[Any]:
        """Nothing is."""
        return np.zeros(len(raw), dtype=np.bool_)

    def served(self, raw: Floats, classes: Sequence[str]) -> list[Answer]:
        """Values."""
        values: list[Answer] = np.asarray(raw, dtype=np.float64).tolist()
        if not np.isfinite(raw).all():
            raise ValueError("the model's value is not a finite number")
        return values

    def rendered(self, answer: Answer) -> dict[str, Any]:
        """`value`."""
        return {"value": answer}

    def logged(self, answer: Answer) -> tuple[float, int | str | None]:
        """The value, and no label."""
        return answer, None  # type: ignore[return-value]

    def label_type(self) -> Any:
        """As of two classes, and always null."""
        import pyarrow as pa

        return pa.int64()
