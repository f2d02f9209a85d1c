"""One model of 20 features, in two versions, registered as a user's would be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tools.systems.systems import Systems

MODEL, NAME = "ChurnModel", "churn_model"
FEATURES = tuple(f"f{i}" for i in range(20))
SCALED, BARE = ("1", "2"), ("3", "4")
"""Versions, champion and challenger: of scikit-learn's own steps, and of trees alone."""
SLOW = "5"
"""The version that `slow` registers."""
NIGHT = datetime(2026, 1, 6, 2)
ALONE = "instances: {min: 1, max: 1}"
_OPERATIONS = f"""
models:
  {MODEL}:
    registry_name: {NAME}
    target: churned
    id: customer_id
    time: scored_at
    table: ml.features
    holdout: ml.holdout
    prediction_log: ml.requests
    labels: {{table: ml.labels, id: customer_id, time: scored_at, value: churned, arrived: labelled_at}}
    features: {{numeric: [{", ".join(FEATURES)}]}}
serving_infra:
  ChurnServing:
    patterns:
      - {{name: real_time, endpoint: /predict, $scaling}}
      - {{name: nightly, schedule: "0 6 * * *", input: ml.features, output: ml.daily, timeout_minutes: 60}}
"""


def frame(rows: int, seed: int = 0) -> pd.DataFrame:
    """Customers, all features numbers."""
    return pd.DataFrame(np.random.default_rng(seed).normal(size=(rows, len(FEATURES))), columns=list(FEATURES))


def fitted(seed: int, *, scaled: bool) -> Any:
    """Histogram gradient boosting of 100 trees, alone or behind scaling."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = frame(20_000, seed)
    churned = rows["f0"] + rows["f1"] * rows["f2"] + np.random.default_rng(seed).normal(size=len(rows)) > 1.0
    trees = HistGradientBoostingClassifier(random_state=seed, early_stopping=False)
    return make_pipeline(*([StandardScaler()] if scaled else []), trees).fit(rows, churned)


def slow(systems: Systems) -> None:
    """Registers one more version, which takes half a second to answer."""
    from evals.benchmarks.serving.slow import Slow

    rows = frame(5)
    systems.registry.register(NAME, Slow().fit(rows, None), example=rows, params={}, metrics={}, tags={})
    systems.registry.fetch(NAME, SLOW)


def declare(home: Path, scaling: str) -> None:
    """Writes the declarations, with the fields of the real-time pattern that say how many instances there are."""
    (home / "operations.yaml").write_text(_OPERATIONS.replace("$scaling", scaling))


@contextmanager
def registered(home: Path, scaling: str = ALONE) -> Iterator[Systems]:
    """The systems of a new folder with four versions in its MLflow, two SCALED and two BARE."""
    declare(home, scaling)
    (home / "warehouse").mkdir()
    systems = Systems.open(home / "operations.yaml")
    try:
        for version in (*SCALED, *BARE):
            pipeline = fitted(int(version), scaled=version in SCALED)
            systems.registry.register(NAME, pipeline, example=frame(5), params={}, metrics={}, tags={})
            systems.registry.fetch(NAME, version)
        share(systems, SCALED[0])
        yield systems
    finally:
        systems.close()


def share(systems: Systems, champion: str, challenger: str | None = None, pct: float = 50.0) -> int:
    """Sets the split: so much to the challenger, where there is one. Gives its number."""
    pct, now = pct if challenger else 0.0, systems.clock.now()
    split = systems.traffic.set(
        MODEL, champion, challenger, pct, at=now, why="benchmark", rests_on=None, wait_seconds=30.0
    )
    return split.number
