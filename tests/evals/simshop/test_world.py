from __future__ import annotations

import json
from datetime import date, datetime, timedelta

import numpy as np
import pytest

from evals.simshop import LIVE_FROM, World
from evals.simshop.tables import (
    BASELINE_TABLE,
    CATEGORICAL,
    FEATURES_TABLE,
    HOLDOUT_TABLE,
    LABELS_TABLE,
    NUMERIC,
)

SMALL = 3_500
DAY = timedelta(days=1)


def built(shelf, **given):
    world = World(5, SMALL, **given)
    world.build_history(shelf)
    return world


def test_history_scores_every_customer_once_a_week(lived):
    rows = lived(LIVE_FROM).read(FEATURES_TABLE).to_pandas()
    last = rows[(rows.scored_at >= "2025-12-29") & (rows.scored_at < "2026-01-05")]
    assert len(last) == last.customer_id.nunique() == SMALL
    assert rows.scored_at.min() < datetime(2024, 1, 2)
    assert datetime(2026, 1, 5, 23) < rows.scored_at.max() < LIVE_FROM
    per_hour = last.scored_at.dt.hour.value_counts()
    assert per_hour.max() - per_hour.min() <= 14
    assert not rows[list(CATEGORICAL) + [n for n in NUMERIC if n != "nps_score"]].isna().any().any()
    assert 0.3 < last.nps_score.isna().mean() < 0.5


def test_history_keeps_one_week_in_eight_before_october_2025(lived):
    days = lived(LIVE_FROM).read(FEATURES_TABLE).to_pandas().scored_at.dt.date
    early = sorted(set(days[days < date(2025, 9, 29)]))
    assert len(early) == 7 * 12
    late = set(days[days >= date(2025, 9, 29)])
    assert late == {date(2025, 9, 29) + i * DAY for i in range(99)}


def test_shop_grows_to_its_size_and_has_the_declared_mix(lived):
    rows = lived(LIVE_FROM).read(FEATURES_TABLE).to_pandas()
    first = rows[rows.scored_at < "2024-01-08"]
    assert 0.65 * SMALL < len(first) < 0.76 * SMALL
    last = rows[rows.scored_at >= "2025-12-29"]
    assert (last.orders_30d > 0).mean() == pytest.approx(0.30, abs=0.03)
    assert (last.channel == "web").mean() == pytest.approx(0.70, abs=0.03)
    assert (last.market == "APAC").mean() == pytest.approx(0.15, abs=0.03)


def test_customers_stay_like_themselves(lived):
    rows = lived(LIVE_FROM).read(FEATURES_TABLE).to_pandas()
    one = rows[(rows.scored_at >= "2025-12-22") & (rows.scored_at < "2025-12-29")].set_index("customer_id")
    two = rows[(rows.scored_at >= "2025-12-29") & (rows.scored_at < "2026-01-05")].set_index("customer_id")
    both = one.join(two.add_suffix("_next"), how="inner")
    assert 0.9 * SMALL < len(both) < 0.96 * SMALL
    for name in ("discount_share_90d", "sessions_30d", "avg_resolution_hours"):
        assert both[name].corr(both[f"{name}_next"], method="spearman") > 0.7
    assert (both.tenure_days_next - both.tenure_days == 7).all()


def test_baseline_is_the_week_up_to_the_end_of_2025(lived):
    rows = lived(LIVE_FROM).read(BASELINE_TABLE).to_pandas()
    assert len(rows) == SMALL
    assert rows.scored_at.min().date() == date(2025, 12, 25)
    assert rows.scored_at.max().date() == date(2025, 12, 31)


@pytest.mark.parametrize("now", [LIVE_FROM, datetime(2026, 1, 20), datetime(2026, 2, 9, 13)])
def test_holdout_is_the_latest_week_whose_labels_all_had_their_14_days(lived, now):
    shelf = lived(now)
    holdout = shelf.read(HOLDOUT_TABLE).to_pandas()
    labels = shelf.read(LABELS_TABLE).to_pandas()
    rows = shelf.read(FEATURES_TABLE).to_pandas()
    last = now.date() - 15 * DAY
    assert sorted(set(holdout.scored_at.dt.date)) == [last - i * DAY for i in range(6, -1, -1)]
    labelled = rows[rows.scored_at.dt.date <= last].merge(labels, on=["customer_id", "scored_at"], how="left")
    assert labelled.labelled_at.notna().all()
    assert len(holdout) == SMALL
    same = holdout.merge(labels, on=["customer_id", "scored_at"], suffixes=("", "_arrived"), validate="one_to_one")
    assert len(same) == SMALL
    assert (same.churned == same.churned_arrived).all()


def test_labels_arrive_late_whatever_they_say(lived):
    now = datetime(2026, 2, 9, 13)
    labels = lived(now).read(LABELS_TABLE).to_pandas()
    assert labels.labelled_at.max() <= now
    assert not labels.duplicated(["customer_id", "scored_at"]).any()
    old = labels[labels.scored_at < "2026-01-20"]
    days = (old.labelled_at - old.scored_at).dt.total_seconds() / 86_400
    assert (days < 1).mean() == pytest.approx(0.35, abs=0.01)
    assert 0.03 < (days < 1 / 24).mean() < 0.12
    assert 7 < days.max() < 14
    assert days[old.churned].mean() == pytest.approx(days[~old.churned].mean(), rel=0.03)
    assert 0.055 < old.churned.mean() < 0.08


def test_data_do_not_depend_on_how_time_passes(shelf, lived):
    world = built(shelf)
    when = LIVE_FROM
    for step in (5, 19, 30, 1, 200, 24, 24, 300, 0, 48, 7, 166):
        when += timedelta(hours=step)
        world.advance(shelf, when)
    other = lived(when)
    assert shelf.files.keys() == other.files.keys()
    for table, files in shelf.files.items():
        assert files.keys() == other.files[table].keys(), table
        for name, data in files.items():
            assert data.equals(other.files[table][name]), (table, name)


def test_a_resumed_world_goes_on_as_the_first_would_have(shelf, lived):
    stop, end = datetime(2026, 1, 25, 7), datetime(2026, 2, 3)
    world = built(shelf)
    world.advance(shelf, stop)
    heir = World(5, SMALL)
    heir.resume(stop)
    heir.advance(shelf, end)
    other = lived(end)
    assert {t: {n: d.num_rows for n, d in f.items()} for t, f in shelf.files.items()} == {
        t: {n: d.num_rows for n, d in f.items()} for t, f in other.files.items()
    }
    assert all(d.equals(other.files[t][n]) for t, f in shelf.files.items() for n, d in f.items())


def test_seeds_differ(lived, shelf):
    World(6, SMALL).build_history(shelf)
    assert not shelf.read(BASELINE_TABLE).equals(lived(LIVE_FROM).read(BASELINE_TABLE))


def test_a_day_in_progress_holds_only_what_has_happened(shelf):
    world = built(shelf)
    noon = LIVE_FROM + timedelta(hours=12)
    world.advance(shelf, noon)
    today = shelf.files[FEATURES_TABLE]["2026-01-06"].to_pandas()
    assert len(today) == SMALL // 14
    assert today.scored_at.max() <= noon
    assert (shelf.read(LABELS_TABLE).to_pandas().labelled_at <= noon).all()
    loaded = today[["orders_loaded_at", "web_loaded_at", "crm_loaded_at", "billing_loaded_at"]]
    assert (loaded.le(today.scored_at, axis=0)).all().all()


def test_time_cannot_go_back_and_a_world_begins_once(shelf):
    world = World(5, SMALL)
    with pytest.raises(ValueError, match="history"):
        world.advance(shelf, datetime(2026, 1, 7))
    world.build_history(shelf)
    with pytest.raises(ValueError, match="cannot go back"):
        world.advance(shelf, LIVE_FROM - DAY)
    with pytest.raises(ValueError, match="begun already"):
        world.build_history(shelf)
    with pytest.raises(ValueError, match="at least 70"):
        World(5, 10)


def test_progress_is_told_to_the_end(shelf):
    told = []
    World(5, 70).build_history(shelf, lambda done, total: told.append((done, total)))
    assert told[-1] == (736, 736)
    assert len(told) == 736


def test_live_requests_are_rows_of_that_time(shelf):
    world = built(shelf)
    start, end = datetime(2026, 1, 6, 21), datetime(2026, 1, 7, 9)
    asked = list(world.live_requests(start, end, 100))
    assert len(asked) == 100
    assert [r.at for r in asked] == sorted(r.at for r in asked)
    assert all(start <= r.at < end for r in asked)
    halves = np.array([r.at < datetime(2026, 1, 7, 3) for r in asked])
    assert 45 <= halves.sum() <= 55
    world.advance(shelf, datetime(2026, 1, 25))
    rows = shelf.read(FEATURES_TABLE).to_pandas().set_index("customer_id")
    labels = shelf.read(LABELS_TABLE).to_pandas()
    for request in asked[::10]:
        assert set(request.features) == {*NUMERIC, *CATEGORICAL}
        features = json.loads(json.dumps(request.features, allow_nan=False))
        row = rows.loc[[int(request.customer_id)]]
        row = row[row.scored_at <= request.at].iloc[-1]
        assert start <= row.scored_at <= request.at
        assert features["spend_30d"] == float(row.spend_30d)
        assert features["channel"] == row.channel
        assert ((labels.customer_id == int(request.customer_id)) & (labels.scored_at == row.scored_at)).any()


def test_more_requests_than_rows_ask_again_later(shelf):
    world = built(shelf)
    start = datetime(2026, 1, 6, 8)
    asked = list(world.live_requests(start, start + timedelta(hours=1), 500))
    assert len(asked) == 500
    assert [r.at for r in asked] == sorted(r.at for r in asked)
    assert all(start <= r.at < start + timedelta(hours=1) for r in asked)
    assert len({r.customer_id for r in asked}) in (20, 21)
