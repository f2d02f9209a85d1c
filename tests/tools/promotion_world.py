"""A small world where promotions may go wrong: a real store and warehouse, a registry in memory, crashing seams."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from policies.declarations import parse
from policies.errors import InputError
from tools.systems.clock import VirtualClock
from tools.systems.notify import Notifications
from tools.systems.registry import CHALLENGER, CHAMPION, ModelVersion, Registry
from tools.systems.store import Kind, Store
from tools.systems.systems import Systems
from tools.systems.traffic import Splits
from tools.systems.warehouse import Warehouse

MODEL, NAME, CHALLENGE, STRATEGY = "Loans", "loans", "LoanChallenge", "Canary"
STRATEGY_OF = {"canary": STRATEGY, "shadow": "Shadow", "blue_green": "BlueGreen", "ab_test": "ABTest"}
START = datetime(2026, 3, 1)
MIN_ROWS = 300
OPERATIONS = f"""
models:
  Loans:
    registry_name: loans
    target: defaulted
    id: loan
    time: at
    table: loans
    holdout: holdout
    features: {{numeric: [a, b]}}
    prediction_log: requests
    labels: {{table: outcomes, id: loan, time: at, value: defaulted, arrived: known_at}}
    outcomes: {{profit: {{table: profits, id: loan, time: at, value: profit, arrived: known_at}}}}
champion_challengers:
  LoanChallenge:
    champion: {{model: loans, stage: production}}
    challenger: {{model: loans, stage: staging}}
    evaluation:
      dataset: holdout
      metrics: [{{name: auc_roc, weight: 1.0, direction: higher}}]
      min_weighted_improvement: 0.01
    promotion: {{auto_promote: true, require_quality_gate: true, notify: [team], deployment_strategy: Canary}}
quality_gates:
  LoanGate: {{model: Loans, metrics: {{auc_roc: "> 0.60"}}, min_rows: {MIN_ROWS}, max_age: 7d}}
deployment_strategies:
  Canary:
    type: canary
    stages:
      - {{traffic_pct: 10, duration: 1h, gate: latency_and_errors}}
      - {{traffic_pct: 50, duration: 24h, gate: latency_and_errors}}
      - {{traffic_pct: 100, duration: stable, gate: none}}
    rollback: {{auto: true, conditions: ["error_rate > 0.01"]}}
  Shadow:
    type: shadow
    duration: 24h
    comparison: {{champion: old, challenger: new, metrics: [auc_roc]}}
    promotion_criteria: {{challenger_wins_on: [auc_roc], max_latency_increase_pct: 10}}
  BlueGreen:
    type: blue_green
    environments: {{blue: {{endpoint: /blue, model: old}}, green: {{endpoint: /green, model: new}}}}
    switch: {{method: load_balancer, health_check_seconds: 30, rollback_timeout_seconds: 300}}
  ABTest:
    type: ab_test
    variants: {{control: {{model: old, traffic_pct: 50}}, treatment: {{model: new, traffic_pct: 50}}}}
    success_metric: profit
    duration: 2d
    statistical: {{test: t_test, significance: 0.05, min_sample_size: 100}}
systems: {{clock: virtual, people: {{team: {{email: team@bank.example}}}}}}
"""


class Crash(BaseException):
    """The process dies here: no `except Exception` survives it."""


class Ranker:
    """Scores by `a`, which tells, as far as `strength` goes, else by `b`, which does not."""

    def __init__(self, strength: float) -> None:
        self.strength = strength

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        drive = self.strength * rows["a"].to_numpy() + (1 - self.strength) * rows["b"].to_numpy()
        scores = 1 / (1 + np.exp(-drive))
        return np.column_stack([1 - scores, scores])


class MemoryRegistry(Registry):
    """The registry's calls on a dictionary, for hundreds of them a second."""

    def __init__(self) -> None:
        self.strengths: dict[str, float] = {}
        self.digests: dict[str, str] = {}
        self.tags: dict[tuple[str, str], str] = {}
        self.aliases: dict[str, str] = {}

    def store_version(self, strength: float) -> str:
        version = str(len(self.strengths) + 1)
        self.strengths[version], self.digests[version] = strength, f"{version}-original"
        return version

    def get(self, name: str, version: str) -> ModelVersion:
        if version not in self.strengths:
            raise InputError(f"has no version {version!r} of {name!r}", where="model registry")
        return ModelVersion(
            name=name, version=version, run_id=f"run-{version}", created_at=START, params={}, metrics={},
            tags={"guardian.train_end": "2026-01-01T00:00:00"},
            aliases=tuple(alias for alias, held in self.aliases.items() if held == version),
            digest=self.digests[version], size_mb=1.0,
        )  # fmt: skip

    def alias(self, name: str, alias: str) -> str | None:
        return self.aliases.get(alias)

    def set_alias(self, name: str, alias: str, version: str) -> None:
        self.aliases[alias] = version

    def delete_alias(self, name: str, alias: str) -> None:
        self.aliases.pop(alias, None)

    def tag(self, name: str, version: str, key: str, value: str) -> None:
        self.tags[version, key] = value

    def load(self, name: str, version: str) -> Ranker:
        return Ranker(self.strengths[version])

    def fetch(self, name: str, version: str) -> Any:
        return self.get(name, version)


class PromotionWorld:
    """The systems, reopened after each crash; version 1 serves, adopted by a person."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.registry = MemoryRegistry()
        self.warehouse = Warehouse(home / "warehouse")
        self.warehouse.root.mkdir()
        self._fuse: tuple[int, bool] | None = None
        self._parsed = parse(OPERATIONS, "operations.yaml")
        self.systems = self._open()
        self.registry.store_version(0.3)
        self.set_time(START)
        self.label(2_000)
        self.registry.aliases[CHAMPION] = "1"
        self.systems.traffic.set(MODEL, "1", at=START, why="first champion, adopted by a person", rests_on=None)

    @property
    def now(self) -> datetime:
        return self.systems.clock.now()

    def set_time(self, now: datetime) -> None:
        clock = self.systems.clock
        assert isinstance(clock, VirtualClock)
        clock.set(now)

    def retrain(self, strength: float) -> str:
        """A new challenger, as a training leaves it."""
        version = self.registry.store_version(strength)
        body = {"pipeline": "LoanRetrain", "version": version}
        self.systems.store.add(Kind.training_run, MODEL, body, at=self.now, version=version, status="completed")
        self.systems.registry.set_alias(NAME, CHALLENGER, version)
        return version

    def label(self, rows: int) -> None:
        """The holdout as of now: so many of its rows have a label."""
        rng = np.random.default_rng(rows)
        a, b = rng.normal(size=rows), rng.normal(size=rows)
        at = np.datetime64(START - timedelta(days=10), "us") + np.arange(rows).astype("timedelta64[m]")
        columns = {"loan": np.arange(rows), "at": pa.array(at), "a": a, "b": b}
        defaulted = rng.random(rows) < 1 / (1 + np.exp(1.5 - 2 * a))
        self.warehouse.append("holdout", pa.table({**columns, "defaulted": defaulted}), "all")

    def arm(self, calls: int, *, after: bool) -> None:
        """The process dies at the so many-th write from now: before it, or just after."""
        self._fuse = (calls, after)

    def disarm(self) -> None:
        """The power holds after all."""
        self._fuse = None

    def crash(self) -> None:
        """The process is gone; another opens the same store."""
        self._fuse = None
        self.systems.store.close()
        self.systems = self._open()

    def close(self) -> None:
        self.systems.close()

    def _open(self) -> Systems:
        store = Store(f"sqlite:///{self.home / 'state.db'}")
        clock = VirtualClock(store)
        traffic, notifications = Splits(store), Notifications(store, clock)
        systems = Systems(self._parsed, self.home, clock, store, self.warehouse, self.registry, traffic, notifications)
        for owner, names in (
            (store, ("add", "update")),
            (traffic, ("set",)),
            (self.registry, ("set_alias", "delete_alias", "tag")),
            (notifications, ("notify",)),
        ):
            for name in names:
                written = getattr(type(owner), name).__get__(owner)
                setattr(owner, name, self._fused(written))
        return systems

    def _fused(self, write: Callable[..., Any]) -> Callable[..., Any]:
        def written(*args: Any, **kwargs: Any) -> Any:
            if self._fuse is None:
                return write(*args, **kwargs)
            calls, after = self._fuse
            self._fuse = (calls - 1, after) if calls > 1 else None
            if calls > 1:
                return write(*args, **kwargs)
            if after:
                write(*args, **kwargs)
            raise Crash

        return written


def splits(world: PromotionWorld) -> list[tuple[str, str | None, float]]:
    """Every traffic split so far, oldest first: champion, challenger, its percentage."""
    from sqlalchemy import select

    from tools.systems.tables import SplitRow

    with world.systems.store.reading() as session:
        rows = session.scalars(select(SplitRow).order_by(SplitRow.number))
        return [(row.champion, row.challenger, row.challenger_pct) for row in rows]


def pairwise_rises(
    history: list[tuple[str, str | None, float]], seen: int
) -> list[tuple[str, float, float, tuple[str, str | None, float]]]:
    """(version, share before, share after, the split before) for every version whose share rose since split `seen`."""
    rises = []
    for before, after in itertools.pairwise(history[max(seen - 1, 0) :]):
        for version in {after[0], after[1]} - {None}:
            assert version is not None
            was, now = _share(version, before), _share(version, after)
            if now > was:
                rises.append((version, was, now, before))
    return rises


def _share(version: str, split: tuple[str, str | None, float]) -> float:
    champion, challenger, pct = split
    if champion == version:
        return 100.0 - (pct if challenger else 0.0)
    return pct if challenger == version else 0.0
