"""The built-in recipe: a scikit-learn pipeline with histogram gradient boosting, for any table."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from tools.tasks import BINARY, Outcomes, Task

if TYPE_CHECKING:
    import pandas as pd

    from policies.declarations.binding import Features
    from tools.tasks.predicted import Predicted

Floats = npt.NDArray[np.float64]
MAX_CATEGORIES = 200
_NUMBER = re.compile(r"\d+(\.\d+)?(e-?\d+)?")
_WHOLE = ("iterations", "leaves", "min_leaf_rows")


@dataclass(frozen=True)
class Hyperparameters:
    """What one fit is made with.

    `iterations` x `leaves` is the model's capacity, and with it its size and latency. The search leaves both
    alone: a challenger then differs from its champion by what it learned, not by being bigger.

    Attributes:
        half_life_days: age at which a row counts half; None counts all rows of the window alike.
    """

    learning_rate: float = 0.1
    iterations: int = 80
    leaves: int = 15
    min_leaf_rows: int = 100
    l2: float = 1.0
    half_life_days: float | None = None

    def as_params(self) -> dict[str, str]:
        """As text for the registry; a half-life of None is `none`."""
        return {name: "none" if value is None else f"{value}" for name, value in asdict(self).items()}

    @classmethod
    def from_params(cls, params: Mapping[str, str]) -> Hyperparameters:
        """What a version recorded (`as_params`); anything missing or unreadable keeps its default."""
        found: dict[str, Any] = {}
        for name in (field.name for field in fields(cls)):
            text = params.get(name, "")
            if name == "half_life_days" and text == "none":
                found[name] = None
            elif _NUMBER.fullmatch(text):
                found[name] = int(float(text)) if name in _WHOLE else float(text)
        return cls(**found)


def feature_frame(rows: pd.DataFrame, features: Features) -> pd.DataFrame:
    """The declared columns in the model's order: numeric as float64, categorical as text or None.

    Raises:
        KeyError: a declared column is not in `rows`.
    """
    import pandas as pd

    columns: dict[str, Any] = {}
    for name in features.numeric:
        columns[name] = pd.to_numeric(rows[name]).astype(np.float64)
    for name in features.categorical:
        text = rows[name].astype(object)
        columns[name] = text.where(text.notna(), None)
    return pd.DataFrame(columns, index=rows.index)


def build(features: Features, parameters: Hyperparameters, seed: int, task: Task = BINARY) -> Any:
    """An unfitted pipeline over a frame of the declared features (`feature_frame`).

    Categories are numbered (missing and never seen ones as missing, the rarest beyond 200 as one) and given
    to the trees as categories; numbers pass through, missing ones included.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    encode = OrdinalEncoder(
        handle_unknown="use_encoded_value",
        unknown_value=np.nan,
        encoded_missing_value=np.nan,
        max_categories=MAX_CATEGORIES,
    )
    parts = [("categories", encode, list(features.categorical))] if features.categorical else []
    columns = ColumnTransformer([*parts, ("numbers", "passthrough", list(features.numeric))])
    trees = task.learner()(
        learning_rate=parameters.learning_rate,
        max_iter=parameters.iterations,
        max_leaf_nodes=parameters.leaves,
        min_samples_leaf=parameters.min_leaf_rows,
        l2_regularization=parameters.l2,
        categorical_features=list(range(len(features.categorical))) or None,
        early_stopping=False,
        random_state=seed,
    )
    return Pipeline([("columns", columns), ("trees", trees)])


@contextmanager
def one_thread() -> Iterator[None]:
    """Keeps the trees to one thread inside the block (for this thread alone).

    Two fits side by side use two cores better than one fit on both: its threads wait for each other at every leaf, and
    on a busy machine that wait costs more than the work.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1, user_api="openmp"):
        yield


def fit(pipeline: Any, frame: pd.DataFrame, outcomes: Outcomes, task: Task = BINARY) -> Any:
    """Fits and returns `pipeline`."""
    with one_thread():
        return pipeline.fit(frame, task.targets(outcomes))


def predict(pipeline: Any, frame: pd.DataFrame, task: Task = BINARY) -> Predicted:
    """What a fitted pipeline says of each row."""
    with one_thread():
        return task.predict(pipeline, frame)
