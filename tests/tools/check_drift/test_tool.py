"""A whole monitor over a small warehouse: a real state store, real Parquet, and a model behind the registry's seam."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from policies.declarations import Severity, load
from policies.errors import InputError
from tools.check_drift.result import Check, DriftReport
from tools.check_drift.tool import TOOL, start_monitor
from tools.systems.clock import VirtualClock
from tools.systems.notify import Notifications
from tools.systems.store import Kind, Store
from tools.systems.systems import Systems
from tools.systems.traffic import Splits
from tools.systems.warehouse import Warehouse

NOW = datetime(2026, 1, 20, 2)
BASE = datetime(2025, 12, 25)
A_DAY = 2400


def declarations() -> dict[str, Any]:
    return {
        "models": {
            "Churn": {
                "registry_name": "churn",
                "target": "churned",
                "id": "customer_id",
                "time": "scored_at",
                "table": "features.live",
                "holdout": "features.holdout",
                "predictions": "predictions.daily",
                "labels": {
                    "table": "labels.actuals",
                    "id": "customer_id",
                    "time": "scored_at",
                    "value": "churned",
                    "arrived": "labelled_at",
                },
                "features": {"numeric": ["visits", "tickets"], "categorical": ["plan"]},
                "sources": {
                    "web": {"owner": "web-team", "features": ["visits", "plan"], "loaded_at": "web_loaded_at"},
                    "crm": {"owner": "crm-team", "features": ["tickets"], "loaded_at": "crm_loaded_at"},
                },
            }
        },
        "schemas": {
            "Features": {
                "columns": {
                    "customer_id": {"type": "integer"},
                    "scored_at": {"type": "timestamp"},
                    "visits": {"type": "number"},
                    "tickets": {"type": "number", "nullable": True},
                    "plan": {"type": "string", "categories": ["monthly", "annual"]},
                    "crm_loaded_at": {"type": "timestamp"},
                    "web_loaded_at": {"type": "timestamp"},
                },
                "freshness": [{"column": "crm_loaded_at", "max_age": "24h"}],
            }
        },
        "drift_monitors": {
            "Drift": {
                "model": "Churn",
                "baseline": {"dataset": "features.baseline", "timestamp": "2025-12-31"},
                "monitors": [
                    {"type": "data_drift", "method": "psi", "threshold": 0.2, "features": "all", "frequency": "hourly"},
                    {
                        "type": "concept_drift",
                        "method": "performance_decay",
                        "metric": "auc_roc",
                        "threshold": 0.05,
                        "window": "7d",
                        "frequency": "daily",
                    },
                    {"type": "prediction_drift", "method": "kl_divergence", "threshold": 0.1, "frequency": "hourly"},
                    {
                        "type": "feature_drift",
                        "method": "psi",
                        "threshold": 0.15,
                        "features": ["visits"],
                        "frequency": "hourly",
                    },
                    {
                        "type": "label_drift",
                        "method": "class_balance",
                        "threshold": 0.05,
                        "window": "7d",
                        "frequency": "daily",
                    },
                    {
                        "type": "schema_drift",
                        "method": "contract_validation",
                        "expected_schema": "Features",
                        "frequency": "on_ingestion",
                    },
                ],
            }
        },
    }


class Logistic:
    """Scores by visits alone."""

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        score = 1 / (1 + np.exp(rows["visits"].to_numpy(dtype=float) - 10))
        return np.column_stack([1 - score, score])


class OneModel:
    """A registry that holds one version."""

    def alias(self, name: str, alias: str) -> str | None:
        return "1" if alias == "champion" else None

    def load(self, name: str, version: str) -> Logistic:
        return Logistic()


class World:
    """Rows around the clock; what changes from `since` on is up to the test."""

    def __init__(self, home: Path, systems: Systems) -> None:
        self.home, self.systems = home, systems
        self.random = np.random.default_rng(12)

    def features(self, start: datetime, days: int) -> pd.DataFrame:
        rows = days * A_DAY
        at = pd.Timestamp(start) + pd.to_timedelta(np.arange(rows) * 86400 / A_DAY, unit="s")
        return pd.DataFrame(
            {
                "customer_id": np.arange(rows),
                "scored_at": at.astype("datetime64[us]"),
                "visits": self.random.normal(12, 2, rows),
                "tickets": self.random.poisson(1.5, rows).astype(float),
                "plan": self.random.choice(["monthly", "annual"], rows),
                "crm_loaded_at": (at - pd.Timedelta(hours=2)).astype("datetime64[us]"),
                "web_loaded_at": (at - pd.Timedelta(hours=1)).astype("datetime64[us]"),
            }
        )

    def labels(self, rows: pd.DataFrame, noise: float = 1.0, share: float = 1.0) -> pd.DataFrame:
        lean = noise * (10 - rows["visits"].to_numpy())
        churned = self.random.random(len(rows)) < 1 / (1 + np.exp(-lean))
        labelled = rows[["customer_id", "scored_at"]].assign(churned=churned)
        labelled["labelled_at"] = (rows["scored_at"] + pd.Timedelta(hours=1)).astype("datetime64[us]")
        return labelled.sample(frac=share, random_state=1)

    def write(self, table: str, frame: pd.DataFrame, name: str = "rows") -> None:
        self.systems.warehouse.append(table, pa.Table.from_pandas(frame, preserve_index=False), name)

    def declare(self, change: Callable[[dict[str, Any]], object]) -> None:
        body = declarations()
        change(body)
        path = self.home / "operations.yaml"
        path.write_text(yaml.safe_dump(body))
        self.systems = replace(self.systems, operations=load(path))

    def settle(self) -> pd.DataFrame:
        """A baseline with its labels, and eight live days."""
        baseline = self.features(BASE, 7)
        self.write("features.baseline", baseline)
        self.write("labels.actuals", self.labels(baseline), "baseline")
        return self.features(NOW - timedelta(days=8), 8)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    path = tmp_path / "operations.yaml"
    path.write_text(yaml.safe_dump(declarations()))
    (tmp_path / "warehouse").mkdir()
    store = Store(f"sqlite:///{tmp_path / 'state.db'}")
    clock = VirtualClock(store)
    clock.set(NOW)
    registry: Any = OneModel()
    systems = Systems(
        operations=load(path),
        home=tmp_path,
        clock=clock,
        store=store,
        warehouse=Warehouse(tmp_path / "warehouse"),
        registry=registry,
        traffic=Splits(store),
        notifications=Notifications(store, clock),
    )
    yield World(tmp_path, systems)
    systems.close()


def check(world: World, at: datetime | None = None) -> DriftReport:
    result = TOOL.run(world.systems, TOOL.arguments(monitor="Drift", at=at))
    assert isinstance(result, DriftReport)
    return result


def findings(report: DriftReport) -> set[str]:
    return {found.type.value for found in report.checks if found.found}


def of(report: DriftReport, kind: str) -> Check:
    return next(each for each in report.checks if each.type == kind)


def test_a_quiet_world_is_ok_and_every_kind_was_judged(world: World) -> None:
    live = world.settle()
    world.write("features.live", live)
    world.write("labels.actuals", world.labels(live), "live")
    report = check(world)
    assert (report.status, report.severity, report.drift_detected) == ("checked", Severity.ok, False)
    assert {each.type.value for each in report.checks} == {
        "data_drift", "feature_drift", "prediction_drift", "label_drift", "concept_drift", "schema_drift",
    }  # fmt: skip
    assert all(each.severity is Severity.ok for each in report.checks)
    assert report.baseline.rows == 7 * A_DAY
    assert report.diagnosis.kind == "none"
    stored = world.systems.store.get(report.report_id)
    assert stored.kind is Kind.drift_report
    assert stored.body["report_id"] == report.report_id
    assert check(world).checks == report.checks  # now from the stored baseline


def test_a_changed_world_is_told_from_a_broken_pipeline(world: World) -> None:
    live = world.settle()
    live.loc[live["scored_at"] >= NOW - timedelta(days=3), "visits"] -= 4
    world.write("features.live", live)
    world.write("labels.actuals", world.labels(live), "live")
    report = check(world)
    assert report.severity is Severity.critical
    assert {"data_drift", "feature_drift", "prediction_drift", "label_drift"} <= findings(report)
    assert "concept_drift" not in findings(report)
    assert report.diagnosis.kind == "world"
    assert report.diagnosis.sources[0].owner == "web-team"
    assert report.diagnosis.first_seen is not None
    assert abs((report.diagnosis.first_seen - (NOW - timedelta(days=3)).date()).days) <= 1
    assert report.diagnosis.one_source is True
    (visits,) = report.diagnosis.features
    assert (visits.feature, visits.importance, visits.weight) == ("visits", 1.0, 1.0)  # the model knows nothing else
    assert visits.explains == pytest.approx(1, abs=0.1)
    assert report.diagnosis.explained == visits.explains


def test_late_data_are_a_broken_pipeline(world: World) -> None:
    live = world.settle()
    live["crm_loaded_at"] -= pd.Timedelta(hours=48)
    world.write("features.live", live)
    world.write("labels.actuals", world.labels(live), "live")
    report = check(world)
    assert findings(report) == {"schema_drift"}
    assert report.severity is Severity.critical
    assert report.diagnosis.kind == "pipeline"
    assert [each.source for each in report.diagnosis.sources] == ["crm"]
    (late,) = [each for each in report.checks if each.found]
    assert (late.subject, late.threshold) == ("crm_loaded_at", 24.0)


def test_changed_reasons_are_concept_drift_alone(world: World) -> None:
    live = world.settle()
    world.write("features.live", live)
    shuffled = world.labels(live)
    shuffled["churned"] = world.random.permutation(shuffled["churned"].to_numpy())
    world.write("labels.actuals", shuffled, "live")
    report = check(world)
    assert findings(report) == {"concept_drift"}
    assert report.diagnosis.kind == "world"
    assert "the performance fell" in report.diagnosis.detail
    assert "outcomes changed" not in report.diagnosis.detail  # as many churn as before


def test_recorded_scores_are_used_where_there_are_any(world: World) -> None:
    live = world.settle()
    world.write("features.live", live)
    world.write("labels.actuals", world.labels(live), "live")
    scores = Logistic().predict_proba(live)[:, 1]
    recorded = live[["customer_id", "scored_at"]].assign(model_version="1", score=1 - scores, label=scores > 0.5)
    world.write("predictions.daily", recorded)
    report = check(world)
    assert "as served" in of(report, "prediction_drift").detail
    assert {"prediction_drift", "concept_drift"} <= findings(report)


def test_too_few_labels_are_unknown_never_ok(world: World) -> None:
    live = world.settle()
    world.write("features.live", live)
    world.write("labels.actuals", world.labels(live, share=0.002), "live")
    report = check(world)
    assert of(report, "concept_drift").severity is Severity.unknown
    assert of(report, "label_drift").severity is Severity.unknown
    assert "too few" in of(report, "label_drift").detail
    assert report.status == "checked"


def test_an_empty_window_is_insufficient_data(world: World) -> None:
    live = world.settle()
    world.write("features.live", live)
    report = check(world, NOW - timedelta(days=30))
    assert (report.status, report.drift_detected, report.window.rows) == ("insufficient_data", False, 0)
    assert report.severity is Severity.unknown


def test_no_rows_where_the_contract_asks_for_some_is_a_finding(world: World) -> None:
    world.write("features.live", world.settle())
    world.declare(lambda body: body["schemas"]["Features"].update(rows_per_day=[A_DAY // 2, 2 * A_DAY]))
    report = check(world, NOW - timedelta(days=30))
    assert (report.status, report.severity, report.window.rows) == ("insufficient_data", Severity.critical, 0)
    assert [(each.subject, each.value) for each in report.checks if each.found] == [("rows_per_day", 0)]
    assert report.diagnosis.kind == "pipeline"


def test_what_is_broken_is_said_of_columns_without_a_declared_source_too(world: World) -> None:
    live = world.settle()
    live["visits"] *= 100
    world.write("features.live", pd.concat([live, live.tail(10)]))
    world.declare(lambda body: body["models"]["Churn"].update(sources={}))
    report = check(world)
    assert report.diagnosis.kind == "pipeline"
    assert "visits: unit changed by a factor of 100" in report.diagnosis.detail
    assert "customer_id: 10 of" in report.diagnosis.detail
    world.declare(lambda body: body["models"]["Churn"].update(declarations()["models"]["Churn"]))
    told = check(world).diagnosis.detail
    assert "web (web-team): visits: unit changed by a factor of 100" in told
    assert told.count("unit changed") == 1
    assert "the features did not" not in told


def test_an_unreadable_source_fails_with_its_reason(world: World) -> None:
    report = check(world)
    assert (report.status, report.drift_detected) == ("failed", False)
    assert report.severity is Severity.unknown
    assert all(each.severity is Severity.unknown for each in report.checks)
    assert "features.live" in of(report, "schema_drift").detail
    assert "features.baseline" in of(report, "data_drift").detail


def test_a_damaged_file_fails_without_a_traceback(world: World) -> None:
    live = world.settle()
    world.write("features.live", live)
    (world.home / "warehouse" / "features" / "live" / "torn.parquet").write_bytes(b"PAR1 torn")
    report = check(world)
    assert report.status == "failed"
    assert report.severity is Severity.unknown


@pytest.mark.parametrize("column", ["visits", "plan"])
def test_a_renamed_column_breaks_the_contract(world: World, column: str) -> None:
    live = world.settle().rename(columns={column: f"{column}_new"})
    world.write("features.live", live)
    world.write("labels.actuals", world.labels(live.rename(columns={f"{column}_new": column})), "live")
    report = check(world)
    broken = [each for each in report.checks if each.type == "schema_drift" and each.found]
    assert [each.subject for each in broken] == [column]
    assert report.severity is Severity.critical
    assert report.diagnosis.kind in ("pipeline", "both")


def test_numbers_written_as_text_are_reported_not_raised(world: World) -> None:
    live = world.settle()
    live["visits"] = live["visits"].astype(str)
    world.write("features.live", live)
    report = check(world)
    assert of(report, "data_drift").found
    assert "is string, declared number" in {each.subject: each.detail for each in report.checks if each.found}["visits"]


class Wordy(Logistic):
    """Takes plans as words, as the library's encoders do: with its own words for what it cannot take."""

    def predict_proba(self, rows: pd.DataFrame) -> np.ndarray:
        if rows["plan"].dtype.kind in "iu":
            raise TypeError("ufunc 'isnan' not supported for the input types")
        return super().predict_proba(rows)


@pytest.mark.parametrize("words", [True, False])
def test_categories_that_arrive_as_numbers_are_named(world: World, monkeypatch: Any, words: bool) -> None:
    monkeypatch.setattr(OneModel, "load", lambda *_: Wordy())
    live = world.settle()
    if not words:  # a baseline of codes: they are not what the model cannot take
        codes = world.features(BASE, 7).assign(plan=lambda rows: np.where(rows["plan"] == "annual", "1", "2"))
        world.write("features.baseline", codes, "rows")
    live["plan"] = np.where(live["plan"] == "annual", 1, 2)
    world.write("features.live", live)
    report = check(world)
    told = of(report, "prediction_drift")
    assert (report.status, told.severity) == ("failed", Severity.unknown)
    named = "features.live: column 'plan' holds 1, and must hold categories as text"
    assert (named if words else "isnan") in told.detail.replace("holds 2,", "holds 1,")


def test_an_undeclared_monitor_is_an_input_error(world: World) -> None:
    with pytest.raises(InputError, match="'Absent' is not declared"):
        TOOL.run(world.systems, TOOL.arguments(monitor="Absent", at=None))


def test_starting_a_monitor_twice_registers_it_once(world: World) -> None:
    first = start_monitor(world.systems, "Drift")
    assert start_monitor(world.systems, "Drift") == first
    assert first.monitor_id == "monitor-1"
    assert "data_drift psi hourly" in first.checks
    assert len(world.systems.store.list(Kind.monitor)) == 1


def test_the_arguments_fit_a_strict_tool_schema() -> None:
    shown = TOOL.arguments.model_json_schema()
    assert set(shown["required"]) == set(shown["properties"])
    assert shown["additionalProperties"] is False
    assert not any("default" in field for field in shown["properties"].values())


def test_a_time_yet_to_come_is_bad_input_and_no_report(world: World) -> None:
    world.write("features.live", world.settle())
    with pytest.raises(InputError, match="yet to come"):
        check(world, NOW + timedelta(days=30))
    assert not world.systems.store.list(Kind.drift_report)
