from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from evals.simshop import LIVE_FROM, QUIET, World
from evals.simshop.tables import CAMPAIGNS_TABLE, CUSTOMERS_TABLE, FEATURES_TABLE, LABELS_TABLE
from tools.systems.warehouse import Warehouse

SMALL = 3_500
CHURN_RATE = """SELECT COUNT(CASE WHEN churned THEN 1 END)::float /
COUNT(*) FROM customers WHERE segment = 'enterprise'"""
ROI = """SELECT SUM(retained_arr) / SUM(intervention_cost)
FROM retention_campaigns WHERE model_version = $current"""
RETENTION = """SELECT (end_arr - churn_arr + expansion_arr) / start_arr
FROM arr_summary WHERE period = $current_quarter"""


@pytest.fixture
def world(shelf):
    world = World(5, SMALL)
    world.build_history(shelf)
    return world


def scored_last_week(shelf, now):
    rows = shelf.read(FEATURES_TABLE).to_pandas()
    return rows[(rows.scored_at >= now - timedelta(days=7)) & (rows.scored_at < now)]


def test_the_declared_queries_run_unchanged(tmp_path):
    warehouse = Warehouse(tmp_path)
    world = World(5, 14_000, QUIET)
    world.build_history(warehouse)
    newest = warehouse.query(
        "SELECT customer_id FROM ml_features.customer_360 WHERE scored_at > '2026-01-05' ORDER BY discount_share_90d"
    )
    world.campaign(warehouse, newest["customer_id"].to_pylist()[:300], "3", LIVE_FROM)

    def value(sql, **params):
        return warehouse.query(sql, params).column(0)[0].as_py()

    assert value(CHURN_RATE) == pytest.approx(0.14, abs=0.015)
    assert value(RETENTION, current_quarter="2026-Q1") == pytest.approx(1.10, abs=0.04)
    assert value(RETENTION, current_quarter="2025-Q3") == pytest.approx(1.13, abs=0.04)
    assert value(ROI, current="3") > 0
    assert value(ROI, current="4") is None
    assert warehouse.columns("customers")["churned"] == "BOOLEAN"
    assert warehouse.columns("ml_features.customer_360_holdout")["churned"] == "BOOLEAN"


def test_customers_are_those_with_an_account_and_those_who_lately_closed_one(lived):
    now = datetime(2026, 2, 1, 12)
    customers = lived(now).read(CUSTOMERS_TABLE).to_pandas()
    assert customers.customer_id.is_unique
    closed = customers[customers.churned]
    assert (closed.churned_at <= now).all()
    assert (closed.churned_at > now - timedelta(days=30)).all()
    assert customers[~customers.churned].churned_at.isna().all()
    assert not closed.active.any()
    assert 0.95 * SMALL < (~customers.churned).sum() <= SMALL
    assert (customers.registered_at <= now).all()


def test_a_campaign_finds_out_what_the_world_knows(world, shelf):
    now = datetime(2026, 1, 27)
    world.advance(shelf, now)
    week = scored_last_week(shelf, now)
    counts = world.campaign(shelf, week.customer_id, "1", now)
    assert counts.contacted == len(week) == SMALL
    closed = shelf.read(CUSTOMERS_TABLE).to_pandas().query("churned")
    gone = week.merge(closed, on="customer_id").query("churned_at < scored_at")
    assert counts.already_churned == len(gone) > 0
    outcomes = shelf.read(CAMPAIGNS_TABLE).to_pandas().set_index("customer_id")
    world.advance(shelf, now + timedelta(days=15))
    labels = shelf.read(LABELS_TABLE).to_pandas().set_index("customer_id")
    labels = labels[(labels.scored_at >= now - timedelta(days=7)) & (labels.scored_at < now)]
    known = outcomes.join(labels, how="inner")
    assert len(known) == SMALL
    assert set(known[known.churned].outcome) == {"already_churned", "left", "retained"}
    assert set(known[~known.churned].outcome) == {"never_leaving", "stayed"}
    assert (outcomes.retained_arr > 0).eq(outcomes.outcome == "retained").all()
    assert counts.retained_arr == pytest.approx(float(outcomes.retained_arr.sum()))


def test_what_becomes_of_a_customer_depends_on_no_one_else(world, shelf):
    now = datetime(2026, 1, 13)
    world.advance(shelf, now)
    everyone = scored_last_week(shelf, now).customer_id.tolist()
    world.campaign(shelf, everyone, "1", now)
    world.campaign(shelf, [str(each) for each in reversed(everyone[:400])], "2", now)
    files = {name: table for name, table in shelf.files[CAMPAIGNS_TABLE].items() if len(table)}
    assert sorted(files) == ["2026-01-13T000000-v1", "2026-01-13T000000-v2"]
    all_rows, some = (files[name].to_pandas().set_index("customer_id") for name in sorted(files))
    assert some.outcome.equals(all_rows.outcome.loc[some.index])


def test_no_customer_is_gone_before_being_scored_without_the_lag(world, shelf):
    now = datetime(2026, 1, 20)
    world.advance(shelf, now)
    assert world.campaign(shelf, scored_last_week(shelf, now).customer_id, "1", now).already_churned == 0


def test_only_customers_scored_that_week_can_be_contacted(world, shelf):
    with pytest.raises(ValueError, match="scored within the week"):
        world.campaign(shelf, [1], "1", LIVE_FROM)
