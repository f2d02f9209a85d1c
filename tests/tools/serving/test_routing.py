"""Shares, stickiness and what the log says of them, over real sockets."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from tools.serving.buckets import BUCKETS, BucketRouter, threshold
from tools.serving.client import Response, failures, send

Payload = Callable[..., dict[str, Any]]


def variants(responses: list[Response]) -> dict[str, str]:
    """Index → variant; every request must have been answered."""
    assert not list(failures(responses))
    return {str(i): response.body["variant"] for i, response in enumerate(responses)}


def test_buckets_are_uniform_and_keyed_by_model() -> None:
    churn, fraud = BucketRouter("churn"), BucketRouter("fraud")
    buckets = [churn.bucket(str(i)) for i in range(20_000)]
    assert min(buckets) >= 0 and max(buckets) < BUCKETS
    below = sum(bucket < threshold(5) for bucket in buckets)
    assert abs(below - 1_000) / math.sqrt(20_000 * 0.05 * 0.95) < 4
    both = sum(fraud.bucket(str(i)) < 1_000 and buckets[i] < 1_000 for i in range(20_000))
    assert 120 < both < 280  # independent experiments meet 1% of the same ids, not 10%


@pytest.mark.parametrize("percent", [5, 10, 25, 50])
def test_the_share_of_each_stage_is_that_of_a_fair_draw(percent: float) -> None:
    router, asked, share = BucketRouter("churn"), 100_000, percent / 100
    challenged = sum(router.bucket(str(i)) < threshold(percent) for i in range(asked))
    assert abs(challenged - asked * share) / math.sqrt(asked * share * (1 - share)) < 3


def test_thresholds_cover_none_and_all() -> None:
    assert [threshold(pct) for pct in (0, 0.01, 5, 100)] == [0, 1, 500, BUCKETS]


def test_share_is_sticky_and_no_id_moves_back_while_weights_rise(world: Any, gateway: Any, payload: Payload) -> None:
    requests = [payload(id=str(i)) for i in range(2_000)]
    before: set[str] = set()
    for pct in (5, 25, 50, 100):
        number = world.split("one", "two", pct)
        assert gateway.readiness()["split"] == number
        seen = variants(send(gateway.predict_url, requests))
        challenged = {i for i, variant in seen.items() if variant == "challenger"}
        assert before <= challenged
        deviation = math.sqrt(len(requests) * pct / 100 * (1 - pct / 100)) or 1.0
        assert abs(len(challenged) - len(requests) * pct / 100) < 4 * deviation
        before = challenged
    world.split("one", "two", 25)
    again = variants(send(gateway.predict_url, requests[:500]))
    world.split("one", "two", 50)
    assert {i for i, variant in again.items() if variant == "challenger"} <= before


def test_answers_are_the_registered_models_own(world: Any, gateway: Any, payload: Payload) -> None:
    import pandas as pd
    from conftest import boosted

    world.split("one", "two", 50)
    rows = [payload(id=str(i), recency=i % 90, spend=None if i % 7 == 0 else i, market="EU") for i in range(60)]
    responses = send(gateway.predict_url, rows)
    table = pd.DataFrame([row["features"] for row in rows])
    models = {"one": boosted(1), "two": boosted(2)}
    scores = {world.versions[name]: model.predict_proba(table)[:, 1] for name, model in models.items()}
    assert {response.body["version"] for response in responses} == set(scores)
    for i, response in enumerate(responses):
        expected = scores[response.body["version"]][i]
        prediction = response.body["predictions"][0]
        assert math.isclose(prediction["score"], expected, abs_tol=1e-9)
        assert prediction["label"] == int(expected >= 0.5)
        assert response.body["model"] == "ChurnModel"


def test_log_has_one_row_an_instance_with_the_worlds_time(world: Any, gateway: Any, payload: Payload) -> None:
    import pandas as pd
    from conftest import NOW

    world.split("one", "two", 50)
    features = payload()["features"]
    before = gateway.metrics()['guardian_requests_total{variant="challenger"}']
    responses = send(gateway.predict_url, [payload(id=f"log-{i}") for i in range(100)])
    [several] = send(gateway.predict_url, [{"id": "log-many", "instances": [features] * 3}])
    assert len(several.body["predictions"]) == 3
    gateway.wait_log_drained()
    log = world.log()
    rows = log[log["id"].fillna("").str.startswith("log-")]
    assert len(rows) == 103
    assert set(rows["at"]) == {pd.Timestamp(NOW)}
    assert rows["error"].isna().all() and (rows["latency_ms"] > 0).all()
    answered = {response.body["request_id"]: response.body for response in responses}
    for row in rows[rows["request_id"].isin(answered)].itertuples():
        body = answered[str(row.request_id)]
        assert (row.variant, row.version) == (body["variant"], body["version"])
        assert (row.score, row.label) == (body["predictions"][0]["score"], body["predictions"][0]["label"])
    metrics = gateway.metrics()
    assert metrics["guardian_prediction_log_rows_dropped"] == 0
    assert metrics['guardian_requests_total{variant="challenger"}'] - before == sum(
        response.body["variant"] == "challenger" for response in [*responses, several]
    )


def test_log_is_whole_after_a_clean_stop(world: Any, own_gateway: Any, payload: Payload) -> None:
    send(own_gateway.predict_url, [payload(id=f"last-{i}") for i in range(50)])
    own_gateway.stop()
    assert world.log()["id"].fillna("").str.startswith("last-").sum() == 50


def test_rows_carry_the_time_set_before_each_burst(world: Any, gateway: Any, payload: Payload) -> None:
    from datetime import timedelta

    import pandas as pd
    from conftest import NOW

    for hour in range(8):
        world.systems.clock.set(NOW + timedelta(hours=hour))
        send(gateway.predict_url, [payload(id=f"hour{hour}-{i}") for i in range(40)])
    world.systems.clock.set(NOW)
    gateway.wait_log_drained()
    log = world.log()
    for hour in range(8):
        rows = log[log["id"].fillna("").str.startswith(f"hour{hour}-")]
        assert len(rows) == 40 and set(rows["at"]) == {pd.Timestamp(NOW + timedelta(hours=hour))}
