"""A mirrored challenger sees every request and answers none; however slow or dead it is, the primary does not wait."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from statistics import median
from typing import Any

from tools.serving.challenger_process import ChallengerFailed, Scored
from tools.serving.client import failures, send
from tools.serving.features import FeatureSchema
from tools.serving.mirror import Mirror
from tools.serving.requests import PredictRequest

NO_FEATURES = FeatureSchema((), (), ())

Payload = Callable[..., dict[str, Any]]


def copies(world: Any, gateway: Any, prefix: str) -> Any:
    gateway.wait_log_drained(30.0)
    log = world.log()
    return log[log["id"].fillna("").str.startswith(prefix) & (log["variant"] == "shadow")]


def test_each_request_is_copied_once_and_its_answer_kept_back(world: Any, gateway: Any, payload: Payload) -> None:
    world.split("one", "two", mirrored=True)
    responses = send(gateway.predict_url, [payload(id=f"copy-{i}", recency=i % 90) for i in range(200)])
    assert not list(failures(responses))
    assert {(r.body["variant"], r.body["version"]) for r in responses} == {("champion", world.versions["one"])}
    rows = copies(world, gateway, "copy-")
    assert set(rows["request_id"]) == {r.body["request_id"] for r in responses} and len(rows) == 200
    assert set(rows["version"]) == {world.versions["two"]}
    late = rows[rows["score"].isna()]  # on a machine that stalls for 200 ms
    assert late["error"].str.contains("deadline|breaker|not running|process ended").all() and len(late) < 200
    rows = rows[rows["score"].notna()]
    assert (rows["model_ms"] > 0).all() and (rows["champion_ms"] > 0).all() and rows["error"].isna().all()
    given = {r.body["request_id"]: r.body["predictions"][0]["score"] for r in responses}
    assert (rows["score"] != rows["request_id"].map(given)).mean() > 0.9, "its own scores, not the champion's"


def test_a_challenger_of_half_a_second_or_a_dead_one_costs_the_primary_nothing(
    world: Any, gateway: Any, payload: Payload
) -> None:
    before = gateway.metrics()["guardian_shadow_requests_dropped_total"]
    world.split("one", "slow", mirrored=True)
    os.kill(gateway.readiness()["challenger_pid"], signal.SIGSTOP)
    features = payload()["features"]  # ten a request: the queue fills long before the first deadline opens the breaker
    responses = send(gateway.predict_url, [{"id": f"hung-{i}", "instances": [features] * 10} for i in range(300)])
    assert not list(failures(responses))
    assert {r.body["variant"] for r in responses} == {"champion"}
    assert median(r.latency_ms for r in responses) < 100, "half a second, had anyone waited for the copies"
    dropped = gateway.metrics()["guardian_shadow_requests_dropped_total"] - before
    assert dropped > 0, "the queue holds 1,000"
    world.split("one")
    rows = copies(world, gateway, "hung-")
    assert len(rows) <= 10 * (300 - dropped)
    failed = rows["error"].dropna()
    assert failed.str.contains("deadline of 2000 ms|breaker open|not running|process ended").all()
    assert (rows["score"].isna() == rows["error"].notna()).all()


def test_the_queue_is_bounded_and_what_does_not_fit_is_told() -> None:
    told: list[str | None] = []

    class Stuck:
        released, asked = asyncio.Event(), 0

        async def score_copy(self, request: PredictRequest) -> Scored:
            await self.released.wait()
            self.asked += 1
            if self.asked % 2:
                raise ChallengerFailed("boom")
            return Scored([0.5] * len(request.instances))

    async def fill() -> list[bool]:
        stuck = Stuck()
        mirror = Mirror(stuck, lambda *copy: told.append(copy[-1]), lambda: 0.0, queue_rows=20)  # type: ignore[arg-type]
        taken = [mirror.offer(PredictRequest(NO_FEATURES, None, [{}, {}], [], [(), ()]), str(i)) for i in range(30)]
        assert mirror.queued == 20
        stuck.released.set()
        while mirror.queued:
            await asyncio.sleep(0)
        assert mirror.offer(PredictRequest(NO_FEATURES, None, [{}], [], [()]), "again")
        mirror.close()
        return taken

    assert asyncio.run(fill()) == [True] * 10 + [False] * 20
    assert sorted(map(str, told)) == ["None"] * 5 + ["boom"] * 5


def test_a_copy_offered_as_the_last_worker_ends_is_scored_all_the_same() -> None:
    """Eight answers that arrive together end eight workers in one turn of the loop, in which the next copy comes."""
    told: list[str] = []

    class Together:
        released = asyncio.Event()

        async def score_copy(self, request: PredictRequest) -> Scored:
            await self.released.wait()
            return Scored([0.5] * len(request.instances))

    async def offer() -> int:
        together = Together()
        mirror = Mirror(together, lambda _, id, *rest: told.append(id), lambda: 0.0)  # type: ignore[arg-type]
        for i in range(8):
            mirror.offer(PredictRequest(NO_FEATURES, None, [{}], [], [()]), str(i))
        await asyncio.sleep(0.01)
        together.released.set()
        asyncio.get_running_loop().call_soon(mirror.offer, PredictRequest(NO_FEATURES, None, [{}], [], [()]), "last")
        await asyncio.sleep(0.01)
        return mirror.queued

    assert asyncio.run(offer()) == 0
    assert told[-1] == "last"


def test_a_copy_that_cannot_be_recorded_holds_no_place_in_the_queue() -> None:
    class Prompt:
        async def score_copy(self, request: PredictRequest) -> Scored:
            return Scored([0.5] * len(request.instances))

    def down(*copy: object) -> None:
        raise OSError("the clock's database is locked")

    async def offer() -> tuple[bool, int]:
        mirror = Mirror(Prompt(), down, lambda: 0.0, queue_rows=2)  # type: ignore[arg-type]
        for _ in range(3):
            taken = mirror.offer(PredictRequest(NO_FEATURES, None, [{}, {}], [], [(), ()]), "copy")
            await asyncio.sleep(0.01)
        return taken, mirror.queued

    assert asyncio.run(offer()) == (True, 0)
