"""`validate` against a real warehouse and registry: every problem, with its place and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pytest

from agent.validation import validate
from policies.errors import DeclarationError
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
    labels: {table: ml.labels, id: customer_id, time: scored_at, value: churned, arrived: labelled_at}
    features: {numeric: [orders]}
    predictions: ml.predictions
    prediction_log: ml.requests
serving_infra:
  ChurnServing:
    patterns:
      - {name: batch, schedule: "0 6 * * *", input: ml.features, output: ml.predictions, timeout_minutes: 60}
business_kpi_trackers:
  ChurnKPIs:
    model: ChurnModel
    kpis:
      - {name: orders, target: 1, frequency: daily, query: "SELECT avg(orders) + epoch($since_deploy) FROM ml.features"}
      - {name: versioned, target: 1, frequency: daily, query: "SELECT count(*) FROM ml.features WHERE $current = '1'"}
systems: {clock: virtual}
"""
DAY = datetime(2026, 1, 6)
ROWS = {"customer_id": [1], "scored_at": [DAY], "orders": [1.0]}
BATCH = "serving_infra.ChurnServing.patterns[0]"
MODEL = "models.ChurnModel"
KPIS = "business_kpi_trackers.ChurnKPIs.kpis"
Problems = Callable[[str], list[str]]


@pytest.fixture
def problems(tmp_path: Path) -> Problems:
    """The problems of a declarations file over a sound world that has no champion yet."""

    def found(text: str) -> list[str]:
        file = tmp_path / "operations.yaml"
        file.write_text(text)
        systems = Systems.open(file)
        (tmp_path / "warehouse").mkdir(exist_ok=True)
        systems.warehouse.append("ml.features", pa.table(ROWS), "all")
        systems.warehouse.append("ml.holdout", pa.table({**ROWS, "churned": [True]}), "all")
        labels = {"customer_id": [1], "scored_at": [DAY], "churned": [True], "labelled_at": [DAY]}
        systems.warehouse.append("ml.labels", pa.table(labels), "all")
        try:
            validate(systems, file)
        except DeclarationError as error:
            assert all(each.line > 0 for each in error.problems if each.place != "models")
            return [f"{each.place}: {each.cause}" for each in error.problems]
        finally:
            systems.close()
        return []

    return found


def test_a_sound_file_lacks_only_its_champion(problems: Problems) -> None:
    assert problems(OPERATIONS) == [
        "models.ChurnModel.registry_name: no version of 'churn_model' has the alias 'champion'"
    ]


@pytest.mark.parametrize(
    ("before", "after", "place", "cause"),
    [
        ("input: ml.features", "input: ml.gone", f"{BATCH}.input", "no table 'ml.gone'"),
        ("input: ml.features", "input: ml.labels", f"{BATCH}.input", "no column 'orders'"),
        ("output: ml.predictions", "output: no table", f"{BATCH}.output", "schema.table"),
        ("predictions: ml.predictions", "predictions: ml.holdout", f"{MODEL}.predictions", "no column 'score'"),
        ("log: ml.requests", "log: a.b.c", f"{MODEL}.prediction_log", "schema.table"),
        ("avg(orders)", "avg(ordering)", f"{KPIS}[0].query", "ordering"),
        ("$since_deploy", "$since_ever", f"{KPIS}[0].query", "$since_ever has no value"),
        ("SELECT count(*)", "DELETE", f"{KPIS}[1].query", "single SELECT"),
    ],
)  # fmt: skip
def test_a_fault_is_named_with_its_place(problems: Problems, before: str, after: str, place: str, cause: str) -> None:
    faults = [each for each in problems(OPERATIONS.replace(before, after)) if each.startswith(f"{place}: ")]
    assert any(cause in each for each in faults), faults


RETRAIN = """
retraining_pipelines:
  ChurnRetrain:
    model: ChurnModel
    triggers: [{type: scheduled, cron: "0 2 * * 0"}]
    training: {use_experiment: ChurnModel, data_window: expanding}
    promotion: {metric: auc_roc}
drift_monitors:
  ChurnDrift:
    model: ChurnModel
    baseline: {dataset: ml.features, timestamp: 2026-01-06}
    monitors: [{type: data_drift, method: psi, threshold: 0.2, frequency: daily}]
"""


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("", "", ""),
        ("use_experiment: ChurnModel", "use_experiment: built-in", ""),
        ("use_experiment: ChurnModel", "use_experiment: Churned", "use_experiment: 'Churned' names nothing there is"),
        ("use_experiment: ChurnModel", "use_experiment: no_such:f", "use_experiment: there is no module 'no_such' in"),
        ("use_experiment: ChurnModel", "use_experiment: ./x", "use_experiment: there is no MLflow Project in"),
        ("timestamp: 2026-01-06", "timestamp: 2099-01-06", "baseline.timestamp: 2099-01-06 is yet to come"),
    ],
)
def test_what_names_nothing_or_lies_ahead_is_a_fault(problems: Problems, before: str, after: str, said: str) -> None:
    found = problems(OPERATIONS + RETRAIN.replace(before, after))
    assert [each for each in found if "registry_name" not in each] == [each for each in found if said and said in each]
    assert not said or len(found) == 2


def test_a_file_without_a_model_is_no_operation(problems: Problems) -> None:
    assert problems("budgets: {B: {cost: 1, tokens: 1}}") == [
        "models: no model is declared: bind at least one to its registry name, tables and features"
    ]


AB_TEST = """
champion_challengers:
  ChurnChallenge:
    champion: {model: a, stage: production}
    challenger: {model: b, stage: staging}
    evaluation:
      dataset: ml.holdout
      metrics: [{name: auc_roc, weight: 1.0, direction: higher}]
      min_weighted_improvement: 0.01
    promotion: {auto_promote: true, require_quality_gate: false, notify: [], deployment_strategy: Test}
deployment_strategies:
  Test:
    type: ab_test
    variants: {control: {model: a, traffic_pct: 50}, treatment: {model: b, traffic_pct: 50}}
    success_metric: sales
    duration: 14d
    statistical: {test: t_test, significance: 0.05, min_sample_size: 100}
"""
OUTCOMES = "    outcomes: {sales: {table: ml.sales, id: customer_id, time: at, value: amount, arrived: known_at}}\n"


def test_an_ab_test_needs_a_table_of_what_came_of_it(problems: Problems) -> None:
    said = "Test: it decides by sales, and the model's outcomes do not name its table (none are declared)"
    assert any(said in each for each in problems(OPERATIONS + AB_TEST))
    declared = OPERATIONS.replace("    features: {", OUTCOMES + "    features: {") + AB_TEST
    found = problems(declared)
    assert not any(said in each for each in found)
    assert any("models.ChurnModel.outcomes.sales: there is no table 'ml.sales'" in each for each in found)
