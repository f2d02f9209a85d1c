"""A small warehouse around one model of any task, with real Parquet and a real state store."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from policies.declarations import load
from tools.check_drift.result import DriftReport
from tools.check_drift.tool import TOOL
from tools.systems.clock import VirtualClock
from tools.systems.notify import Notifications
from tools.systems.store import Store
from tools.systems.systems import Systems
from tools.systems.traffic import Splits
from tools.systems.warehouse import Warehouse

NOW = datetime(2026, 1, 21)
BASE = datetime(2025, 12, 22)
DAYS = 7
A_DAY = 600
CLASSES = ("bronze", "gold", "silver")


class Sigmoid:
    """P(1) by x alone."""

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        score = 1 / (1 + np.exp(-rows["x"].to_numpy(dtype=float)))
        return np.column_stack([1 - score, score])


class Softmax:
    """Three classes by x alone."""

    classes_ = np.array(CLASSES)

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        x = rows["x"].to_numpy(dtype=float)
        weights = np.exp(np.column_stack([-2 * x, 2 * x, np.zeros(len(x))]))
        return weights / weights.sum(axis=1, keepdims=True)


class Line:
    """3 x."""

    def predict(self, rows: pd.DataFrame) -> np.ndarray:
        return 3 * rows["x"].to_numpy(dtype=float)


MODELS = {"binary": Sigmoid(), "multiclass": Softmax(), "regression": Line()}


class Registry:
    """Holds one version."""

    def __init__(self, model: object) -> None:
        self.model = model

    def alias(self, name: str, alias: str) -> str | None:
        return "1" if alias == "champion" else None

    def load(self, name: str, version: str) -> object:
        return self.model

    def get(self, name: str, version: str) -> Any:
        return type("Version", (), {"params": {}, "tags": {}, "metrics": {}})


class World:
    """`checks` over a model of `task`, as of NOW; every table a frame that the test writes."""

    def __init__(
        self,
        home: Path,
        checks: list[dict[str, Any]],
        task: str = "binary",
        baseline: dict[str, Any] | None = None,
        features: dict[str, list[str]] | None = None,
        schema: dict[str, Any] | None = None,
    ) -> None:
        given = {"frequency": "daily", "window": f"{DAYS}d"}
        block = {"dataset": "features.baseline"} if baseline is None else baseline
        declared = {
            "models": {
                "Model": {
                    "registry_name": "model", "task": task, "target": "y", "id": "id", "time": "at",
                    "table": "features.live", "holdout": "features.holdout", "predictions": "predictions.daily",
                    "labels": {"table": "labels.y", "id": "id", "time": "at", "value": "y", "arrived": "known_at"},
                    "features": features or {"numeric": ["x", "z"], "categorical": ["kind"]},
                }
            },
            "schemas": {"Rows": schema or {"columns": {"id": {"type": "integer", "unique": True}}}},
            "drift_monitors": {
                "Drift": {"model": "Model", "baseline": block, "monitors": [{**given, **each} for each in checks]}
            },
        }  # fmt: skip
        path = home / "operations.yaml"
        path.write_text(yaml.safe_dump(declared))
        (home / "warehouse").mkdir()
        store = Store(f"sqlite:///{home / 'state.db'}")
        clock = VirtualClock(store)
        clock.set(NOW)
        registry: Any = Registry(MODELS[task])
        self.task, self.home = task, home
        self.random = np.random.default_rng(3)
        self.systems = Systems(
            operations=load(path),
            home=home,
            clock=clock,
            store=store,
            warehouse=Warehouse(home / "warehouse"),
            registry=registry,
            traffic=Splits(store),
            notifications=Notifications(store, clock),
        )

    def rows(self, start: datetime, days: int = DAYS, shift: float = 0.0) -> pd.DataFrame:
        """Rows around the clock: x normal around `shift`, z normal, kind a or b."""
        n = days * A_DAY
        at = pd.Timestamp(start) + pd.to_timedelta(np.arange(n) * 86400 / A_DAY, unit="s")
        return pd.DataFrame(
            {
                "id": np.arange(n),
                "at": at.astype("datetime64[us]"),
                "x": self.random.normal(shift, 1, n),
                "z": self.random.normal(5, 1, n),
                "kind": self.random.choice(["a", "b"], n),
            }
        )

    def live(self, days: int = DAYS, shift: float = 0.0) -> pd.DataFrame:
        """Rows of the days before NOW."""
        return self.rows(NOW - timedelta(days=days), days, shift)

    def labels(self, rows: pd.DataFrame, twist: float = 1.0, late: timedelta = timedelta(0)) -> pd.DataFrame:
        """What the model would foretell with x times `twist`, at random as it says; known `late` after the row."""
        seen = rows[["x"]] * twist
        model: Any = MODELS[self.task]
        if self.task == "regression":
            y: Any = model.predict(seen) + self.random.normal(0, 1, len(rows))
        else:
            odds = model.predict_proba(seen).cumsum(axis=1)
            place = (self.random.random((len(rows), 1)) > odds).sum(axis=1)
            y = place if self.task == "binary" else np.array(CLASSES)[place]
        known = (rows["at"] + pd.Timedelta(late)).astype("datetime64[us]")
        return rows[["id", "at"]].assign(y=y, known_at=known)

    def write(self, table: str, frame: pd.DataFrame | pa.Table, name: str = "rows") -> None:
        """Writes a file of a table."""
        rows = frame if isinstance(frame, pa.Table) else pa.Table.from_pandas(frame, preserve_index=False)
        self.systems.warehouse.append(table, rows, name)

    def settle(self) -> None:
        """Writes a baseline with its labels."""
        baseline = self.rows(BASE)
        self.write("features.baseline", baseline)
        self.write("labels.y", self.labels(baseline), "baseline")

    def happen(self, shift: float = 0.0, twist: float = 1.0) -> None:
        """Writes a settled baseline and live rows with labels that came at once."""
        self.settle()
        live = self.live(shift=shift)
        self.write("features.live", live)
        self.write("labels.y", self.labels(live, twist), "live")

    def check(self, at: datetime | None = None) -> DriftReport:
        """Runs the monitor."""
        report = TOOL.run(self.systems, TOOL.arguments(monitor="Drift", at=at))
        assert isinstance(report, DriftReport)
        return report
