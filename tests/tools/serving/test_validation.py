"""What a caller is told when a request is wrong or too much."""

from __future__ import annotations

import asyncio
import json
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
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


def test_unknown_names_are_refused(gateway: Any, payload: Payload) -> None:
    response = ask(gateway, payload(zzz=1))
    assert (response.status, response.body["error"]["where"]) == (422, "features.zzz")
    response = ask(gateway, {**payload(), "feature": {}})
    assert (response.status, response.body["error"]["where"]) == (422, "feature")


def test_a_whole_row_of_the_feature_table_may_be_sent(gateway: Any, payload: Payload) -> None:
    row = payload(customer_id=7, scored_at="2026-01-06T10:00:00", loaded_at="2026-01-06T09:00:00")
    assert ask(gateway, {"id": 42, **row}).status == 200


def test_null_is_refused_where_the_contract_says_never(gateway: Any, payload: Payload) -> None:
    response = ask(gateway, payload(orders=None))
    assert (response.status, response.body["error"]["where"]) == (422, "features.orders")
    assert "must be a number, not null" in response.body["error"]["message"]
    assert ask(gateway, payload(spend=None)).status == 200, "declared nullable"
    assert ask(gateway, payload(recency=None)).status == 200, "the contract does not say, and the model copes"
    assert ask(gateway, payload(market=None)).status == 200


def test_a_number_no_model_computes_with_is_refused(gateway: Any, payload: Payload) -> None:
    for name in ("orders", "recency"):
        response = ask(gateway, payload(**{name: -1e308}))
        assert (response.status, response.body["error"]["where"]) == (422, f"features.{name}")


def test_values_outside_the_contract_are_served_counted_and_logged(gateway: Any, payload: Payload, world: Any) -> None:
    def counted() -> dict[str, float]:
        return {k: v for k, v in gateway.metrics().items() if k.startswith("guardian_contract_violations_total")}

    before = counted()
    fine, odd = payload()["features"], payload(orders=-5, market="MARS")["features"]
    response = ask(gateway, {"id": "odd", "instances": [odd, fine, {**fine, "orders": 10_000}]})
    assert response.status == 200
    name = 'guardian_contract_violations_total{{variant="champion",field="{}"}}'
    added = {field: counted()[name.format(field)] - before.get(name.format(field), 0) for field in ("orders", "market")}
    assert added == {"orders": 2, "market": 1}
    gateway.wait_log_drained()
    log = world.log()
    seen = log.loc[log["id"] == "odd", "outside_contract"]
    assert [each if isinstance(each, str) else None for each in seen] == ["orders,market", None, "orders"]


def test_a_body_over_the_limit_is_answered_to_a_client_that_sends_all_of_it(gateway: Any, payload: Payload) -> None:
    """urllib listens only once everything is sent: an early close would show as a broken connection."""
    body = json.dumps({"instances": [payload()["features"]] * 150_000}).encode()
    assert len(body) > 2 * MAX_BODY_BYTES
    request = urllib.request.Request(gateway.predict_url, body, {"Content-Type": "application/json"})
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(request, timeout=20)
    assert refusal.value.code == 413
    assert "4 MiB" in json.loads(refusal.value.read())["error"]["message"]


def test_a_body_nobody_would_read_to_its_end_is_refused_before_it_is_sent(gateway: Any) -> None:
    host, port = gateway.base_url.removeprefix("http://").split(":")
    for length, more in ((10**10, b""), (MAX_BODY_BYTES + 1, b"Expect: 100-continue\r\n")):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            head = f"POST {gateway.endpoint} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n".encode()
            connection.sendall(head + more + b"\r\n")
            answer = b"".join(iter(lambda: connection.recv(4096), b""))
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert b"connection: close" in answer


def test_wrong_path_and_method(gateway: Any) -> None:
    for path, status in (("/v1/other", 404), ("/v1/churn/predict", 405)):
        with pytest.raises(urllib.error.HTTPError) as refusal:
            urllib.request.urlopen(gateway.base_url + path)
        assert refusal.value.code == status
    assert urllib.request.urlopen(gateway.base_url + "/healthz").status == 200


def test_over_capacity_is_told_to_come_back_and_a_row_a_second_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the application itself, with a limit of one and a request that holds it."""
    from tools.serving.app import GatewayApp
    from tools.serving.metrics import Metrics
    from tools.serving.prediction_log import PredictionLog
    from tools.serving.router import Router
    from tools.systems.warehouse import Warehouse

    class Clock:
        at = datetime(2026, 1, 6)

        def now(self) -> datetime:
            return self.at

    clock, warehouse = Clock(), Warehouse(tmp_path)
    log = PredictionLog(warehouse, "ml.log", clock)
    router = Router("M", log, clock, Metrics(), lambda: 0.0)
    router.serving = SimpleNamespace(champion=SimpleNamespace(version="1", schema=None))  # type: ignore[assignment]
    app = GatewayApp("/p", router, None, Metrics(), lambda: 0.0, max_inflight=1)  # type: ignore[arg-type]
    scope = {"type": "http", "path": "/p", "method": "POST", "headers": []}
    sent: list[Any] = []

    async def never(*_: Any) -> Any:
        await asyncio.Event().wait()

    async def whole() -> Any:
        return {"type": "http.request", "body": b"{}", "more_body": False}

    monkeypatch.setattr("tools.serving.app.parse", lambda *_: None)
    monkeypatch.setattr(router, "answer", never)

    async def send_message(message: Any) -> None:
        sent.append(message)

    async def scenario() -> None:
        half_sent = [asyncio.create_task(app(dict(scope), never, send_message)) for _ in range(3)]
        await asyncio.sleep(0.01)
        holding = asyncio.create_task(app(dict(scope), whole, send_message))
        await asyncio.sleep(0.01)
        assert not sent, "who has not sent all of it takes nobody's place"
        for milliseconds in (0, 400, 1_200, 1_300):
            clock.at = datetime(2026, 1, 6) + timedelta(milliseconds=milliseconds)
            await asyncio.sleep(0.01)  # the clock is read after a pause
            await app(dict(scope), never, send_message)
        for each in (holding, *half_sent):
            each.cancel()
        await asyncio.gather(holding, *half_sent, return_exceptions=True)
        await log.stop()

    asyncio.run(scenario())
    refusals = [message for message in sent if "status" in message]
    assert [message["status"] for message in refusals] == [503] * 4
    assert all((b"retry-after", b"1") in message["headers"] for message in refusals)
    rows = warehouse.read("ml.log", ["variant", "version", "at", "error", "score"]).to_pylist()
    assert [(row["variant"], row["version"], row["error"], row["score"]) for row in rows] == [
        ("refused", "1", "overloaded", None)
    ] * 2
    assert sorted(row["at"].second for row in rows) == [0, 1]


def test_bodies_that_are_still_being_sent_are_held_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the application itself; what was held of a body that came to nothing is free again."""
    from tools.serving.app import GatewayApp
    from tools.serving.metrics import Metrics

    monkeypatch.setattr("tools.serving.app.MAX_HELD_BYTES", 100)
    app = GatewayApp("/p", None, None, Metrics(), lambda: 0.0)  # type: ignore[arg-type]
    scope = {"type": "http", "path": "/p", "method": "POST", "headers": []}
    sent: list[Any] = []

    async def send_message(message: Any) -> None:
        sent.append(message)

    def sender() -> Any:
        parts = iter([{"type": "http.request", "body": b"x" * 40, "more_body": True}])

        async def receive() -> Any:
            if (part := next(parts, None)) is None:
                await asyncio.Event().wait()
            return part

        return receive

    async def scenario() -> None:
        two = [asyncio.create_task(app(dict(scope), sender(), send_message)) for _ in range(2)]
        await asyncio.sleep(0.01)
        assert not sent
        await app(dict(scope), sender(), send_message)
        assert sent[0]["status"] == 503 and (b"connection", b"close") in sent[0]["headers"]
        two.pop().cancel()
        await asyncio.sleep(0.01)
        two.append(asyncio.create_task(app(dict(scope), sender(), send_message)))
        await asyncio.sleep(0.01)
        assert len(sent) == 2
        for each in two:
            each.cancel()
        await asyncio.gather(*two, return_exceptions=True)

    asyncio.run(scenario())


def test_with_a_key_only_who_sends_it_is_answered() -> None:
    """Against the application itself; probes need no key."""
    from tools.serving.app import GatewayApp
    from tools.serving.metrics import Metrics

    class Ready:
        serving = None

        def state(self) -> dict[str, Any]:
            return {"ready": True}

    app = GatewayApp("/p", Ready(), Ready(), Metrics(), lambda: 0.0, api_key="s3cret")  # type: ignore[arg-type]
    sent: list[Any] = []

    async def send_message(message: Any) -> None:
        sent.append(message)

    async def empty() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    def asked(path: str, method: str, *keys: bytes) -> int:
        sent.clear()
        headers = [(b"authorization", key) for key in keys]
        scope = {"type": "http", "path": path, "method": method, "headers": headers}
        asyncio.run(app(scope, empty, send_message))
        return int(sent[0]["status"])

    assert [asked(path, "GET") for path in ("/healthz", "/readyz")] == [200, 200]
    for keys in ((), (b"s3cret",), (b"Bearer s3cre",), (b"Bearer s3cret ",), (b"Bearer wrong", b"Bearer s3cret")):
        assert [asked("/p", "POST", *keys), asked("/metrics", "GET", *keys), asked("/x", "GET", *keys)] == [401] * 3
    assert asked("/none", "GET", b"Bearer s3cret") == 404, "admitted"
