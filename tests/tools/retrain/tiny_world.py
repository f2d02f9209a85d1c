"""A small world for retraining and evaluation: 300 rows a day whose outcome changes its reasons on a given day."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tools.systems.clock import VirtualClock
from tools.systems.store import Evidence, Kind
from tools.systems.systems import Systems

MODEL, MONITOR, PIPELINE, CHALLENGE = "Loans", "LoanDrift", "LoanRetrain", "LoanChallenge"
FIRST = datetime(2026, 1, 1)
ROWS_A_DAY = 300
HOLDOUT_DAYS = 7
DAY = timedelta(days=1)
DECLARATIONS = """
models:
  Loans:
    registry_name: loans
    target: defaulted
    id: loan
    time: at
    table: loans
    holdout: loans_holdout
    features: {numeric: [income, debt, age], categorical: [region]}
    sources:
      bureau: {owner: credit-data, features: [income, debt]}
      forms: {owner: web-team, features: [age, region]}
    labels: {table: outcomes, id: loan, time: at, value: defaulted, arrived: known_at}
schemas:
  LoanContract:
    columns:
      loan: {type: integer}
      income: {type: number}
      debt: {type: number}
      age: {type: number, nullable: true}
      region: {type: string, nullable: true, categories: [north, south, east]}
drift_monitors:
  LoanDrift:
    model: Loans
    baseline: {dataset: loans}
    monitors:
      - {type: data_drift, method: psi, threshold: 0.2, frequency: daily}
      - {type: schema_drift, method: contract_validation, expected_schema: LoanContract, frequency: daily}
retraining_pipelines:
  LoanRetrain:
    model: Loans
    triggers:
      - {type: drift_detected, source: LoanDrift, min_severity: warning, cooldown_hours: 24}
      - {type: performance_decay, metric: auc_roc, threshold: 0.55, window: 7d}
      - {type: scheduled, cron: "0 2 * * 0", always_run: false}
      - {type: data_volume, min_new_labels: 1000, label_table: outcomes}
    training: {use_experiment: Loans, data_window: rolling_90_days, trials: 4, min_new_rows: 600, max_rows: 5000}
    promotion: {min_improvement: 0.01, metric: auc_roc, require_gate: true}
champion_challengers:
  LoanChallenge:
    champion: {model: loans, stage: production}
    challenger: {model: loans, stage: staging}
    evaluation:
      dataset: loans_holdout
      metrics:
        - {name: auc_roc, weight: 0.4, direction: higher}
        - {name: f1, weight: 0.3, direction: higher}
        - {name: inference_ms, weight: 0.2, direction: lower}
        - {name: model_size_mb, weight: 0.1, direction: lower}
      min_weighted_improvement: 0.01
    promotion:
      {auto_promote: true, require_quality_gate: true, notify: [risk@bank.example], deployment_strategy: Canary}
quality_gates:
  LoanGate:
    model: Loans
    metrics: {auc_roc: "> 0.60"}
    min_rows: 500
    segments: {columns: [region], max_degradation: 0.05, min_rows: 300}
    max_calibration_error: 0.2
    max_latency_ms: 5000
    max_model_size_mb: 50
deployment_strategies:
  Canary:
    type: canary
    stages:
      - {traffic_pct: 10, duration: 1h, gate: latency_and_errors}
      - {traffic_pct: 100, duration: stable, gate: none}
    rollback: {auto: true, conditions: ["error_rate > 0.01"]}
systems: {clock: virtual}
"""


def rows_of(day: int, changed: bool) -> pa.Table:
    """One day's rows with their outcome; labels are known two hours after the row."""
    rng = np.random.default_rng(day)
    income, debt = rng.normal(size=ROWS_A_DAY), rng.normal(size=ROWS_A_DAY)
    age = np.where(rng.random(ROWS_A_DAY) < 0.1, np.nan, rng.uniform(20, 70, ROWS_A_DAY))
    region = rng.choice(np.array(["north", "south", "east", None], dtype=object), ROWS_A_DAY)
    drive = 1.6 * debt if changed else 1.6 * income
    defaulted = rng.random(ROWS_A_DAY) < 1 / (1 + np.exp(1.5 - drive - 0.5 * (region == "north")))
    start = np.datetime64(FIRST + day * DAY, "us")
    at = start + (np.arange(ROWS_A_DAY) * (86_400_000_000 // ROWS_A_DAY)).astype("timedelta64[us]")
    return pa.table(
        {
            "loan": day * ROWS_A_DAY + np.arange(ROWS_A_DAY),
            "at": pa.array(at),
            "income": income,
            "debt": debt,
            "age": pa.array(age, from_pandas=True),
            "region": pa.array(region.tolist(), pa.string()),
            "defaulted": defaulted,
            "known_at": pa.array(at + np.timedelta64(2, "h")),
        }
    )


class TinyWorld:
    """The world and its systems. `live(day)` lets time pass to that day's start; the last 7 days are the holdout.

    With a `holdout` of its own declared, no table is kept for it. Labels come `lag` later than the two hours they take.
    """

    def __init__(
        self, home: Path, change_on: int | None, *, holdout: str | None = None, lag: timedelta = timedelta(0)
    ) -> None:
        self._kept, self._lag = holdout is None, lag
        declared = DECLARATIONS
        if holdout is not None:
            declared = declared.replace("holdout: loans_holdout", f"holdout: {holdout}")
            declared = declared.replace("dataset: loans_holdout", f"dataset: {MODEL}")
        (home / "operations.yaml").write_text(declared)
        (home / "warehouse").mkdir()
        self.systems = Systems.open(home / "operations.yaml")
        self.change_on = change_on
        self.today = 0

    def live(self, day: int) -> None:
        """Writes rows and labels up to `day`, moves the holdout and the clock."""
        warehouse = self.systems.warehouse
        for each in range(self.today, day):
            rows = self._rows(each)
            warehouse.append("loans", rows.drop_columns(["defaulted", "known_at"]), f"{each:04d}")
            warehouse.append("outcomes", rows.select(["loan", "at", "defaulted", "known_at"]), f"{each:04d}")
        self.today = day
        if self._kept:
            self._keep_holdout(day)
        self.now(day)

    def _keep_holdout(self, day: int) -> None:
        holdout = [self._rows(each).drop_columns(["known_at"]) for each in range(day - HOLDOUT_DAYS, day)]
        self.systems.warehouse.append("loans_holdout", pa.concat_tables(holdout), "latest")

    def now(self, day: float) -> None:
        """Sets the clock, in days since the first."""
        clock = self.systems.clock
        assert isinstance(clock, VirtualClock)
        clock.set(FIRST + day * DAY)

    def report(
        self,
        *,
        detected: bool = True,
        severity: str = "critical",
        broken: str = "",
        monitor: str = MONITOR,
        status: str = "checked",
        checked_contract: bool = False,
    ) -> Evidence:
        """Stores a drift report of now; `checked_contract`: with a schema check that found all well."""
        contract = {"type": "schema_drift", "subject": "debt", "severity": "critical", "detail": broken}
        sound = {"type": "schema_drift", "subject": "debt", "severity": "ok", "detail": ""}
        body: dict[str, Any] = {
            "monitor": monitor,
            "status": status,
            "drift_detected": detected,
            "severity": severity if detected else "ok",
            "checks": [contract] if broken else [sound] if checked_contract else [],
        }
        return self.systems.store.add(Kind.drift_report, MODEL, body, at=self.systems.clock.now())

    def _rows(self, day: int) -> pa.Table:
        rows = rows_of(day, self.change_on is not None and day >= self.change_on)
        return rows.set_column(rows.schema.get_field_index("known_at"), "known_at", pc.add(rows["known_at"], self._lag))


def lost_pipeline(systems: Systems) -> str:
    """Declares, and names, a pipeline whose runs start and then find no rows to train on."""
    pipeline = systems.operations.retraining_pipelines[PIPELINE]
    training = pipeline.training.model_copy(update={"data_window": "rolling_0_days", "min_new_rows": 0})
    systems.operations.retraining_pipelines["Lost"] = pipeline.model_copy(update={"training": training})
    return "Lost"
