"""What a caller is told when a request is wrong or too much."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest

from tools.serving.client import Response, send
from tools.serving.requests import MAX_BODY_BYTES

Payload = Callable[..., dict[str, Any]]


def ask(gateway: Any, body: Any) -> Response:
    [response] = send(gateway.predict_url, [body])
    return response


@pytest.mark.parametrize(
    ("changes", "where", "says"),
    [
        ({"recency": "12"}, "features.recency", "must be a number or null, not the string '12'"),
        ({"recency": True}, "features.recency", "must be a number or null, not true"),
        ({"orders": [1]}, "features.orders", "must be a number, not a list"),
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
        (b"{not json", 422),
        (b"", 422),
        (b"\xff", 422),
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
    assert set(response.body["error"]) == {"kind", "message", "where"}
    assert response.body["error"]["message"] and response.body["error"]["where"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"features": {"recency": NaN, "orders": 2, "spend": 1, "market": "EU"}}', "features.recency"),
        (b'{"features": {"recency": 1, "orders": -Infinity, "spend": 1, "market": "EU"}}', "features.orders"),
        (b'{"instances": [{}, {"spend": NaN}]}', "instances[1].spend"),
    ],
)
def test_not_a_number_names_its_field(gateway: Any, body: bytes, where: str) -> None:
    response = ask(gateway, body)
    assert (response.status, response.body["error"]["where"]) == (422, where)


@pytest.mark.parametrize(
    ("changes", "where", "says"),
    [
        ({"orders": -1}, "orders", "must be between 0 and 500, not -1"),
        ({"orders": 501}, "orders", "must be between 0 and 500, not 501"),
        ({"orders": 2.5}, "orders", "must be a whole number, not 2.5"),
        ({"orders": None}, "orders", "must be a number, not null"),
        ({"spend": -0.01}, "spend", "must be at least 0, not -0.01"),
        ({"recency": -1e308}, "recency", "must be between -3.4e+38 and 3.4e+38"),
        ({"market": "MARS"}, "market", "must be one of APAC, EU, US, not the string 'MARS'"),
        ({"zzz": 1}, "zzz", "is no feature of this model and no column of its contract"),
    ],
)
def test_what_the_declared_contract_forbids_is_refused_and_counted(
    gateway: Any, payload: Payload, changes: Any, where: str, says: str
) -> None:
    counter = f'guardian_invalid_features_total{{feature="{where}"}}'
    before = gateway.metrics().get(counter, 0)
    response = ask(gateway, payload(**changes))
    assert (response.status, response.body["error"]["where"]) == (422, f"features.{where}")
    assert says in response.body["error"]["message"]
    assert gateway.metrics().get(counter, 0) - before == (where != "zzz"), "names of a caller's own are not counted"
    fine = payload()["features"]
    response = ask(gateway, {"instances": [fine, {**fine, **changes}]})
    assert (response.status, response.body["error"]["where"]) == (422, f"instances[1].{where}")


def test_what_the_declared_contract_allows_is_served(gateway: Any, payload: Payload) -> None:
    for changes in ({"orders": 0}, {"orders": 500.0}, {"spend": 1e9}, {"spend": None}, {"market": None}):
        assert ask(gateway, payload(**changes)).status == 200, changes
    assert ask(gateway, payload(recency=None)).status == 200, "the contract does not say, and the model copes"
    row = payload(customer_id=7, scored_at="2026-01-06T10:00:00", loaded_at="2026-01-06T09:00:00")
    assert ask(gateway, {"id": 42, **row}).status == 200, "a whole row of the feature table"


def test_an_unknown_key_beside_the_features_is_refused(gateway: Any, payload: Payload) -> None:
    response = ask(gateway, {**payload(), "feature": {}})
    assert (response.status, response.body["error"]["where"]) == (422, "feature")


@pytest.mark.parametrize("instances", [70_000, 700_000])
def test_a_body_over_the_limit_is_answered_to_a_client_that_sends_all_of_it(
    gateway: Any, payload: Payload, instances: int
) -> None:
    """urllib listens only once everything is sent: a connection closed early would show as a broken one."""
    body = json.dumps({"instances": [payload()["features"]] * instances}).encode()
    assert len(body) > MAX_BODY_BYTES
    request = urllib.request.Request(gateway.predict_url, body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=20)
    assert refusal.value.code == 413
    message = json.loads(refusal.value.read())["error"]["message"]
    assert message == "the body is larger than 4 MiB: send several requests, of at most 1,000 instances each"
    assert ask(gateway, payload()).status == 200


@pytest.mark.parametrize("more", ["", "Expect: 100-continue\r\n"])
def test_the_refusal_does_not_wait_for_a_body_that_is_declared_too_large(gateway: Any, more: str) -> None:
    host, port = gateway.base_url.removeprefix("http://").split(":")
    head = f"POST {gateway.endpoint} HTTP/1.1\r\nHost: x\r\nContent-Length: {10**10}\r\n{more}\r\n"
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(head.encode())
        answer = connection.recv(4096)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in answer


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
