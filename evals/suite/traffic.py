"""Live traffic as the prediction log records it, without a gateway in between.

Who answers is decided as the gateway decides it (the same buckets over the same ids), the scores are the registered
versions' own, and errors and latencies are the scenario's. The gateway itself is what the demo and its own tests run.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from evals.suite.scenario import ServingFault
from policies.declarations.binding import ModelBinding
from tools.evaluate.metrics import Floats
from tools.serving.buckets import BucketRouter, threshold
from tools.systems import datasets
from tools.systems.systems import Systems

REQUESTS_AN_HOUR = ((5, 16_000), (10, 3_000), (25, 1_200))
"""Up to that share of the challenger: what its gates need to tell; beyond the last, LEAST."""
LEAST = 600
ASKED_ABOUT = timedelta(days=7)
"""Customers of the week before are asked about, each by its newest features."""


class Traffic:
    """The shop's site asking about one model; the same seed and calls give the same log."""

    def __init__(self, systems: Systems, model: str, fault: ServingFault | None, seed: int) -> None:
        self._systems, self._model, self._fault = systems, model, fault or ServingFault()
        self._rng = np.random.default_rng(seed)
        self._router = BucketRouter(model)

    def serve(self, start: datetime, end: datetime) -> None:
        """Writes the answers of [start, end) under the split in force. Does nothing where nobody can be asked about."""
        binding = self._systems.operations.model(self._model)
        split = self._systems.traffic.split(self._model)
        assert split is not None
        assert binding.prediction_log is not None
        rows = datasets.window(self._systems, self._model, start - ASKED_ABOUT, start)
        hours = (end - start) / timedelta(hours=1)
        asked = round(hours * next((n for pct, n in REQUESTS_AN_HOUR if split.challenger_pct <= pct), LEAST))
        if rows.empty:
            return
        picked = self._rng.integers(len(rows), size=asked)
        ids = rows[binding.id].to_numpy()
        bound = threshold(split.challenger_pct)
        routed = np.array([self._router.bucket(str(each)) < bound for each in ids])[picked]
        challenged = routed if split.challenger else np.zeros(asked, dtype=bool)
        scores = self._scores(binding, rows, split.champion)[picked]
        if split.challenger is not None and challenged.any():
            scores = np.where(challenged, self._scores(binding, rows, split.challenger)[picked], scores)
        bad = challenged & (split.challenger_pct >= self._fault.from_pct)
        fails = bad & (self._rng.random(asked) < self._fault.errors)
        latency = self._rng.gamma(4.0, 2.0, asked) * np.where(bad, 1 + self._fault.slower_pct / 100, 1.0)
        span = (end - start) // timedelta(microseconds=1)
        at = np.datetime64(start, "us") + np.sort(self._rng.integers(span, size=asked))
        sound = pa.array(~fails)
        text = pa.string()
        log = pa.table(
            {
                "request_id": [f"{start:%Y%m%d%H}-{number}" for number in range(asked)],
                "id": [str(each) for each in ids[picked]],
                "at": pa.array(at, pa.timestamp("us")),
                "variant": np.where(challenged, "challenger", "champion"),
                "version": np.where(challenged, split.challenger or "", split.champion),
                "score": pa.array(scores, mask=fails),
                "label": pa.array((scores >= 0.5).astype(np.int64), mask=fails),
                "latency_ms": latency,
                "error": pc.if_else(sound, pa.scalar(None, text), "ValueError: cannot score"),
                "fallback_version": pc.if_else(sound, pa.scalar(None, text), split.champion),
                "fallback_score": pa.array(np.where(fails, 0.5, np.nan), mask=~fails),
            }
        )
        self._systems.warehouse.append(binding.prediction_log, log, f"{start:%Y%m%dT%H%M%S}")

    def _scores(self, binding: ModelBinding, rows: pd.DataFrame, version: str) -> Floats:
        model = self._systems.registry.load(binding.registry_name, version)
        return np.asarray(model.predict_proba(rows[binding.features.names])[:, 1], dtype=np.float64)
