"""The figures of the story, measured at full size with a plain gradient boosting."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from evals.simshop import World
from evals.simshop.tables import CATEGORICAL, CATEGORIES, FEATURES_TABLE, HOLDOUT_TABLE, LABELS_TABLE, NUMERIC

COLUMNS = [*NUMERIC, *CATEGORICAL]


@pytest.fixture(autouse=True)
def one_thread():
    """OpenMP threads that wait for each other cost more than they bring where other tests share the cores."""
    with threadpool_limits(1):
        yield


def matrix(frame):
    coded = {name: frame[name].map({v: i for i, v in enumerate(CATEGORIES[name])}) for name in CATEGORICAL}
    return frame[COLUMNS].assign(**coded).to_numpy(np.float64)


def fitted(rows, weights=None):
    model = HistGradientBoostingClassifier(
        random_state=0, categorical_features=[name in CATEGORICAL for name in COLUMNS]
    )
    return model.fit(matrix(rows), rows.churned, sample_weight=weights)


def auc(model, rows):
    return roc_auc_score(rows.churned, model.predict_proba(matrix(rows))[:, 1])


def between(shelf, table, start, end, share=1.0):
    rows = shelf.read(table)
    scored_at = rows["scored_at"].to_numpy()
    chosen = np.flatnonzero((scored_at >= np.datetime64(start)) & (scored_at < np.datetime64(end)))
    if share < 1:
        chosen = np.sort(np.random.default_rng(0).choice(chosen, int(share * len(chosen)), replace=False))
    return rows.take(chosen).to_pandas()


def labelled(shelf, start, end, share=1.0):
    rows = between(shelf, FEATURES_TABLE, start, end, share)
    return rows.merge(between(shelf, LABELS_TABLE, start, end), on=["customer_id", "scored_at"])


def test_champion_is_good_at_first_decays_and_a_retrained_model_recovers(shelf):
    world = World(seed=7)
    world.build_history(shelf)
    holdout = shelf.read(HOLDOUT_TABLE).to_pandas()
    assert len(holdout) == 100_000
    begins = datetime(2025, 12, 16)
    assert holdout.scored_at.min() >= begins
    champion = fitted(labelled(shelf, begins - timedelta(days=365), begins, 0.127))
    assert auc(champion, holdout) == pytest.approx(0.847, abs=0.004)

    now = datetime(2026, 1, 27)
    world.advance(shelf, now)
    week = between(shelf, FEATURES_TABLE, now - timedelta(days=7), now)
    scores = champion.predict_proba(matrix(week))[:, 1]
    counts = world.campaign(shelf, week.customer_id.to_numpy()[np.argsort(-scores)[:200]], "1", now)
    assert 5 <= counts.already_churned <= 20
    assert 20 <= counts.never_leaving <= 60

    world.advance(shelf, datetime(2026, 2, 5))
    live = labelled(shelf, "2026-01-14", "2026-01-21")
    assert 0.72 < auc(champion, live) < 0.77
    rows = labelled(shelf, "2025-01-14", "2026-01-14", 0.2)
    age_days = (datetime(2026, 1, 14) - rows.scored_at).dt.total_seconds() / 86_400
    assert auc(fitted(rows, np.exp2(-age_days / 14)), live) > 0.82
