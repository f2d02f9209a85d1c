"""What a caller is told when a request is wrong or too much."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tools.serving.client import Response, send

Payload = Callable[..., dict[str, Any]]


def ask(gateway: Any, body: Any) -> Response:
    [response] = send(gateway.predict_url, [body])
    return response


@pytest.mark.parametrize(
    ("changes", "where", "says"),
    [
        ({"recency": "12"}, "features.recency", "must be a number or null, not the string '12'"),
        ({"recency": True}, "features.recency", "must be a number or null, not true"),
        ({"orders": [1]}, "features.orders", "must be a number or null, not a list"),
        ({"market": 3}, "features.market", "must be a string or null, not the number 3"),
    ],
)
def test_wrong_type_names_the_field(gateway: Any, payload: Payload, changes: Any, where: str, says: str) -> None:
    response = ask(gateway, payload(**changes))
    assert response.status == 422
    assert response.body["error"]["where"] == where
    assert says in response.body["error"]["message"]


def test_missing_feature_names_the_field_and_the_instance(gateway: Any, payload: Payload) -> None:
    features = payload()["features"]
    broken = {name: value for name, value in features.items() if name != "spend"}
    assert ask(gateway, {"features": broken}).body["error"]["where"] == "features.spend"
    response = ask(gateway, {"instances": [features, broken]})
    assert (response.status, response.body["error"]["where"]) == (422, "instances[1].spend")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{not json", 400),
        (b"[1]", 422),
        (b"{}", 422),
        (b'{"features": 3}', 422),
        (b'{"instances": []}', 422),
        (b'{"instances": {}}', 422),
        (b'{"id": {}, "features": {}}', 422),
        (b'{"features": {}, "instances": []}', 422),
        (b'{"instances": [' + b",".join([b"{}"] * 1001) + b"]}", 413),
        (b" " * (4 * 1024 * 1024 + 1), 413),
    ],
)
def test_bad_bodies_are_refused_readably(gateway: Any, body: bytes, status: int) -> None:
    response = ask(gateway, body)
    assert response.status == status
    assert set(response.body["error"]) == {"kind", "message", "where"} and response.body["error"]["message"]


def test_null_and_unknown_columns_and_unseen_categories_are_scored(gateway: Any, payload: Payload) -> None:
    body = payload(spend=None, customer_id=7, market="MARS")
    assert ask(gateway, body).status == 200
    assert ask(gateway, payload(market=None)).status == 200
    assert ask(gateway, {"id": 42, **payload()}).status == 200


def test_wrong_path_and_method(gateway: Any) -> None:
    for path, status in (("/v1/other", 404), ("/v1/churn/predict", 405)):
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(gateway.base_url + path)
        assert refusal.value.code == status
    assert urllib.request.urlopen(gateway.base_url + "/healthz").status == 200


def test_over_capacity_is_told_to_come_back() -> None:
    """Against the application itself, with a limit of one and a request that holds it."""
    from tools.serving.app import GatewayApp
    from tools.serving.metrics import Metrics

    app = GatewayApp("/p", None, None, Metrics(), lambda: 0.0, max_inflight=1)  # type: ignore[arg-type]
    scope = {"type": "http", "path": "/p", "method": "POST", "headers": []}
    sent: list[Any] = []

    async def never() -> Any:
        await asyncio.Event().wait()

    async def send_message(message: Any) -> None:
        sent.append(message)

    async def scenario() -> None:
        holding = asyncio.create_task(app(dict(scope), never, send_message))
        await asyncio.sleep(0)
        await app(dict(scope), never, send_message)
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)

    asyncio.run(scenario())
    assert sent[0]["status"] == 503
    assert (b"retry-after", b"1") in sent[0]["headers"]
