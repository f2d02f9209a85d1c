"""Live traffic as the prediction log records it, without a gateway in between.

Who answers is decided as the gateway decides it (the same buckets over the same ids), the scores are the registered
versions' own, and errors and latencies are the scenario's. The gateway itself is what the demo and its own tests run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from evals.suite.scenario import Broken, ServingFault, Variant
from policies.declarations.binding import ModelBinding
from tools.evaluate.metrics import Floats
from tools.serving.buckets import BucketRouter, threshold
from tools.systems import datasets
from tools.systems.systems import Systems

REQUESTS_AN_HOUR = ((5, 16_000), (10, 3_000), (25, 1_200))
"""Up to that share of the challenger: what its gates need to tell; beyond the last, LEAST."""
LEAST = 600
COPIED_AN_HOUR = 4_000
"""Where the challenger gets copies."""
ASKED_ABOUT = timedelta(days=7)
"""Customers of the week before are asked about, each by its newest features."""

Scores = Callable[[str], Floats]


class Traffic:
    """The shop's site asking about one model; the same seed and calls give the same log.

    `converts` are the chances that somebody whom the champion or the challenger answered brings what A/B tests count.
    """

    def __init__(
        self, systems: Systems, model: str, broken: Broken, seed: int, converts: Mapping[Variant, float]
    ) -> None:
        self._systems, self._model = systems, model
        self._fault, self._answers_fail = broken.challenger or ServingFault(), broken.answers_fail
        self._rng = np.random.default_rng(seed)
        self._converts = converts
        self._day: tuple[date, np.ndarray, Scores] | None = None

    def serve(self, start: datetime, end: datetime) -> None:
        """Writes the answers of [start, end) under the split in force. Does nothing where nobody can be asked about."""
        binding = self._systems.operations.model(self._model)
        split = self._systems.traffic.split(self._model)
        assert split is not None
        assert binding.prediction_log is not None
        known, scores_of = self._asked_about(binding, start)
        if not len(known):
            return
        hours = (end - start) / timedelta(hours=1)
        rate = next((n for pct, n in REQUESTS_AN_HOUR if split.challenger_pct <= pct), LEAST)
        asked = round(hours * (COPIED_AN_HOUR if split.mirrored else rate))
        picked = self._rng.integers(len(known), size=asked)
        ids = known[picked].astype(str)
        span = (end - start) // timedelta(microseconds=1)
        at = np.datetime64(start, "us") + np.sort(self._rng.integers(span, size=asked))
        router, bound = BucketRouter(self._model, split.salt), threshold(split.challenger_pct)
        challenged = np.zeros(asked, dtype=bool)
        if split.challenger is not None and bound:
            challenged = np.array([router.bucket(each) < bound for each in ids])
        at_fault = split.mirrored or split.challenger_pct >= self._fault.from_pct
        fails = (challenged | split.mirrored) & at_fault & (self._rng.random(asked) < self._fault.errors)
        slower = 1 + self._fault.slower_pct / 100 if at_fault else 1.0
        took = self._rng.gamma(4.0, 2.0, asked)
        champion = scores_of(split.champion)[picked]
        scores = champion
        if split.challenger is not None and challenged.any():
            scores = np.where(challenged, scores_of(split.challenger)[picked], champion)
        common = {"request_id": [f"{start:%Y%m%d%H}-{number}" for number in range(asked)], "id": ids, "at": at}
        failed = rescued = fails & challenged
        if self._answers_fail:
            failed = rescued | (~challenged & (self._rng.random(asked) < self._answers_fail))
        log = _log(
            common,
            variant=np.where(challenged, "challenger", "champion"),
            version=np.where(challenged, split.challenger or "", split.champion),
            scores=scores,
            fails=failed,
            latency=took * np.where(challenged, slower, 1.0),
            fallback=(split.champion, champion, rescued),
        )
        if split.mirrored and split.challenger is not None:
            copies = _log(
                common,
                variant=np.full(asked, "shadow"),
                version=np.full(asked, split.challenger),
                scores=scores_of(split.challenger)[picked],
                fails=fails,
                latency=took,
                timed=(self._rng.gamma(4.0, 2.0, asked) * slower, took),
            )
            log = pa.concat_tables([log, copies])
        self._systems.warehouse.append(binding.prediction_log, log, f"{start:%Y%m%dT%H%M%S}")
        self._convert(binding, ids, at, challenged, f"{start:%Y%m%dT%H%M%S}")

    def _asked_about(self, binding: ModelBinding, now: datetime) -> tuple[np.ndarray, Scores]:
        """The ids of the customers of a day, and what a version says of each of them."""
        if self._day is None or self._day[0] != now.date():
            midnight = datetime.combine(now.date(), datetime.min.time())
            rows = datasets.window(self._systems, self._model, midnight - ASKED_ABOUT, midnight)
            rows = rows.drop_duplicates(binding.id, keep="last")

            @cache
            def scores_of(version: str) -> Floats:
                model = self._systems.registry.load(binding.registry_name, version)
                return np.asarray(model.predict_proba(rows[binding.features.names])[:, 1], dtype=np.float64)

            self._day = now.date(), rows[binding.id].to_numpy(), scores_of
        return self._day[1:]

    def _convert(self, binding: ModelBinding, ids: np.ndarray, at: np.ndarray, treated: np.ndarray, name: str) -> None:
        """What came of the answers, known an hour later; each of the requests is offered something."""
        if not self._converts:
            return
        chance = np.where(treated, self._converts["challenger"], self._converts["champion"])
        came = self._rng.random(len(ids)) < chance
        for outcome in binding.outcomes.values():
            columns = {
                outcome.id: ids,
                outcome.time: pa.array(at, pa.timestamp("us")),
                outcome.value: came,
                outcome.arrived: pa.array(at + np.timedelta64(1, "h"), pa.timestamp("us")),
            }
            self._systems.warehouse.append(outcome.table, pa.table(columns), name)


def _log(
    common: Mapping[str, Any],
    *,
    variant: np.ndarray,
    version: np.ndarray,
    scores: Floats,
    fails: np.ndarray,
    latency: Floats,
    fallback: tuple[str, Floats, np.ndarray] | None = None,
    timed: tuple[Floats, Floats] | None = None,
) -> pa.Table:
    """Rows of the prediction log as the gateway writes them; `timed` are both versions' own times on a copy."""
    sound, text = pa.array(~fails), pa.string()
    none = pa.nulls(len(scores), pa.float64())
    instead, theirs, rescued = fallback if fallback is not None else (None, np.zeros(len(scores)), fails & False)
    unaided = pa.array(~rescued)
    model_ms, champion_ms = timed if timed is not None else (none, none)
    return pa.table(
        {
            "request_id": common["request_id"],
            "id": common["id"],
            "at": pa.array(common["at"], pa.timestamp("us")),
            "variant": variant,
            "version": version,
            "score": pa.array(scores, mask=fails),
            "label": pa.array((scores >= 0.5).astype(np.int64), mask=fails),
            "latency_ms": latency,
            "error": pc.if_else(sound, pa.scalar(None, text), "ValueError: cannot score"),
            "fallback_version": pc.if_else(unaided, pa.scalar(None, text), pa.scalar(instead, text)),
            "fallback_score": pa.array(theirs, mask=~rescued) if fallback is not None else none,
            "model_ms": model_ms,
            "champion_ms": champion_ms,
        }
    )
