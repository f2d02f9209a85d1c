"""A small world of numbers or of several classes: 300 parcels a day, whose reasons change on a given day."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tools.retrain.tool import train_first_champion
from tools.systems.clock import VirtualClock
from tools.systems.store import Kind
from tools.systems.systems import Systems

MODEL, PIPELINE, CHALLENGE, STRATEGY = "Parcels", "ParcelRetrain", "ParcelChallenge", "ParcelCanary"
FIRST = datetime(2026, 1, 1)
DAY = timedelta(days=1)
ROWS_A_DAY = 300
HOLDOUT_DAYS = 7
CLASSES = np.array(["air", "road", "sea"])
_JUDGED: dict[str, dict[str, Any]] = {
    "regression": {
        "objective": "rmse", "weights": [("rmse", 0.6, "lower"), ("r2", 0.4, "higher")], "gate": {"r2": "> 0.3"},
        "decay": ("mae", 50.0),
    },
    "multiclass": {
        "objective": "log_loss", "weights": [("log_loss", 0.6, "lower"), ("auc_roc", 0.4, "higher")],
        "gate": {"auc_roc": "> 0.6", "accuracy": "> 0.4"}, "decay": ("accuracy", 0.1),
    },
}  # fmt: skip


def declarations(task: str) -> dict[str, Any]:
    """What is declared of the world's model."""
    judged = _JUDGED[task]
    metrics = [{"name": n, "weight": w, "direction": d} for n, w, d in judged["weights"]]
    decay = judged["decay"]
    triggers: list[dict[str, Any]] = [
        {"type": "drift_detected", "source": "ParcelDrift", "min_severity": "warning", "cooldown_hours": 24},
        {"type": "performance_decay", "metric": decay[0], "threshold": decay[1], "window": "7d"},
    ]
    labels = {"table": "outcomes", "id": "parcel", "time": "at", "value": "outcome", "arrived": "known_at"}
    return {
        "models": {
            MODEL: {
                "registry_name": "parcels", "task": task, "target": "outcome", "id": "parcel", "time": "at",
                "table": "parcels", "holdout": "parcels_holdout", "labels": labels, "prediction_log": "parcel_log",
                "features": {"numeric": ["weight", "distance"], "categorical": ["region"]},
            }
        },
        "drift_monitors": {
            "ParcelDrift": {
                "model": MODEL, "baseline": {"dataset": "parcels"},
                "monitors": [{"type": "data_drift", "method": "psi", "threshold": 0.2, "frequency": "daily"}],
            }
        },
        "retraining_pipelines": {
            PIPELINE: {
                "model": MODEL, "triggers": triggers,
                "training": {"use_experiment": MODEL, "data_window": "rolling_90_days", "trials": 4,
                             "min_new_rows": 600, "max_rows": 5000},
                "promotion": {"min_improvement": 0.01, "metric": judged["objective"], "require_gate": True},
            }
        },
        "champion_challengers": {
            CHALLENGE: {
                "champion": {"model": "parcels", "stage": "production"},
                "challenger": {"model": "parcels", "stage": "staging"},
                "evaluation": {"dataset": "parcels_holdout", "metrics": metrics, "min_weighted_improvement": 0.01},
                "promotion": {"auto_promote": True, "require_quality_gate": True, "deployment_strategy": STRATEGY},
            }
        },
        "quality_gates": {
            "ParcelGate": {
                "model": MODEL, "metrics": judged["gate"], "min_rows": 500, "max_latency_ms": 5000,
                "segments": {"columns": ["region"], "max_degradation": 0.05, "min_rows": 300},
            }
        },
        "deployment_strategies": {
            STRATEGY: {
                "type": "canary",
                "stages": [
                    {"traffic_pct": 50, "duration": "1h", "gate": "full_metrics"},
                    {"traffic_pct": 100, "duration": "stable", "gate": "none"},
                ],
                "rollback": {"auto": True, "conditions": ["error_rate > 0.01", "p99_latency_ms > 2000"]},
            }
        },
        "serving_infra": {
            "ParcelServing": {
                "model": MODEL,
                "patterns": [{"name": "real_time", "endpoint": "/v1/parcels", "framework": "fastapi",
                              "instances": {"min": 1, "max": 1}}],
            }
        },
        "systems": {"clock": "virtual"},
    }  # fmt: skip


def rows_of(task: str, day: int, changed: bool) -> pd.DataFrame:
    """One day's rows with their outcome; labels are known two hours after the row."""
    rng = np.random.default_rng(day)
    weight, distance = rng.normal(size=ROWS_A_DAY), rng.normal(size=ROWS_A_DAY)
    region = rng.choice(np.array(["north", "south", None], dtype=object), ROWS_A_DAY)
    drive = 2.0 * (distance if changed else weight) + 0.5 * (region == "north")
    if task == "regression":
        outcome: Any = 100.0 + 10.0 * drive + 5.0 * rng.normal(size=ROWS_A_DAY)
    else:
        odds = np.exp(np.stack([drive, np.zeros(ROWS_A_DAY), -drive], axis=1))
        share = (odds / odds.sum(axis=1, keepdims=True)).cumsum(axis=1)
        outcome = CLASSES[(rng.random((ROWS_A_DAY, 1)) > share[:, :2]).sum(axis=1)]
    at = pd.date_range(FIRST + day * DAY, periods=ROWS_A_DAY, freq=DAY / ROWS_A_DAY, unit="us")
    return pd.DataFrame(
        {
            "parcel": day * ROWS_A_DAY + np.arange(ROWS_A_DAY), "at": at, "weight": weight, "distance": distance,
            "region": region, "outcome": outcome, "known_at": at + timedelta(hours=2),
        }
    )  # fmt: skip


class TaskWorld:
    """The world and its systems. `live(day)` lets time pass to that day's start; the last 7 days are the holdout."""

    def __init__(self, home: Path, task: str, change_on: int) -> None:
        import yaml

        (home / "operations.yaml").write_text(yaml.safe_dump(declarations(task), sort_keys=False))
        (home / "warehouse").mkdir()
        self.task, self.change_on, self.today = task, change_on, 0
        self.systems = Systems.open(home / "operations.yaml")

    def live(self, day: int) -> None:
        """Writes rows and labels up to `day`, moves the holdout and the clock."""
        for each in range(self.today, day):
            rows = self.rows(each)
            self._append("parcels", rows.drop(columns=["outcome", "known_at"]), f"{each:04d}")
            self._append("outcomes", rows[["parcel", "at", "outcome", "known_at"]], f"{each:04d}")
        self.today = day
        holdout = pd.concat([self.rows(each) for each in range(day - HOLDOUT_DAYS, day)])
        self._append("parcels_holdout", holdout.drop(columns=["known_at"]), "latest")
        self.now(day)

    def rows(self, day: int) -> pd.DataFrame:
        """The rows of a day."""
        return rows_of(self.task, day, day >= self.change_on)

    def now(self, day: float) -> None:
        """Sets the clock, in days since the first."""
        clock = self.systems.clock
        assert isinstance(clock, VirtualClock)
        clock.set(FIRST + day * DAY)

    def report(self) -> None:
        """Stores a drift report of now that found something."""
        body = {"monitor": "ParcelDrift", "status": "checked", "drift_detected": True, "severity": "critical",
                "checks": []}  # fmt: skip
        self.systems.store.add(Kind.drift_report, MODEL, body, at=self.systems.clock.now())

    def _append(self, table: str, rows: pd.DataFrame, file: str) -> None:
        self.systems.warehouse.append(table, pa.Table.from_pandas(rows, preserve_index=False), file)


def changed_world(home: Path, task: str) -> TaskWorld:
    """A champion of day 30 in a world that changed on day 31; it is day 44, and the drift was reported."""
    world = TaskWorld(home, task, change_on=31)
    world.live(30)
    train_first_champion(world.systems, MODEL, world.systems.clock.now())
    world.live(44)
    for day in (32, 44):
        world.now(day)
        world.report()
    return world
