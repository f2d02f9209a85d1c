"""Every kind of drift over binary, multi-class and regression models, by every method it lists."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from policies.declarations import Severity
from policies.errors import DeclarationError
from tests.tools.check_drift.world import CLASSES, DAYS, MODELS, NOW, World
from tools.check_drift.reference import spans_of

DISTRIBUTIONS = {"psi": 0.15, "ks": 0.1, "js": 0.1, "hellinger": 0.1, "wasserstein": 0.1}
METRICS = {
    "binary": {"auc_roc": 0.05, "accuracy": 0.05, "log_loss": 0.1, "f1": 0.05},
    "multiclass": {"auc_roc": 0.05, "accuracy": 0.05, "log_loss": 0.1, "f1": 0.05},
    "regression": {"mae": 0.3, "rmse": 0.3, "r2": 0.05},
}


def severities(world: World) -> dict[str, Severity]:
    report = world.check()
    assert report.status == "checked", [(c.subject, c.detail) for c in report.checks]
    return {f"{c.type.value} {c.method} {c.subject}": c.severity for c in report.checks}


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_every_distribution_method_tells_a_shift_from_none(tmp_path: Path, task: str) -> None:
    checks: list[dict[str, Any]] = [
        # Of two classes a share of 50% that becomes 66% is a PSI of 0.1.
        {"type": kind, "method": method, "threshold": threshold / (3 if kind == "label_drift" else 1)}
        for kind in ("data_drift", "feature_drift", "prediction_drift", "label_drift")
        for method, threshold in DISTRIBUTIONS.items()
    ]
    checks += [
        {"type": kind, "method": "kl_divergence", "threshold": 0.1} for kind in ("data_drift", "prediction_drift")
    ]
    for place, shift in (("calm", 0.0), ("moved", 0.8)):
        (tmp_path / place).mkdir()
        world = World(tmp_path / place, checks, task)
        world.happen(shift)
        seen = severities(world)
        said = "label" if task == "multiclass" else "score"
        for check in checks:
            kind, method = check["type"], check["method"]
            subject = {"prediction_drift": said, "label_drift": "y"}.get(kind, "x")
            loud = seen[f"{kind} {method} {subject}"] in (Severity.warning, Severity.critical)
            assert loud == (shift > 0), (kind, method, subject)
            if kind in ("data_drift", "feature_drift"):
                assert seen[f"{kind} {method} kind"] is Severity.ok
                assert seen[f"{kind} {method} z"] is Severity.ok
        world.systems.close()


@pytest.mark.parametrize("method", [*DISTRIBUTIONS, "kl_divergence"])
def test_a_changed_mix_of_categories_is_told_by_every_method(tmp_path: Path, method: str) -> None:
    threshold = {**DISTRIBUTIONS, "kl_divergence": 0.1}[method]
    world = World(tmp_path, [{"type": "data_drift", "method": method, "threshold": threshold}])
    world.settle()
    world.write("features.live", world.live().assign(kind=lambda rows: np.where(rows.index % 10 < 9, "a", "b")))
    seen = severities(world)
    assert seen[f"data_drift {method} kind"] in (Severity.warning, Severity.critical)
    assert seen[f"data_drift {method} x"] is Severity.ok


@pytest.mark.parametrize("task", METRICS)
def test_changed_reasons_lower_every_metric_of_the_task(tmp_path: Path, task: str) -> None:
    checks = [
        {"type": "concept_drift", "method": "performance_decay", "metric": metric, "threshold": threshold}
        for metric, threshold in METRICS[task].items()
    ]
    for place, twist in (("calm", 1.0), ("changed", 0.0)):
        (tmp_path / place).mkdir()
        world = World(tmp_path / place, checks, task)
        world.happen(twist=twist)
        for name, severity in severities(world).items():
            assert (severity is not Severity.ok) == (twist == 0.0), name
        world.systems.close()


def test_class_balance_of_several_classes_names_the_class(tmp_path: Path) -> None:
    world = World(tmp_path, [{"type": "label_drift", "method": "class_balance", "threshold": 0.1}], "multiclass")
    world.happen(shift=0.8)
    (check,) = world.check().checks
    assert check.found
    assert check.p_value is not None
    assert check.p_value < 1e-6
    assert "share of class" in check.detail
    assert any(name in check.detail for name in CLASSES)


def test_recorded_classes_are_used(tmp_path: Path) -> None:
    checks = [
        {"type": "prediction_drift", "method": "psi", "threshold": 0.2},
        {"type": "concept_drift", "method": "performance_decay", "metric": "accuracy", "threshold": 0.1},
    ]
    world = World(tmp_path, checks, "multiclass")
    world.settle()
    live = world.live()
    world.write("features.live", live)
    world.write("labels.y", world.labels(live), "live")
    recorded = live[["id", "at"]].assign(model_version="1", label="gold", score=0.9)
    world.write("predictions.daily", recorded)
    report = world.check()
    assert "as served" in report.checks[0].detail
    assert {(c.subject, c.severity) for c in report.checks} == {
        ("label", Severity.critical), ("score", Severity.critical), ("accuracy", Severity.critical),
    }  # fmt: skip


@pytest.mark.parametrize("task", ["binary", "multiclass"])
def test_performance_is_estimated_without_labels(tmp_path: Path, task: str) -> None:
    # Around x = 0 nobody knows; far from it everybody does.
    check = {"type": "concept_drift", "method": "estimated_performance", "metric": "accuracy", "threshold": 0.05}
    world = World(tmp_path, [check], task)
    world.settle()
    calm, hard = world.live(), world.live()
    hard["x"] *= 0.2
    world.write("features.live", calm)
    (seen,) = world.check().checks
    assert seen.severity is Severity.ok
    assert seen.detail.startswith("an estimate without labels")
    world.write("features.live", hard)
    (seen,) = world.check().checks
    assert seen.severity is Severity.critical
    true = world.labels(hard)["y"].to_numpy()
    chances = MODELS[task].predict_proba(hard)  # type: ignore[attr-defined]
    said = chances.argmax(axis=1) if task == "binary" else np.array(CLASSES)[chances.argmax(axis=1)]
    told = float(seen.detail.split("→ ")[1].split(",")[0])
    assert told == pytest.approx(float(np.mean(true == said)), abs=0.03)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
@pytest.mark.parametrize("method", ["adwin", "page_hinkley"])
def test_a_rising_error_is_told_as_late_labels_arrive(tmp_path: Path, task: str, method: str) -> None:
    threshold = {"binary": 0.1, "multiclass": 0.15, "regression": 0.5}[task]
    check = {"type": "concept_drift", "method": method, "threshold": threshold}
    for place, twist in (("calm", 1.0), ("changed", -1.0)):
        (tmp_path / place).mkdir()
        world = World(tmp_path / place, [check], task)
        world.settle()
        rows = world.rows(NOW - timedelta(days=30 + DAYS))  # made a month ago, known this week
        labels = world.labels(rows, late=timedelta(days=30))
        half = len(rows) // 2
        labels.loc[half:, "y"] = world.labels(rows.iloc[half:], twist)["y"]
        world.write("features.live", rows)
        world.write("labels.y", labels, "live")
        (seen,) = world.check().checks
        if twist > 0:
            assert seen.severity is Severity.ok, seen.detail
        else:
            assert seen.found, seen.detail
            told = int(seen.detail.split("told with label ")[1].replace(",", ""))
            assert half < told < half + 800
        world.systems.close()


def test_labels_still_to_come_are_unknown_and_their_delay_is_told(tmp_path: Path) -> None:
    checks = [
        {"type": "concept_drift", "method": "performance_decay", "metric": "auc_roc", "threshold": 0.05},
        {"type": "label_drift", "method": "class_balance", "threshold": 0.05},
        {"type": "concept_drift", "method": "adwin", "threshold": 0.1},
    ]
    world = World(tmp_path, checks)
    world.settle()
    live = world.live(days=20)
    world.write("features.live", live)
    world.write("labels.y", world.labels(live, late=timedelta(days=6, hours=23)), "live")
    report = world.check()
    decay, balance, stream = report.checks
    assert [decay.severity, balance.severity] == [Severity.unknown, Severity.unknown]
    assert decay.value is None
    assert "not enough labels yet" in decay.detail
    assert "26 of 4,200 rows labelled, by age" in decay.detail
    assert "3-7 d 0%, 7-14 d 4%" in decay.detail
    assert "6.96 d (50%)" in decay.detail  # of the labels that came this week, whenever their rows were made
    assert stream.severity is Severity.ok  # those labels are there


@pytest.mark.parametrize(
    ("check", "allowed"),
    [
        ({"type": "label_drift", "method": "class_balance", "threshold": 0.1}, "psi, ks, js"),
        ({"type": "concept_drift", "method": "performance_decay", "metric": "auc_roc", "threshold": 0.1}, "mae, rmse"),
        ({"type": "concept_drift", "method": "adwin", "metric": "mae", "threshold": 0.1}, "takes no metric"),
        ({"type": "concept_drift", "method": "performance_decay", "threshold": 0.1}, "needs a metric"),
        ({"type": "data_drift", "method": "psi", "threshold": 0.1, "verdict": "share"}, "needs min_share"),
        ({"type": "data_drift", "method": "psi", "threshold": 0.1, "verdict": "most"}, "'any', 'share' or 'mean'"),
        ({"type": "prediction_drift", "method": "chi2", "threshold": 0.1}, "'kl_divergence', 'psi'"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_can(tmp_path: Path, check: dict[str, Any], allowed: str) -> None:
    with pytest.raises(DeclarationError, match=allowed):
        World(tmp_path, [check], "regression")


def test_a_baseline_may_be_the_same_weekdays(tmp_path: Path) -> None:
    check = {"type": "data_drift", "method": "psi", "threshold": 0.2, "window": "1d"}
    quiet = {"dataset": "features.live", "period": "same_weekday"}
    world = World(tmp_path, [check], baseline=quiet)
    live = world.live(days=35)
    live["x"] += 3.0 * (live["at"].dt.day_of_week == 1)  # Tuesdays are different; the window is one
    world.write("features.live", live)
    report = world.check()
    assert report.severity is Severity.ok
    assert report.baseline.rows == 4 * 600
    live.loc[live["at"] >= NOW - timedelta(days=1), "x"] -= 3.0
    world.write("features.live", live)
    assert world.check().severity is Severity.critical
    assert not list((world.systems.state / "profiles").glob("*")), "a moving baseline leaves nothing behind"


@pytest.mark.parametrize("day", range(7))
def test_the_same_weekdays_are_the_same_hours_too(tmp_path: Path, day: int) -> None:
    check = {"type": "data_drift", "method": "psi", "threshold": 0.2, "window": "1d"}
    world = World(tmp_path, [check], baseline={"dataset": "features.live", "period": "same_weekday"})
    live = world.live(days=49)
    live["x"] += 3.0 * (live["at"].dt.day_of_week >= 5)  # weekends are different, every week alike
    world.write("features.live", live)
    report = world.check(at=NOW - timedelta(days=day, hours=22))  # at two in the night
    assert (report.severity, report.baseline.rows) == (Severity.ok, 4 * 600)


def test_spans_of_the_same_weekdays() -> None:
    night = datetime(2026, 1, 20, 2)
    day, week, long, hour = (
        spans_of("same_weekday", night, reach)
        for reach in (timedelta(days=1), timedelta(days=7), timedelta(days=10), timedelta(hours=1))
    )
    assert day[-1] == (datetime(2026, 1, 12, 2), datetime(2026, 1, 13, 2))
    assert [end for _, end in day] == [night - timedelta(weeks=each) for each in (4, 3, 2, 1)]
    assert week[-1] == (datetime(2026, 1, 6, 2), datetime(2026, 1, 13, 2))
    assert week[0][0] == night - timedelta(weeks=5)
    assert long[-1] == (datetime(2025, 12, 27, 2), datetime(2026, 1, 6, 2))
    assert hour[-1] == (datetime(2026, 1, 13), datetime(2026, 1, 14))


def test_a_baseline_may_be_the_same_week_last_year(tmp_path: Path) -> None:
    check = {"type": "data_drift", "method": "psi", "threshold": 0.2, "window": "1d"}
    world = World(tmp_path, [check], baseline={"dataset": "features.live", "period": "same_week_last_year"})
    world.write("features.live", world.live())
    report = world.check()
    assert (report.status, report.severity) == ("failed", Severity.unknown)  # there is no last year
    world.write("features.live", world.rows(NOW - timedelta(weeks=52, days=7), shift=2.0), "last year")
    report = world.check()
    assert report.baseline.rows == 7 * 600
    assert report.drift_detected


def test_correlations_of_nothing_are_unknown_never_ok(tmp_path: Path) -> None:
    check = {"type": "feature_drift", "method": "correlation", "threshold": 0.2, "features": ["kind"]}
    world = World(tmp_path, [check])
    world.happen()
    report = world.check()
    assert (report.status, report.severity) == ("insufficient_data", Severity.unknown)
    (found,) = report.checks
    assert (found.method, found.severity) == ("correlation", Severity.unknown)
    assert "no two numeric features" in found.detail


def test_shares_and_means_decide_over_all_features(tmp_path: Path) -> None:
    checks = [
        {"type": "data_drift", "method": "psi", "threshold": 0.2, "verdict": "share", "min_share": 0.5},
        {"type": "data_drift", "method": "psi", "threshold": 0.2, "verdict": "share", "min_share": 0.3},
        {"type": "data_drift", "method": "psi", "threshold": 0.4, "verdict": "mean"},
        {"type": "data_drift", "method": "psi", "threshold": 0.1, "verdict": "mean"},
    ]
    world = World(tmp_path, checks)
    world.happen(shift=0.8)
    report = world.check()
    verdicts = [check for check in report.checks if check.subject.endswith("of features")]
    assert [check.found for check in verdicts] == [False, True, False, True]
    assert verdicts[0].value == pytest.approx(1 / 3)
    values = [c.value or 0.0 for c in report.checks[1:4]]
    assert verdicts[2].value == pytest.approx(float(np.mean(values)))
    alone = [c for c in report.checks[1:4] if c.subject == "x"]
    assert alone[0].severity is Severity.ok
    assert "alone no finding" in alone[0].detail
    assert pd.notna(alone[0].value)
