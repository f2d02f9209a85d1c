"""The seed's three KPI queries on a real warehouse and store, and queries that go wrong."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from policies.errors import InputError
from tools.systems.clock import VirtualClock
from tools.systems.store import Kind
from tools.systems.systems import Systems
from tools.track_kpis.degradation import Reading
from tools.track_kpis.tool import TOOL, KpiReport, run

NOW = datetime(2026, 2, 2, 2)
MODEL = "ChurnModel"
OPERATIONS = """
models:
  ChurnModel:
    registry_name: churn_model
    target: churned
    id: customer_id
    time: scored_at
    table: ml.features
    holdout: ml.holdout
    labels: {table: ml.labels, id: customer_id, time: scored_at, value: churned, arrived: labelled_at}
    features: {numeric: [a]}
business_kpi_trackers:
  ChurnKPIs:
    model: ChurnModel
    kpis:
      - name: churn_rate
        query: |
          SELECT COUNT(CASE WHEN churned THEN 1 END)::float /
          COUNT(*) FROM customers WHERE segment = 'enterprise'
        target: 0.08
        baseline: 0.14
        frequency: weekly
      - name: intervention_roi
        query: |
          SELECT SUM(retained_arr) / SUM(intervention_cost)
          FROM retention_campaigns WHERE model_version = $current
        target: 5.0
        frequency: monthly
      - name: net_revenue_retention
        query: |
          SELECT (end_arr - churn_arr + expansion_arr) / start_arr
          FROM arr_summary WHERE period = $current_quarter
        target: 1.10
        frequency: quarterly
    alerts: {kpi_degradation_pct: 10, channel: slack}
  Odd:
    model: ChurnModel
    kpis:
      - {name: since, query: "SELECT epoch(CAST($since_deploy AS TIMESTAMP))", target: 1, frequency: daily}
      - {name: month, query: "SELECT CASE WHEN $current_month = '2026-02' THEN 1 END", target: 1, frequency: daily}
      - {name: delete, query: "DELETE FROM customers", target: 1, frequency: daily}
      - name: insert
        query: "WITH x AS (INSERT INTO customers VALUES ('enterprise', TRUE) RETURNING churned) SELECT 1 FROM x"
        target: 1
        frequency: daily
      - {name: many, query: "SELECT * FROM range(100000)", target: 1, frequency: daily}
      - {name: two, query: "SELECT 1; SELECT 2", target: 1, frequency: daily}
      - {name: missing, query: "SELECT count(*) FROM nowhere", target: 1, frequency: daily}
      - {name: rows, query: "SELECT * FROM customers", target: 1, frequency: daily}
      - {name: text, query: "SELECT 'many'", target: 1, frequency: daily}
      - {name: unbound, query: "SELECT $password", target: 1, frequency: daily}
      - {name: fine, query: "SELECT 2", target: 1, frequency: daily}
systems: {clock: virtual}
"""


@pytest.fixture
def systems(tmp_path: Path) -> Iterator[Systems]:
    (tmp_path / "operations.yaml").write_text(OPERATIONS)
    (tmp_path / "warehouse").mkdir()
    made = Systems.open(tmp_path / "operations.yaml")
    _set(made, NOW)
    made.traffic.set(MODEL, "1", at=NOW - timedelta(days=9), why="first", rests_on=None)
    made.traffic.set(MODEL, "2", at=NOW - timedelta(days=2), why="promoted", rests_on=None)
    _customers(made, churned=14)
    campaigns = {"model_version": ["1", "2"], "retained_arr": [100.0, 900.0], "intervention_cost": [100.0, 200.0]}
    made.warehouse.append("retention_campaigns", pa.table(campaigns), "all")
    quarters = {"period": ["2025-Q4", "2026-Q1"], "start_arr": [1.0, 100.0], "end_arr": [1.0, 110.0]}
    arr = pa.table({**quarters, "churn_arr": [0.0, 8.0], "expansion_arr": [0.0, 5.0]})
    made.warehouse.append("arr_summary", arr, "all")
    yield made
    made.close()


def _set(systems: Systems, now: datetime) -> None:
    assert isinstance(systems.clock, VirtualClock)
    systems.clock.set(now)


def _customers(systems: Systems, churned: int) -> None:
    rows = {"segment": ["enterprise"] * 100 + ["consumer"] * 50, "churned": [i < churned for i in range(150)]}
    systems.warehouse.append("customers", pa.table(rows), "all")


def track(systems: Systems, tracker: str = "ChurnKPIs") -> KpiReport:
    return run(systems, TOOL.arguments(tracker=tracker, at=None))


def by_name(report: KpiReport) -> dict[str, Reading]:
    return {each.kpi: each for each in report.readings}


def test_the_three_queries_unchanged(systems: Systems) -> None:
    report = track(systems)
    found = by_name(report)
    assert found["churn_rate"].value == pytest.approx(0.14, abs=1e-6)
    assert (found["churn_rate"].direction, found["churn_rate"].on_target) == ("lower", False)
    assert found["intervention_roi"].value == pytest.approx(4.5)
    assert found["net_revenue_retention"].value == pytest.approx(1.07)
    assert (report.severity, report.disconnect) == ("ok", False)
    stored = systems.store.get(report.kpi_id)
    assert (stored.kind, stored.model, stored.status) == (Kind.kpi_reading, MODEL, "ok")
    assert len(stored.body["readings"]) == 3


def test_a_moment_is_read_once_and_a_changed_number_again(systems: Systems) -> None:
    first = track(systems)
    assert track(systems) == first
    assert len(systems.store.list(Kind.kpi_reading)) == 1
    _customers(systems, churned=15)
    assert track(systems).kpi_id != first.kpi_id
    later = track(systems)
    _set(systems, NOW + timedelta(hours=1))
    assert track(systems).kpi_id != later.kpi_id


def test_a_new_champion_without_a_campaign_yet_has_no_reading(systems: Systems) -> None:
    systems.traffic.set(MODEL, "3", at=NOW, why="promoted", rests_on=None)
    found = by_name(track(systems))["intervention_roi"]
    assert (found.value, found.severity) == (None, "unknown")
    assert "NULL" in found.error


def test_parameters_are_bound_and_what_is_no_single_number_is_an_error(systems: Systems) -> None:
    report = track(systems, "Odd")
    found = by_name(report)
    assert found["since"].value == (NOW - timedelta(days=2) - datetime(1970, 1, 1)).total_seconds()
    assert found["month"].value == 1
    assert found["fine"].value == 2
    expected = {
        "delete": "single SELECT",
        "two": "single SELECT",
        "insert": "customers",
        "many": "more than 1,000 rows",
        "missing": "nowhere",
        "rows": "150 rows of 2 columns",
        "text": "a number is expected",
        "unbound": r"$password has no value",
    }
    for name, said in expected.items():
        assert said in found[name].error, name
        assert found[name].severity == "unknown"
    assert systems.warehouse.query("SELECT count(*) FROM customers").column(0)[0].as_py() == 150


def test_an_undeclared_tracker_is_bad_input(systems: Systems) -> None:
    with pytest.raises(InputError, match="ChurnKPIs"):
        track(systems, "Nobody")


@pytest.mark.parametrize(("concept", "expected"), [("ok", True), ("warning", False), ("unknown", False), (None, False)])
def test_the_disconnect(systems: Systems, concept: str | None, expected: bool) -> None:
    track(systems)
    checks = [{"type": "data_drift", "severity": "warning"}]
    checks += [{"type": "concept_drift", "severity": concept}] if concept else []
    systems.store.add(Kind.drift_report, MODEL, {"checks": checks}, at=NOW)
    _customers(systems, churned=18)
    _set(systems, NOW + timedelta(days=1))
    assert not track(systems).disconnect, "it may have slipped once"
    systems.store.add(Kind.drift_report, MODEL, {"checks": checks}, at=NOW + timedelta(days=7))
    _set(systems, NOW + timedelta(days=8))
    report = track(systems)
    assert by_name(report)["churn_rate"].severity == "critical"
    assert report.disconnect is expected
    assert ("not for retraining" in report.detail) is expected


def test_the_baseline_is_the_first_reading_ever_stored(systems: Systems) -> None:
    track(systems)
    _set(systems, NOW + timedelta(days=31))
    worse = {"model_version": ["2"], "retained_arr": [780.0], "intervention_cost": [200.0]}
    systems.warehouse.append("retention_campaigns", pa.table(worse), "all")
    found = by_name(track(systems))["intervention_roi"]
    assert (found.baseline, found.severity) == (4.5, "warning")
    assert found.change_pct == pytest.approx(-13.33, abs=0.01)


def test_a_query_without_a_time_cannot_be_asked_for_the_past(systems: Systems) -> None:
    report = run(systems, TOOL.arguments(tracker="ChurnKPIs", at=NOW - timedelta(days=31)))
    found = by_name(report)
    assert found["churn_rate"].value is None
    assert "only be read as of now" in found["churn_rate"].error
    assert found["net_revenue_retention"].error == ""
    assert by_name(track(systems))["churn_rate"].value is not None


def test_a_time_yet_to_come_is_bad_input(systems: Systems) -> None:
    with pytest.raises(InputError, match="yet to come"):
        run(systems, TOOL.arguments(tracker="ChurnKPIs", at=NOW + timedelta(days=1)))
