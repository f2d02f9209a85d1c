"""A small real world: operations.yaml, an MLflow registry, a SQLite store and a Parquet warehouse."""

from __future__ import annotations

import json
import os
import pickle
import sys
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from tools.serving.process import GatewayProcess
from tools.systems.registry import digest_file
from tools.systems.systems import Systems

HERE = Path(__file__).parent
os.environ.setdefault("OMP_NUM_THREADS", "1")  # trees of a few thousand rows gain nothing from threads that wait
sys.path.insert(0, str(HERE))

NUMERIC = ["recency", "orders", "spend"]
CATEGORICAL = ["market"]
MODEL = "ChurnModel"
NOW = datetime(2026, 1, 6, 12, 0)

OPERATIONS = """
serving_infra:
  ChurnServing:
    patterns:
      - name: real_time
        endpoint: /v1/churn/predict
        framework: fastapi
        instances: {min: 1, max: 1}
      - name: nightly
        schedule: "0 6 * * *"
        input: ml_features.customer_360
        output: ml_predictions.churn_daily
        compute: databricks
        timeout_minutes: 60
models:
  ChurnModel:
    registry_name: churn_model
    target: churned
    id: customer_id
    time: scored_at
    table: ml_features.customer_360
    holdout: ml_features.customer_360_holdout
    prediction_log: ml_predictions.churn_requests
    labels: {table: ml_labels.churn_actuals, id: customer_id, time: scored_at, value: churned, arrived: labelled_at}
    features:
      numeric: [recency, orders, spend]
      categorical: [market]
schemas:
  ChurnFeatures:
    columns:
      orders: {type: number, range: [0, 500]}
      spend: {type: number, nullable: true, range: [0, null]}
      market: {type: string, nullable: true, categories: [US, EU, APAC]}
      loaded_at: {type: timestamp}
drift_monitors:
  ChurnDrift:
    model: ChurnModel
    baseline: {dataset: ml_features.customer_360}
    monitors:
      - {type: schema_drift, method: contract_validation, expected_schema: ChurnFeatures, frequency: daily}
systems:
  clock: virtual
"""


def frame(rows: int, seed: int = 0) -> pd.DataFrame:
    """Customers with some missing spend."""
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "recency": rng.integers(0, 90, rows).astype(float),
            "orders": rng.poisson(3, rows).astype(float),
            "spend": rng.gamma(2.0, 40.0, rows),
            "market": rng.choice(["US", "EU", "APAC"], rows),
        }
    )
    table.loc[rng.random(rows) < 0.1, "spend"] = np.nan
    return table


@cache
def boosted(seed: int, trees: int = 20, recode: bool = True) -> Pipeline:
    """A pipeline as the trainer makes them."""
    table = frame(4_000, seed)
    logit = 0.05 * table["recency"] - 0.4 * table["orders"] + 0.6 * (table["market"] == "EU")
    churned = np.random.default_rng(seed).random(len(table)) < 1 / (1 + np.exp(-logit))
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = ColumnTransformer([("codes", encoder, CATEGORICAL), ("numbers", "passthrough", NUMERIC)])
    trees_ = HistGradientBoostingClassifier(
        max_iter=trees, categorical_features=[0] if recode else None, early_stopping=False, random_state=seed
    )
    return Pipeline([("columns", columns), ("trees", trees_)]).fit(table, churned.astype(int))


@dataclass
class World:
    """Systems over a temporary folder, and the versions registered there by name."""

    systems: Systems
    operations: Path
    versions: dict[str, str] = field(default_factory=dict)

    def register(self, name: str, pipeline: Any) -> str:
        """Registers and caches a pipeline under a name of the test's."""
        if name not in self.versions:
            version = self.systems.registry.register(
                "churn_model", pipeline, example=frame(5).fillna(0.0), params={}, metrics={}, tags={}
            ).version
            self.systems.registry.fetch("churn_model", version)
            self.versions[name] = version
        return self.versions[name]

    def cache(self, name: str, pipeline: Any) -> str:
        """Puts a pipeline where `fetch` would have put it, without the seconds that MLflow takes."""
        version = str(900 + len(self.versions))
        folder = self.systems.registry.cache / "churn_model" / version
        folder.mkdir(parents=True)
        (folder / "model.pkl").write_bytes(pickle.dumps(pipeline))
        features = [{"name": each, "kind": "numeric"} for each in NUMERIC]
        features += [{"name": each, "kind": "categorical"} for each in CATEGORICAL]
        digest = digest_file(folder / "model.pkl")
        manifest = {"name": "churn_model", "version": version, "digest": digest, "features": features}
        (folder / "manifest.json").write_text(json.dumps({**manifest, "file": "model.pkl"}))
        self.versions[name] = version
        return version

    def split(self, champion: str, challenger: str | None = None, pct: float = 0.0, *, mirrored: bool = False) -> int:
        """Sets the traffic split by the names given to `register`; gives its number."""
        return self.systems.traffic.set(
            MODEL,
            self.versions[champion],
            self.versions[challenger] if challenger else None,
            pct,
            mirrored=mirrored,
            at=NOW,
            why="test",
            rests_on=None,
            wait_seconds=20.0,
        ).number

    def log(self) -> pd.DataFrame:
        """The prediction log so far."""
        table: pd.DataFrame = self.systems.warehouse.read("ml_predictions.churn_requests").to_pandas()
        return table


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """`one` in the registry, `two` and the faulty ones in its cache; registering takes seconds, so once a session."""
    import faulty_models

    home = tmp_path_factory.mktemp("world")
    operations = home / "operations.yaml"
    operations.write_text(textwrap.dedent(OPERATIONS))
    (home / "warehouse").mkdir()
    systems = Systems.open(operations)
    systems.clock.set(NOW)  # type: ignore[attr-defined]
    built = World(systems, operations)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns about its own type hints while it is imported
        built.register("one", boosted(1))
    built.cache("two", boosted(2))
    for name in ("Misbehaving", "Slow", "Raising", "Crashing", "Nonsense"):
        model = getattr(faulty_models, name)()
        built.cache(name.lower(), Pipeline([("model", model)]).fit(frame(10), np.zeros(10)))
    yield built
    systems.close()


@pytest.fixture(scope="session")
def running(world: World) -> Iterator[GatewayProcess]:
    """The gateway that most tests share."""
    world.split("one")
    with GatewayProcess(world.operations, environment={"PYTHONPATH": _path()}) as process:
        yield process


@pytest.fixture
def gateway(world: World, running: GatewayProcess) -> GatewayProcess:
    """The shared gateway, serving `one` alone."""
    world.split("one")
    return running


@pytest.fixture
def own_gateway(world: World) -> Iterator[GatewayProcess]:
    """A gateway that the test may stop or kill."""
    world.split("one")
    with GatewayProcess(world.operations, environment={"PYTHONPATH": _path()}) as process:
        yield process


def _path() -> str:
    return f"{HERE}:{HERE.parents[2]}"


@pytest.fixture
def payload() -> Callable[..., dict[str, Any]]:
    """Builds a valid request body."""

    def build(id: str | None = None, **changes: Any) -> dict[str, Any]:
        features = {"recency": 1000, "orders": 2, "spend": 80.5, "market": "EU", **changes}
        return {"features": features, **({"id": id} if id is not None else {})}

    return build
