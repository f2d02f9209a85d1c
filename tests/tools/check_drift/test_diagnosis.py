"""Signs of a broken pipeline in single columns, and since when a change shows."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.tools.check_drift.world import NOW, World
from tools.check_drift import profile
from tools.check_drift.bins import Summary
from tools.check_drift.signs import likely_name, pipeline_sign

RANDOM = np.random.default_rng(6)
HOURS = RANDOM.lognormal(1, 0.5, 5000)
PLANS = RANDOM.choice(["monthly", "annual"], 5000)


def summary(values: object) -> Summary:
    return profile({"x": values}).columns["x"]


@pytest.mark.parametrize(
    ("before", "after", "sign"),
    [
        (HOURS, HOURS * 100, "unit changed by a factor of 100"),
        (HOURS, HOURS / 60, "unit changed by a factor of 0.0166667"),
        (HOURS, np.where(RANDOM.random(5000) < 0.3, np.nan, HOURS), "nulls"),
        (HOURS, np.full(500, 3.0), "constant 3"),
        (HOURS, np.full(500, np.inf), "+100% infinite values"),
        (HOURS, np.where(RANDOM.random(5000) < 0.3, -np.inf, HOURS), "% infinite values"),
        (PLANS, np.array(["1", "2"] * 300), "codes changed: 100% of the values were never seen"),
        (PLANS, np.array(["annual"] * 300), "constant annual"),
        (HOURS, PLANS, "type changed"),
    ],
)
def test_broken_pipelines_show(before: object, after: object, sign: str) -> None:
    assert sign in str(pipeline_sign(summary(before), summary(after)))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (HOURS, HOURS * 1.12),
        (HOURS, HOURS + 3),
        (np.where(HOURS > 3, np.inf, HOURS), np.where(HOURS > 2.9, np.inf, HOURS + 1)),
        (PLANS, RANDOM.choice(["monthly", "annual", "weekly"], 800, p=[0.3, 0.5, 0.2])),
    ],
)
def test_a_changed_world_shows_none(before: object, after: object) -> None:
    assert pipeline_sign(summary(before), summary(after)) is None


def test_a_missing_column_is_a_sign() -> None:
    assert pipeline_sign(summary(HOURS), None) == "missing"


@pytest.mark.parametrize("rows", [40, 400, 4000])
def test_codes_that_stand_where_their_neighbours_stood_are_a_sign(rows: int) -> None:
    codes = RANDOM.choice(["1", "2", "3", "4"], 20_000, p=[0.55, 0.3, 0.1, 0.05])
    now = RANDOM.choice(["0", "1", "2", "3"], rows, p=[0.55, 0.3, 0.1, 0.05])
    assert "codes shifted by -1" in str(pipeline_sign(summary(codes), summary(now)))


def test_other_shares_of_the_same_codes_are_the_worlds_doing() -> None:
    codes = RANDOM.choice(["a", "b", "c"], 20_000, p=[0.5, 0.3, 0.2])
    for shares in ([0.2, 0.3, 0.5], [0.3, 0.45, 0.25], [0.1, 0.2, 0.7]):
        assert pipeline_sign(summary(codes), summary(RANDOM.choice(["a", "b", "c"], 500, p=shares))) is None


@pytest.mark.parametrize("rows", [12, 60, 1000])
def test_a_unit_shows_in_small_windows_too(rows: int) -> None:
    now = np.random.default_rng(rows).lognormal(1, 0.2, rows) * 100
    before = np.random.default_rng(3).lognormal(1, 0.2, 5000)
    assert pipeline_sign(summary(before), summary(now)) == "unit changed by a factor of 100"


def test_a_few_equal_values_are_no_constant_where_they_are_usual() -> None:
    rare = (RANDOM.random(5000) < 0.05).astype(float)
    assert pipeline_sign(summary(rare), summary(np.zeros(20))) is None
    assert pipeline_sign(summary(rare), summary(np.zeros(500))) == "constant 0"


@pytest.mark.parametrize("now", ["", "a "])
def test_a_category_that_comes_under_another_name_is_a_sign(now: str) -> None:
    codes = RANDOM.choice(["a", "b", "c"], 20_000, p=[0.4, 0.35, 0.25])
    other = RANDOM.choice([now, "b", "c"], 500, p=[0.4, 0.35, 0.25])
    assert pipeline_sign(summary(codes), summary(other)) == f"'a' came as {now!r}, as often"
    shrunk = RANDOM.choice([now, "b", "c"], 500, p=[0.1, 0.5, 0.4])
    assert pipeline_sign(summary(codes), summary(shrunk)) is None


def test_a_missing_column_is_found_under_its_new_name() -> None:
    share = RANDOM.beta(2, 6, 300)
    new = {"email_opens_share": summary(share), "loaded_by": summary(PLANS[:300]), "web_share": summary(share / 3)}
    before = summary(RANDOM.beta(2, 6, 5000))
    assert likely_name("email_open_rate", before, new) == "email_opens_share"
    assert likely_name("email_open_rate", before, {"web_share": new["web_share"]}) is None
    twin = {"b_rate": summary(share), **new}
    assert likely_name("email_open_rate", before, twin) == "email_opens_share"


DECAY = {"type": "concept_drift", "method": "performance_decay", "metric": "auc_roc", "threshold": 0.05}
PSI = {"type": "data_drift", "method": "psi", "threshold": 0.2}


@pytest.mark.parametrize("kept_live", [True, False], ids=["the baseline's rows are live too", "they are not"])
@pytest.mark.parametrize("weeks", [2, 8, 20])
def test_a_change_of_weeks_ago_is_dated_at_the_first_look(tmp_path: Path, weeks: int, kept_live: bool) -> None:
    changed = NOW - timedelta(weeks=weeks)
    world = World(tmp_path, [PSI])
    baseline = world.rows(changed - timedelta(weeks=2), 14)
    world.write("features.baseline", baseline)
    if kept_live:
        world.write("features.live", baseline, "before")
    world.write("features.live", world.rows(changed, 7 * weeks, shift=1.0), "after")
    diagnosis = world.check().diagnosis
    assert diagnosis.first_seen == changed.date()
    assert diagnosis.sudden is (True if kept_live else None)


def test_a_change_between_the_baseline_and_the_past_four_weeks_is_found(tmp_path: Path) -> None:
    world = World(tmp_path, [PSI])
    start, changed = NOW - timedelta(weeks=20), NOW - timedelta(weeks=9)
    world.write("features.baseline", world.rows(start, 14))
    world.write("features.live", world.rows(start, 77), "before")
    world.write("features.live", world.rows(changed, 63, shift=1.0), "after")
    diagnosis = world.check().diagnosis
    assert (diagnosis.first_seen, diagnosis.sudden) == (changed.date(), True)


@pytest.mark.parametrize(("fell", "kind"), [(4, "pipeline"), (12, "both")])
def test_a_performance_that_falls_with_a_broken_feature_is_not_the_worlds_doing(
    tmp_path: Path, fell: int, kind: str
) -> None:
    """What the model is fed explains it; where it fell a week before the feature broke, the world changed as well."""
    world = World(tmp_path, [PSI, DECAY])
    world.settle()
    live = world.live(21)
    broken, changed = (live["at"] >= NOW - timedelta(days=days) for days in (4, fell))
    outcomes = world.labels(live)
    if fell > 4:
        outcomes = pd.concat([outcomes[~changed], world.labels(live[changed], twist=-1.0)])
    live.loc[broken, "x"] = np.inf
    said = live[["id", "at"]].assign(model_version="1", score=1 / (1 + np.exp(-live["x"])))
    world.write("features.live", live)
    world.write("labels.y", outcomes, "live")
    world.write("predictions.daily", said.assign(label=said["score"] >= 0.5))
    report = world.check()
    assert {each.type for each in report.checks if each.found} == {"data_drift", "concept_drift"}
    assert report.diagnosis.kind == kind, report.diagnosis.detail
