"""A small shop that is really served: a gateway process, requests over HTTP, rollouts on a virtual clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from tests.tools.deploy.conftest import MODEL, NAME, START, first_label, rows
from tools.deploy.permission import serving_version
from tools.deploy.rollout import Rollout
from tools.deploy.tool import TOOL, advance, rollback, run
from tools.serving.client import Response, send
from tools.serving.process import GatewayProcess
from tools.systems.clock import VirtualClock
from tools.systems.store import Kind
from tools.systems.systems import Systems

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
    outcomes:
      conversion_rate: {table: ml.offers, id: customer_id, time: offered_at, value: accepted, arrived: known_at}
deployment_strategies:
  CanaryDeploy:
    type: canary
    stages:
      - {traffic_pct: 50, duration: 1h, gate: latency_and_errors}
      - {traffic_pct: 100, duration: stable, gate: none}
  ShadowDeploy:
    type: shadow
    duration: 7d
    comparison: {champion: v3, challenger: v4, metrics: [auc_roc, f1, precision_at_10, latency_p99]}
    promotion_criteria: {challenger_wins_on: [auc_roc, f1], max_latency_increase_pct: 2000}
  StrictShadow:
    type: shadow
    duration: 7d
    comparison: {champion: v3, challenger: v4, metrics: [auc_roc]}
    promotion_criteria: {challenger_wins_on: [auc_roc], max_latency_increase_pct: 100}
  BlueGreenDeploy:
    type: blue_green
    environments:
      blue: {endpoint: /v1/churn/predict-blue, model: v3}
      green: {endpoint: /v1/churn/predict-green, model: v4}
    switch: {method: load_balancer, health_check_seconds: 30, rollback_timeout_seconds: 300}
  ABTestDeploy:
    type: ab_test
    variants: {control: {model: v3, traffic_pct: 50}, treatment: {model: v4, traffic_pct: 50}}
    success_metric: conversion_rate
    duration: 14d
    statistical: {test: chi_squared, significance: 0.05, min_sample_size: 400}
quality_gates:
  ChurnGate: {model: ChurnModel, metrics: {auc_roc: "> 0.60"}, max_age: 60d}
serving_infra:
  ChurnServing:
    patterns:
      - name: real_time
        endpoint: /v1/churn/predict
        instances: {min: 1, max: 1}
        sla: {latency_p99_ms: 1000, availability: 0.999, throughput_rps: 500}
systems:
  clock: virtual
"""


class LiveShop:
    """Lets customers ask over HTTP, and time pass."""

    def __init__(self, systems: Systems, gateway: GatewayProcess) -> None:
        self.systems = systems
        self.gateway = gateway
        self.rng = np.random.default_rng(3)
        self._customers = 0
        self._files = 0

    @property
    def now(self) -> datetime:
        return self.systems.clock.now()

    def wait(self, **passing: float) -> None:
        clock = self.systems.clock
        assert isinstance(clock, VirtualClock)
        clock.set(self.now + timedelta(**passing))

    def deploy(self, strategy: str, version: str = "2") -> Rollout:
        """On a fresh gate result for that version."""
        digest, champion = self.systems.registry.get(NAME, version).digest, serving_version(self.systems, MODEL)
        body = {"artifact_digest": digest, "champion": champion, "holdout_digest": "h"}
        self.systems.store.add(Kind.gate, MODEL, body, at=self.now, version=version, status="passed")
        began = run(self.systems, TOOL.arguments(strategy=strategy, model=MODEL, version=version))
        self.settled()
        return began

    def settled(self) -> None:
        """Waits until the gateway serves the split in force; a busy machine takes seconds to load a challenger."""
        split = self.systems.traffic.split(MODEL)
        until = time.monotonic() + 60
        while split is not None and self.gateway.readiness()["split"] != split.number:
            assert time.monotonic() < until, self.gateway.readiness()
            time.sleep(0.02)

    def step(self) -> Rollout:
        (result,) = advance(self.systems, self.now)
        self.settled()
        return result

    def reset(self) -> None:
        """Version 1 serves alone, and a quiet month passes."""
        if advance(self.systems, self.now):
            rollback(self.systems, MODEL, "the test is over")
        self.systems.traffic.set(MODEL, "1", at=self.now, why="reset", rests_on=None)
        self.settled()
        for alias in ("champion", "previous"):
            self.systems.registry.set_alias(NAME, alias, "1")
        self.wait(days=30)

    def ask(
        self,
        requests: int,
        *,
        rate: float | None = None,
        trouble: float = 0.0,
        keep: Callable[[str], bool] | None = None,
        a: float | None = None,
    ) -> list[Response]:
        """New customers ask, each once; their labels arrive within the hour. `trouble` is the value some have for a."""
        frame, leaves = rows(self.rng, requests)
        ids = self._customers + np.arange(requests)
        self._customers += requests
        if keep is not None:
            kept = np.array([keep(str(each)) for each in ids])
            frame, leaves, ids = frame[kept].reset_index(drop=True), leaves[kept], ids[kept]
        sent = frame.copy()
        if trouble:
            sent.loc[self.rng.random(len(sent)) < trouble, "a"] = a
        at = pa.array([self.now] * len(ids), pa.timestamp("us"))
        features = {"customer_id": ids, "scored_at": at, "a": frame["a"], "b": frame["b"]}
        known = pa.array([self.now + timedelta(hours=1)] * len(ids), pa.timestamp("us"))
        labels = {"customer_id": ids, "scored_at": at, "churned": leaves, "labelled_at": known}
        self._append("ml.features", features)
        self._append("ml.labels", labels)
        bodies = [
            {"id": str(each), "features": {"a": float(row.a), "b": float(row.b)}}
            for each, row in zip(ids, sent.itertuples(), strict=True)
        ]
        answers = send(self.gateway.predict_url, bodies, connections=8, rate=rate)
        self.gateway.wait_log_drained()
        assert all(answer.status == 200 for answer in answers)
        return answers

    def ask_at(self, endpoint: str) -> Response:
        """One request to one environment."""
        url = self.gateway.base_url + endpoint
        return send(url, [{"features": {"a": 0.5, "b": 0.0}}])[0]

    def offers(self, ids: list[str], accepted: Any) -> None:
        """What came of offers made now, known within the hour."""
        at = pa.array([self.now] * len(ids), pa.timestamp("us"))
        known = pa.array([self.now + timedelta(hours=1)] * len(ids), pa.timestamp("us"))
        table = {
            "customer_id": np.array(ids, dtype=np.int64),
            "offered_at": at,
            "accepted": accepted,
            "known_at": known,
        }
        self._append("ml.offers", table)

    def share(self) -> tuple[str, str | None, float]:
        split = self.systems.traffic.split(MODEL)
        assert split is not None
        return split.champion, split.challenger, split.challenger_pct

    def _append(self, table: str, columns: dict[str, Any]) -> None:
        self._files += 1
        self.systems.warehouse.append(table, pa.table(columns), f"{self._files:06d}")


def opened(systems: Systems, gateway: GatewayProcess) -> LiveShop:
    """The shop, served by version 1."""
    clock = systems.clock
    assert isinstance(clock, VirtualClock)
    clock.set(START)
    first_label(systems)
    systems.traffic.set(MODEL, "1", at=START, why="first champion", rests_on=None)
    return LiveShop(systems, gateway)


def measured(state: Rollout) -> dict[str, str]:
    """What the last gate measured: name → verdict."""
    return {each.name: str(each.verdict) for each in state.last_gate.measurements} if state.last_gate else {}


def answered(answers: list[Response]) -> set[str]:
    """The versions that answered."""
    return {answer.body["version"] for answer in answers}


def said(state: Rollout) -> str:
    """The last gate in words, for a test that fails."""
    gate = state.last_gate
    return (
        "" if gate is None else "; ".join([gate.detail, *(f"{each.name}: {each.detail}" for each in gate.measurements)])
    )
