"""A small shop for rollouts: real store, warehouse, traffic and MLflow; requests are rows of the prediction log."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tests.tools.deploy.faulty import Dragging, Failing
from tools.deploy.permission import serving_version
from tools.systems.clock import VirtualClock
from tools.systems.registry import Registry
from tools.systems.store import Evidence, Kind
from tools.systems.systems import Systems

START = datetime(2026, 2, 2, 2, 0)
HOUR = timedelta(hours=1)
MODEL = "ChurnModel"
NAME = "churn_model"
OPERATIONS = """
models:
  ChurnModel:
    registry_name: churn_model
    target: churned
    id: customer_id
    time: scored_at
    table: ml.features
    holdout: ml.holdout
    prediction_log: ml.requests
    labels: {table: ml.labels, id: customer_id, time: scored_at, value: churned, arrived: labelled_at}
    features: {numeric: [a, b]}
deployment_strategies:
  CanaryDeploy:
    type: canary
    stages:
      - {traffic_pct: 5, duration: "1h", gate: "latency_and_errors"}
      - {traffic_pct: 10, duration: "4h", gate: "latency_errors_metrics"}
      - {traffic_pct: 25, duration: "12h", gate: "full_metrics"}
      - {traffic_pct: 50, duration: "24h", gate: "full_metrics"}
      - {traffic_pct: 100, duration: "stable", gate: "none"}
    rollback:
      auto: true
      conditions: ["error_rate > 0.01", "p99_latency_ms > 300", "auc_degradation > 0.05"]
  ErrorsOnly:
    type: canary
    stages:
      - {traffic_pct: 50, duration: 1h, gate: ["error_rate <= 0.5%", "p99_latency_ms < 0.2 s"]}
      - {traffic_pct: 100, duration: stable, gate: none}
    rollback: {conditions: ["error_rate > 0.01"]}
  ShadowDeploy:
    type: shadow
    duration: "7d"
    comparison: {champion: v3, challenger: v4, metrics: [auc_roc]}
    promotion_criteria: {challenger_wins_on: [auc_roc], max_latency_increase_pct: 10}
  BadShadow:
    type: shadow
    duration: "7d"
    comparison: {champion: v3, challenger: v4, metrics: [inference_ms]}
    promotion_criteria: {challenger_wins_on: [auc_roc], max_latency_increase_pct: 10}
  ABTestDeploy:
    type: ab_test
    variants: {control: {model: v3, traffic_pct: 50}, treatment: {model: v4, traffic_pct: 50}}
    success_metric: revenue
    duration: 14d
    statistical: {test: t_test, significance: 0.05, min_sample_size: 1000}
quality_gates:
  ChurnGate: {model: ChurnModel, metrics: {auc_roc: "> 0.60"}}
drift_monitors:
  ChurnDrift:
    model: ChurnModel
    baseline: {dataset: ml.features, timestamp: 2025-12-31}
    monitors: [{type: data_drift, method: psi, threshold: 0.2, features: all, frequency: daily}]
    alerts: {channels: [slack], escalation: {warning: data-team, critical: oncall}}
systems:
  clock: virtual
  people: {data-team: {slack: "#data"}, oncall: {slack: "#oncall"}}
"""


def rows(rng: np.random.Generator, n: int) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """Features a, b and whether the customer leaves: 8% do, those with a high `a`."""
    frame = pd.DataFrame({"a": rng.normal(size=n), "b": rng.normal(size=n)})
    return frame, (frame["a"] + rng.normal(size=n) > 1.99).to_numpy()


@pytest.fixture(scope="session")
def registered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow with version 1 (fair, the champion), 2 (better), 3 (worse), 4 (slow) and 5 (fails on some)."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    home = tmp_path_factory.mktemp("mlflow")
    registry = Registry(f"sqlite:///{home}/mlflow.db", home / "models")
    frame, _ = rows(np.random.default_rng(0), 4_000)
    for learned in (frame["a"] + frame["b"], frame["a"], frame["a"] + 4 * frame["b"]):
        pipeline = make_pipeline(LogisticRegression()).fit(frame, learned > 1.4)
        registry.register(NAME, pipeline, example=frame[:5], params={}, metrics={}, tags={})
    for faulty in (Dragging(), Failing()):
        pipeline = make_pipeline(faulty).fit(frame, frame["a"] > 1.4)
        registry.register(NAME, pipeline, example=frame[:5], params={}, metrics={}, tags={})
    registry.set_alias(NAME, "champion", "1")
    return home


def first_label(systems: Systems) -> None:
    """A label of long ago: the model's labels do arrive."""
    at = pa.array([START - timedelta(days=90)], pa.timestamp("us"))
    told = {"customer_id": np.array([-1]), "scored_at": at, "churned": np.array([False]), "labelled_at": at}
    systems.warehouse.append("ml.labels", pa.table(told), "first")


class Shop:
    """Lets requests and labels happen."""

    def __init__(self, systems: Systems) -> None:
        self.systems = systems
        self.rng = np.random.default_rng(1)
        self._customers = 0

    @property
    def now(self) -> datetime:
        return self.systems.clock.now()

    def set(self, now: datetime) -> None:
        clock = self.systems.clock
        assert isinstance(clock, VirtualClock)
        clock.set(now)

    def gate(self, version: str, status: str = "passed", digest: str | None = None) -> Evidence:
        """A gate result for the version's very artifact."""
        digest = digest or self.systems.registry.get(NAME, version).digest
        champion = serving_version(self.systems, MODEL)
        body = {"artifact_digest": digest, "champion": champion, "holdout_digest": "h"}
        return self.systems.store.add(Kind.gate, MODEL, body, at=self.now, version=version, status=status)

    def live(
        self,
        hours: float,
        requests: int,
        *,
        errors: float = 0.0,
        both_fail: bool = False,
        slow: float = 0.0,
        labels: bool = True,
        served: Callable[[str], str] | None = None,
    ) -> None:
        """Time passes and people ask; `errors` and `slow` are the challenger's shares, or both variants'. `served` says
        which version answered an id, where something else than the split on record decides.
        """
        start, end = self.now, self.now + timedelta(hours=hours)
        split = self.systems.traffic.split(MODEL)
        assert split is not None
        frame, leaves = rows(self.rng, requests)
        times = pd.date_range(start, end, periods=requests + 1, inclusive="left").astype("datetime64[us]")
        ids = self._customers + np.arange(requests)
        self._customers += requests
        challenged = self.rng.random(requests) * 100 < split.challenger_pct
        if served is not None:
            challenged = np.array([served(str(each)) == split.challenger for each in ids])
        fails = (self.rng.random(requests) < errors) & (challenged | both_fail)
        drags = (self.rng.random(requests) < slow) & (challenged | both_fail)
        versions = np.where(challenged, split.challenger or "", split.champion)
        scores = np.zeros(requests)
        for version in np.unique(versions):
            asked = versions == version
            scores[asked] = self.systems.registry.load(NAME, version).predict_proba(frame[asked])[:, 1]
        log = pa.table(
            {
                "request_id": [f"r{each}" for each in ids],
                "id": [str(each) for each in ids],
                "at": pa.array(times),
                "variant": np.where(challenged, "challenger", "champion"),
                "version": versions,
                "score": pa.array(scores, mask=fails),
                "label": pa.array(scores > 0.5, mask=fails),
                "latency_ms": np.where(drags, 900.0, self.rng.gamma(4.0, 2.0, requests)),
                "error": pa.array(np.where(fails, "boom", None), pa.string()),
            }
        )
        name = f"{start:%Y%m%dT%H%M%S%f}"
        self.systems.warehouse.append("ml.requests", log, name)
        features = {"customer_id": ids, "scored_at": pa.array(times), "a": frame["a"], "b": frame["b"]}
        self.systems.warehouse.append("ml.features", pa.table(features), name)
        if labels:
            delay = np.where(self.rng.random(requests) < 0.35, self.rng.random(requests) * 24, 200.0)
            arrived = times + pd.to_timedelta(np.ceil(delay * 3600), unit="s")
            told = {
                "customer_id": ids,
                "scored_at": pa.array(times),
                "churned": leaves,
                "labelled_at": pa.array(arrived),
            }
            self.systems.warehouse.append("ml.labels", pa.table(told), name)
        self.set(end)

    def told_late(self, n: int, *, scored: datetime, arrived: datetime) -> None:
        """`n` customers scored at one time, whose label arrives at another; nobody asks for their scores."""
        frame, leaves = rows(self.rng, n)
        ids, self._customers = self._customers + np.arange(n), self._customers + n
        key = {"customer_id": ids, "scored_at": pa.array([scored] * n, pa.timestamp("us"))}
        self.systems.warehouse.append(
            "ml.features", pa.table({**key, "a": frame["a"], "b": frame["b"]}), f"late{ids[0]}"
        )
        told = {**key, "churned": leaves, "labelled_at": pa.array([arrived] * n, pa.timestamp("us"))}
        self.systems.warehouse.append("ml.labels", pa.table(told), f"late{ids[0]}")


@pytest.fixture
def shop(tmp_path: Path, registered: Path) -> Iterator[Shop]:
    """A shop served by version 1."""
    (tmp_path / "operations.yaml").write_text(OPERATIONS)
    (tmp_path / "warehouse").mkdir()
    (tmp_path / ".guardian").mkdir()
    shutil.copy(registered / "mlflow.db", tmp_path / ".guardian" / "mlflow.db")
    systems = Systems.open(tmp_path / "operations.yaml")
    made = Shop(systems)
    made.set(START)
    first_label(systems)
    systems.traffic.set(MODEL, "1", at=START, why="first champion", rests_on=None)
    yield made
    systems.close()
