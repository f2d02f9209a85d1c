from __future__ import annotations

from datetime import date, datetime

import numpy as np
import pytest

from evals.simshop import ALL_CAUSES, DRIFT_TYPES, FULL_STORY, QUIET, Cause, Story, World
from evals.simshop.tables import BASELINE_TABLE, CRM_FEATURES, FEATURES_TABLE, LABELS_TABLE, NUMERIC

LATER = datetime(2026, 2, 1, 12)


def psi(baseline, current):
    """Population stability index over the baseline's deciles and nulls, floored at 1e-4."""
    edges = np.unique(np.nanquantile(baseline, np.arange(0.1, 1, 0.1)))

    def shares(values):
        known = values[~np.isnan(values)]
        counts = np.bincount(np.searchsorted(edges, known), minlength=len(edges) + 1)
        share = np.maximum(np.append(counts, len(values) - len(known)) / len(values), 1e-4)
        return share / share.sum()

    p, q = shares(baseline), shares(current)
    return float(((q - p) * np.log(q / p)).sum())


def between(frame, start, end):
    return frame[(frame.scored_at >= start) & (frame.scored_at < end)]


def shifts(shelf, start="2026-01-09", end="2026-01-23"):
    base = shelf.read(BASELINE_TABLE).to_pandas()
    week = between(shelf.read(FEATURES_TABLE).to_pandas(), start, end)
    return {
        name: psi(base[name].to_numpy(np.float64), week[name].to_numpy(np.float64)) for name in NUMERIC if name in week
    }


def churn(shelf, start="2026-01-08", end="2026-01-17"):
    return between(shelf.read(LABELS_TABLE).to_pandas(), start, end).churned.mean()


def test_nothing_shifts_in_a_quiet_world(lived):
    assert max(shifts(lived(LATER, QUIET)).values()) < 0.05


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        ("product_launch", {"sessions_30d", "login_trend_30d", "cart_abandonment_rate"}),
        ("price_change", {"price_index", "spend_trend_30d", "avg_order_value"}),
        ("changed_reasons", set()),
        ("more_churn", set()),
        ("crm_lag", set()),
        ("changed_correlation", set()),
    ],
)
def test_each_cause_alone_shifts_its_own_features(lived, cause, expected):
    assert {name for name, value in shifts(lived(LATER, Story.of(cause))).items() if value > 0.2} == expected


def test_a_launch_moves_customers_to_the_app_and_no_one_to_leave(lived):
    quiet, launched = lived(LATER, QUIET), lived(LATER, Story.of("product_launch"))
    rows = between(launched.read(FEATURES_TABLE).to_pandas(), "2026-01-07", "2026-01-21")
    assert 0.13 < (rows.channel == "app").mean() < 0.22
    assert launched.read(LABELS_TABLE).equals(quiet.read(LABELS_TABLE))


def test_changed_reasons_make_discount_hunters_leave(lived):
    def leavers_by_discount(story):
        shelf = lived(LATER, story)
        rows = between(shelf.read(FEATURES_TABLE).to_pandas(), "2026-01-08", "2026-01-20")
        seen = rows.merge(shelf.read(LABELS_TABLE).to_pandas(), on=["customer_id", "scored_at"])
        hunters = seen.discount_share_90d > seen.discount_share_90d.quantile(0.8)
        return seen[hunters].churned.mean() / seen[~hunters].churned.mean()

    assert leavers_by_discount(QUIET) < 1.6
    assert leavers_by_discount(Story.of("changed_reasons")) > 3


def test_more_churn_is_more_churn_and_changed_reasons_are_not(lived):
    quiet = churn(lived(LATER, QUIET))
    assert churn(lived(LATER, Story.of("more_churn"))) > quiet + 0.055
    assert churn(lived(LATER, Story.of("changed_reasons"))) == pytest.approx(quiet, rel=0.2)


def test_a_changed_correlation_keeps_every_distribution(lived):
    quiet, changed = lived(LATER, QUIET), lived(LATER, Story.of("changed_correlation"))
    before = between(quiet.read(FEATURES_TABLE).to_pandas(), "2026-01-08", "2026-01-15")
    after = between(changed.read(FEATURES_TABLE).to_pandas(), "2026-01-08", "2026-01-15")
    for name in NUMERIC:
        np.testing.assert_array_equal(np.sort(before[name]), np.sort(after[name]))
    pair = ("email_open_rate", "sessions_30d")
    assert before[list(pair)].corr("spearman").iloc[0, 1] > 0.25
    assert after[list(pair)].corr("spearman").iloc[0, 1] < -0.25


def test_a_renamed_column_keeps_its_values_under_the_new_name(lived):
    files = lived(LATER, Story.of("renamed_column")).files[FEATURES_TABLE]
    quiet = lived(LATER, QUIET).files[FEATURES_TABLE]
    assert "email_open_rate" in files["2026-01-07"].column_names
    assert "email_open_rate" not in files["2026-01-08"].column_names
    assert files["2026-01-08"]["email_opens_share"].equals(quiet["2026-01-08"]["email_open_rate"])


def test_the_crm_lags_48_hours_and_is_back_filled(lived):
    during = lived(datetime(2026, 1, 31, 23), Story.of("crm_lag")).files[FEATURES_TABLE]
    after = lived(LATER, Story.of("crm_lag")).files[FEATURES_TABLE]
    for day in ("2026-01-22", "2026-01-26", "2026-01-31"):
        late, right = during[day].to_pandas(), after[day].to_pandas()
        right = right[: len(late)]
        age = (right.crm_loaded_at - late.crm_loaded_at).dt.total_seconds() / 3600
        assert (age == (0 if day == "2026-01-22" else 48)).all()
        differs = {name for name in NUMERIC if not np.array_equal(late[name], right[name], equal_nan=True)}
        assert differs == (set() if day == "2026-01-22" else set(CRM_FEATURES))
        assert (late.support_tickets_30d != right.support_tickets_30d).mean() < 2 / 7


def test_who_left_is_still_scored_only_while_the_crm_lags(lived):
    shelf = lived(LATER, Story.of("crm_lag"))
    customers = shelf.read("customers").to_pandas()
    rows = shelf.read(FEATURES_TABLE).to_pandas()
    closed = customers[customers.churned][["customer_id", "churned_at"]]
    after_leaving = rows.merge(closed, on="customer_id").query("scored_at > churned_at")
    assert after_leaving.scored_at.dt.date.min() == date(2026, 1, 23)
    assert after_leaving.scored_at.dt.date.max() == date(2026, 1, 31)
    assert (after_leaving.scored_at - after_leaving.churned_at).dt.total_seconds().max() <= 48 * 3600
    assert 0.01 < len(after_leaving) / len(between(rows, "2026-01-23", "2026-02-01")) < 0.04
    outcome = after_leaving.merge(shelf.read(LABELS_TABLE).to_pandas(), on=["customer_id", "scored_at"])
    assert outcome.churned.all()


def test_a_story_is_made_of_named_causes():
    assert [c.name for c in FULL_STORY.causes] == ["product_launch", "price_change", "changed_reasons", "crm_lag"]
    assert Story.of("price_change").active("price_change", date(2026, 1, 8))
    assert not Story.of("price_change").active("price_change", date(2026, 1, 7))
    assert not Story.of("crm_lag").active("crm_lag", date(2026, 2, 1))
    assert FULL_STORY.without("crm_lag").cause("crm_lag") is None
    moved = FULL_STORY.moved("price_change", date(2026, 3, 1))
    assert not moved.active("price_change", date(2026, 1, 9))
    with pytest.raises(ValueError, match="unknown cause typo; known are product_launch"):
        Story.of("typo")
    with pytest.raises(ValueError, match="no part"):
        QUIET.moved("crm_lag", date(2026, 3, 1))


def test_a_story_says_what_should_be_found():
    day = date(2026, 1, 10)
    assert FULL_STORY.raises(day) == {"data_drift", "feature_drift", "concept_drift"}
    assert "concept_drift" in Story.of("price_change").spares(day)
    assert "concept_drift" not in FULL_STORY.spares(day)
    assert QUIET.raises(day) == frozenset()
    assert len(QUIET.spares(day)) == 6
    assert all(cause.about for cause in ALL_CAUSES.values())
    with pytest.raises(ValueError, match="distinct and among"):
        Cause("odd", day, "", raises=frozenset({"data_drift"}), spares=frozenset({"data_drift"}))


def test_every_cause_says_what_it_should_raise_and_why():
    for cause in ALL_CAUSES.values():
        assert cause.raises
        assert cause.spares
        assert cause.because
        assert cause.raises | cause.spares | cause.open == DRIFT_TYPES
    assert {c.name for c in ALL_CAUSES.values() if c.origin == "pipeline"} == {"crm_lag", "renamed_column"}
    assert ALL_CAUSES["crm_lag"].open == {"label_drift"}


def test_one_past_can_be_continued_by_several_stories(lived, shelf):
    branch = type(shelf)()
    world = World(5, 3_500, QUIET)
    world.build_history(shelf)
    for story in (Story.of("price_change"), Story.of("crm_lag")):
        branch.files = {table: dict(files) for table, files in shelf.files.items()}
        world.with_story(story).advance(branch, LATER)
        for table in (FEATURES_TABLE, LABELS_TABLE, "customers"):
            assert branch.read(table).equals(lived(LATER, story).read(table))
    world.advance(shelf, LATER)
    assert shelf.read(FEATURES_TABLE).equals(lived(LATER, QUIET).read(FEATURES_TABLE))
    with pytest.raises(ValueError, match="has lived up to 2026-02-02 already, into crm_lag"):
        world.with_story(Story.of("crm_lag"))
