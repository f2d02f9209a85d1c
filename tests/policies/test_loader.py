"""A faulty declarations file is refused with file, line, place and what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from policies.declarations import load, parse
from policies.errors import DeclarationError, InputError

TEXT = (Path(__file__).parents[2] / "evals" / "operations.yaml").read_text(encoding="utf-8")


def _problems(old: str, new: str) -> list[str]:
    assert old in TEXT
    with pytest.raises(DeclarationError) as refused:
        parse(TEXT.replace(old, new, 1), "operations.yaml")
    assert refused.value.exit_code == 2
    return [str(problem) for problem in refused.value.problems]


def _line(text: str) -> int:
    return TEXT[: TEXT.index(text)].count("\n") + 1


@pytest.mark.parametrize(
    ("old", "new", "place", "cause"),
    [
        ("weight: 0.4", "weight: 0.5", "champion_challengers.ChurnChallenger.evaluation", "must sum to 1"),
        ("traffic_pct: 100", "traffic_pct: 90", "CanaryDeploy", "must be 100, it is 90"),
        ("traffic_pct: 25", "traffic_pct: 8", "CanaryDeploy", "must rise"),
        ("source: ChurnDrift", "source: Nothing", "triggers[0].source", "allowed: ChurnDrift"),
        ("expected_schema: ChurnFeatures", "expected_schema: X", "monitors[5]", "allowed: ChurnFeatures"),
        ("error_rate > 0.01", "errors > 0.01", "rollback.conditions[0]", "one of error_rate"),
        ("error_rate > 0.01", "__import__('os')", "rollback.conditions[0]", "is not a condition"),
        ("0 2 * * 0", "0 2 * *", "triggers[2].cron", "not a cron expression"),
        ("0 2 * * 0", "0 99 * * 0", "triggers[2].cron", "hour is '99'; allowed: 0 to 23"),
        ("2025-12-31", "2025-13-31", "ChurnDrift.baseline.timestamp", "month must be in 1..12"),
        ("frequency: weekly", "frequency: wekly", "kpis[0].frequency", "hourly, daily"),
        ("duration: 1h", "duration: 1x", "stages[0].duration", "for example '12h'"),
        ("model: ChurnModel\n    baseline", "model: Other\n    baseline", "ChurnDrift.model", "allowed: ChurnModel"),
        ("deployment_strategy: CanaryDeploy", "deployment_strategy: Big", "deployment_strategy", "CanaryDeploy"),
        ('"> 0.80"', '"above 0.80"', "quality_gates.ChurnGate.metrics.auc_roc", "not a bound"),
        (
            "auc_roc, weight: 0.4, direction: higher",
            "auc_roc, weight: 0.4, direction: lower",
            "metrics[0].direction",
            "higher",
        ),
        ("auc_roc, weight: 0.4", "auc, weight: 0.4", "metrics[0].name", "precision_at_N"),
        ("metric: auc_roc, threshold: 0.80", "metric: auc, threshold: 0.80", "triggers[1].metric", "allowed: auc_roc"),
        ("metric: auc_roc, threshold: 0.80", "metric: latency_p99, threshold: 9", "triggers[1]", "not computed"),
        ("rolling_12_months", "rolling_0_months", "training.data_window", "rolling_"),
        ("rolling_12_months", "rolling_99999_months", "training.data_window", "rolling_"),
        ("threshold: 0.2, features: all", "threshold: .inf, features: all", "monitors[0].threshold", "finite number"),
        ("threshold: 0.2, features: all", "threshold: yes, features: all", "monitors[0].threshold", "must be a number"),
        ("threshold: 0.2, features: all", "threshold: 0.2, features: []", "monitors[0].features", "names no feature"),
        (
            "days_since_last_order: {type: number, range: [0, null]",
            "days_since_last_order: {type: number, range: [5, 1]",
            "range",
            "no value is from 5 to 1: write [1, 5]",
        ),
        ("categories: [web, mobile, app]", "categories: []", "categories", "allows no value"),
        ('"> 0.80"', '"> 81"', "quality_gates.ChurnGate.metrics.auc_roc", "lies between 0 and 1, so 81 says nothing"),
        ('"> 0.80"', '"> 1"', "quality_gates.ChurnGate.metrics.auc_roc", "auc_roc is never > 1"),
        ('"> 0.80"', '"> -1"', "quality_gates.ChurnGate.metrics.auc_roc", "lies between 0 and 1, so -1 says"),
        ("metric: auc_roc, threshold: 0.80", "metric: auc_roc, threshold: 80", "triggers[1].threshold", "80 says"),
        ("[segment, market,", "[segment, segment, market,", "models.ChurnModel.features", "names 'segment' twice"),
        (
            "[segment, market,",
            "[orders_30d, segment, market,",
            "models.ChurnModel.features",
            "names 'orders_30d' twice",
        ),
        ("threshold: 0.05, window: 7d", "threshold: 0.05, window: 0d", "monitors[1].window", "is no window"),
        ("threshold: 0.05, window: 7d", "threshold: 0.05, window: 99999999d", "monitors[1].window", "at most 36500d"),
        ("0 2 * * 0", "0 2 30 2 *", "triggers[2].cron", "never comes"),
        ("budget: MLOpsBudget", "budget: Money", "agents.ChurnMLOps.budget", "allowed: MLOpsBudget"),
    ],
)
def test_names_place_and_what_would_be_right(old: str, new: str, place: str, cause: str) -> None:
    (problem,) = _problems(old, new)
    assert place in problem
    assert cause in problem
    assert problem.startswith("operations.yaml:")
    assert int(problem.split(":")[1]) > 0


def test_a_second_gate_of_a_model_would_never_be_asked() -> None:
    second = "  Second: {model: ChurnModel, metrics: {auc_roc: '> 0.99'}}\n"
    (problem,) = _problems("quality_gates:\n", f"quality_gates:\n{second}")
    assert "quality_gates.ChurnGate" in problem
    assert "Second is declared for ChurnModel already" in problem


def test_two_batch_patterns_do_not_write_one_table() -> None:
    batch = 'name: batch, schedule: "0 6 * * *", input: ml.features, timeout_minutes: 60'
    text = f"""
models:
  A: &model
    {{registry_name: a, target: y, id: id, time: at, table: ml.features, holdout: ml.holdout,
     features: {{numeric: [x]}}, labels: {{table: ml.labels, id: id, time: at, value: y, arrived: at}}}}
  B: {{<<: *model, registry_name: b}}
serving_infra:
  OfA: {{model: A, patterns: [{{{batch}, output: ml.daily}}]}}
  OfB:
    model: B
    patterns:
      - {{{batch}, output: ML.daily}}
"""
    with pytest.raises(DeclarationError) as refused:
        parse(text, "operations.yaml")
    (problem,) = refused.value.problems
    assert (problem.line, problem.place) == (12, "serving_infra.OfB.patterns[0].output")
    assert "serving_infra.OfA.patterns[0] writes ML.daily already" in problem.cause
    assert "name a table of its own" in problem.cause
    parse(text.replace("ML.daily", "ml.daily_of_b"), "operations.yaml")


def test_a_regression_is_not_judged_by_what_is_measured_of_two_classes() -> None:
    problems = _problems("    target: churned", "    task: regression\n    target: churned")
    places = {each.split(": ")[1] for each in problems if "regression" in each}
    assert {
        "quality_gates.ChurnGate.metrics",
        "quality_gates.ChurnGate.max_calibration_error",
        "retraining_pipelines.ChurnRetrain.promotion.metric",
        "champion_challengers.ChurnChallenger.evaluation.metrics[0].name",
        "champion_challengers.ChurnChallenger.promotion.deployment_strategy",
    } <= places
    assert any("auc_degradation is not measured of a regression model; write mae_increase" in each for each in problems)
    assert any("'auc_roc' is no metric of a regression model; allowed: mae, rmse, r2" in each for each in problems)


def test_an_unknown_key_names_its_line_and_the_allowed_ones() -> None:
    problems = _problems("threshold: 0.2,", "treshold: 0.2,")
    at = _line("threshold: 0.2,")
    assert any(p.startswith(f"operations.yaml:{at}:") and "did you mean 'threshold'" in p for p in problems)
    assert any("threshold: is missing" in problem for problem in problems)


def test_every_problem_is_reported_not_the_first() -> None:
    text = TEXT.replace("weight: 0.4", "weight: 0.5", 1).replace("0 2 * * 0", "never", 1)
    with pytest.raises(DeclarationError) as refused:
        parse(text, "o.yaml")
    assert len(refused.value.problems) == 2


def test_a_key_given_twice_is_an_error() -> None:
    problems = _problems("budgets:", "agents: {}\nbudgets:")
    assert any("declared twice" in problem for problem in problems)


@pytest.mark.parametrize("text", ["", "- a", "a: [", "budgets: {M: !!python/object:os.system {}}"])
def test_what_is_no_declarations_file_is_refused(text: str) -> None:
    with pytest.raises(DeclarationError):
        parse(text, "o.yaml")


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--operations"):
        load(tmp_path / "none.yaml")


def test_dangling_names_are_told_beside_faults_of_other_places() -> None:
    text = TEXT.replace("0 2 * * 0", "0 99 * * 0").replace("budget: MLOpsBudget", "budget: Money")
    text = text.replace("deployment_strategy: CanaryDeploy", "deployment_strategy: Big")
    with pytest.raises(DeclarationError) as refused:
        parse(text, "operations.yaml")
    told = "\n".join(map(str, refused.value.problems))
    assert "hour is '99'" in told
    assert "'Money' is not declared" in told
    assert "'Big' is not declared" in told
    assert len(refused.value.problems) == 3 + TEXT.count("deployment_strategy: CanaryDeploy") - 1


def test_what_is_declared_with_a_fault_does_not_dangle() -> None:
    problems = _problems("traffic_pct: 25", "traffic_pct: 8")
    assert len(problems) == 1


def test_anchors_that_stand_for_more_than_a_machine_holds_are_refused_at_once() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]\n" for n in range(1, 12))
    with pytest.raises(DeclarationError, match=r"^o.yaml:\d+: holds more than 1,000,000 values, each alias counted"):
        parse(f"l0: &l0 [x]\n{levels}", "o.yaml")
