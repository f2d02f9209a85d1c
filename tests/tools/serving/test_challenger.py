"""A challenger that is slow, raises or dies costs its own record, never a request."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvloop

from tools.serving.breaker import Breaker
from tools.serving.challenger import read_by
from tools.serving.challenger_process import ChallengerFailed, ChallengerProcess
from tools.serving.client import failures, send
from tools.serving.features import FeatureSchema
from tools.serving.frames import pack
from tools.serving.requests import parse

Payload = Callable[..., dict[str, Any]]

IN_TIME_MS = 1_000
"""The deadline of 200 ms and a busy machine; waiting for a hung or slow challenger would take longer."""


def logged(world: Any, gateway: Any, prefix: str) -> Any:
    gateway.wait_log_drained()
    log = world.log()
    return log[log["id"].fillna("").str.startswith(prefix)]


def test_slow_challenger_misses_its_deadline_and_the_champion_answers(
    world: Any, gateway: Any, payload: Payload
) -> None:
    world.split("one", "slow", 100)
    errors_before = challenger_errors(gateway)
    responses = send(gateway.predict_url, [payload(id=f"slow-{i}") for i in range(40)], connections=4)
    assert not list(failures(responses))
    assert {response.body["version"] for response in responses} == {world.versions["one"]}
    assert {response.body["variant"] for response in responses} == {"champion"}
    assert max(response.latency_ms for response in responses) < IN_TIME_MS
    rows = logged(world, gateway, "slow-")
    assert len(rows) == 40 and set(rows["variant"]) == {"challenger"}
    assert set(rows["version"]) == {world.versions["slow"]}
    assert rows["error"].str.contains("deadline of 200 ms|breaker open|not running|process ended").all()
    assert rows["error"].str.contains("deadline").any() and rows["score"].isna().all()
    assert rows["fallback_score"].notna().all() and set(rows["fallback_version"]) == {world.versions["one"]}
    assert challenger_errors(gateway) - errors_before == 40


def challenger_errors(gateway: Any) -> float:
    return float(gateway.metrics()['guardian_errors_total{variant="challenger"}'])


def test_raising_challenger_fails_only_the_rows_it_cannot_take(world: Any, gateway: Any, payload: Payload) -> None:
    world.split("one", "raising", 100)
    requests = [payload(id=f"raise-{i}", recency=3000 if i % 10 == 0 else 1000) for i in range(100)]
    responses = send(gateway.predict_url, requests, connections=8)
    assert not list(failures(responses))
    rows = logged(world, gateway, "raise-")
    late = rows["error"].str.contains("deadline|breaker", na=False)  # a busy machine's
    assert late.sum() < 50
    rows = rows[~late]
    hard = rows["id"].str.endswith("0")
    assert rows.loc[hard, "error"].str.contains("ValueError: recency out of range").all()
    assert rows.loc[~hard, "error"].isna().all()
    assert set(rows.loc[~hard, "score"]) == {0.25}


def test_nonsense_scores_are_the_challengers_errors(world: Any, gateway: Any, payload: Payload) -> None:
    world.split("one", "nonsense", 100)
    responses = send(gateway.predict_url, [payload(id=f"nan-{i}") for i in range(10)])
    assert not list(failures(responses))
    assert logged(world, gateway, "nan-")["error"].str.contains("not a probability|breaker open").all()


def test_crashing_challenger_and_its_recovery(world: Any, gateway: Any, payload: Payload) -> None:
    world.split("one", "crashing", 100)
    responses = send(gateway.predict_url, [payload(id=f"crash-{i}") for i in range(50)])
    assert not list(failures(responses))
    assert logged(world, gateway, "crash-")["error"].str.contains("process|breaker").all()


def test_killed_and_hung_challenger_comes_back(world: Any, gateway: Any, payload: Payload) -> None:
    world.split("one", "misbehaving", 100)
    for signal_ in (signal.SIGKILL, signal.SIGSTOP):
        victim = wait_for_challenger(gateway)
        os.kill(victim, signal_)
        responses = send(gateway.predict_url, [payload() for _ in range(60)], connections=4)
        assert not list(failures(responses))
        assert max(response.latency_ms for response in responses) < IN_TIME_MS
        until = time.monotonic() + 20
        while send(gateway.predict_url, [payload()])[0].body["variant"] != "challenger":
            assert time.monotonic() < until, gateway.errors()
            time.sleep(0.05)


def wait_for_challenger(gateway: Any) -> int:
    until = time.monotonic() + 20
    while (pid := gateway.readiness()["challenger_pid"]) is None:
        assert time.monotonic() < until
        time.sleep(0.02)
    return int(pid)


def test_no_process_outlives_the_gateway(world: Any, own_gateway: Any) -> None:
    world.split("one", "slow", 100)
    challenger = wait_for_challenger(own_gateway)
    os.kill(own_gateway.pid, signal.SIGKILL)
    own_gateway.stop()
    until = time.monotonic() + 5
    while _runs(challenger):
        assert time.monotonic() < until
        time.sleep(0.05)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_breaker_opens_tries_once_and_closes() -> None:
    now = [0.0]
    breaker = Breaker(lambda: now[0], failures=3, cooldown=1.0, longest=2.0)
    assert [breaker.failed() for _ in range(3)] == [False, False, True]
    assert not breaker.allows()
    now[0] = 1.0
    assert breaker.allows() and not breaker.allows()  # one trial
    assert breaker.failed()
    now[0] = 2.9
    assert not breaker.allows()  # the cool-down doubled
    now[0] = 3.0
    assert breaker.allows()
    breaker.succeeded()
    assert breaker.allows() and breaker.allows() and not breaker.is_open


NUMBERS = FeatureSchema(("a", "b"), (), ("a", "b"))


@pytest.mark.parametrize(
    ("schema", "seen"),
    [
        (NUMBERS, [((1.0, None), ())]),
        (FeatureSchema(("b", "a"), (), ("b", "a")), [((None, 1.0), ())]),
        (FeatureSchema(("a",), (), ("a",)), [((1.0,), ())]),
        (FeatureSchema(("a", "c"), (), ("a", "c")), "cannot read the request: c: is missing"),
        (
            FeatureSchema(("a", "b"), (), ("a", "b"), null_numbers=False),
            "cannot read the request: b: must be a number, not null",
        ),
    ],
)
def test_a_challenger_reads_a_request_by_its_own_features(schema: FeatureSchema, seen: Any) -> None:
    request = parse(b'{"features": {"a": 1.0, "b": null}}', NUMBERS)
    if isinstance(seen, str):
        with pytest.raises(ChallengerFailed, match=seen):
            read_by(schema, request)
    else:
        assert read_by(schema, request) == seen
    assert FeatureSchema.of_wire(orjson.loads(orjson.dumps(schema.wire()))) == schema


def test_each_question_fails_at_its_own_deadline_and_a_late_answer_changes_nothing() -> None:
    """One timer serves them all, whichever was asked first."""

    class Child:
        pid = 0

        def kill(self) -> None: ...
        def wait(self) -> None: ...

    async def ask() -> list[tuple[str, float]]:
        ours, theirs = socket.socketpair()
        with theirs:
            process = ChallengerProcess(Child())  # type: ignore[arg-type]
            await asyncio.get_running_loop().create_unix_connection(lambda: process, sock=ours)
            began, ends = time.perf_counter(), list[tuple[str, float]]()

            async def one(seconds: float) -> None:
                try:
                    ends.append((f"{(await process.ask([], seconds)).scores}", 0.0))
                except ChallengerFailed as error:
                    ends.append((str(error), time.perf_counter() - began))

            asked = asyncio.gather(*(one(seconds) for seconds in (0.3, 0.1, 0.2, 9.0)))
            await asyncio.sleep(0.15)
            theirs.sendall(pack([[2, [0.5], None, None], [4, [0.7], None, None], [99, [0.1], None, None]]))
            await asked
            process.end()
            return ends

    ends = uvloop.run(ask())
    assert [text for text, _ in ends] == [
        "deadline of 100 ms exceeded",
        "[0.7]",
        "deadline of 200 ms exceeded",
        "deadline of 300 ms exceeded",
    ]
    for text, after in ends:
        if after:
            assert int(text.split()[2]) - 2 <= after * 1000 < int(text.split()[2]) + 90
