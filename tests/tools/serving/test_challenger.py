"""A challenger that is slow, raises or dies costs its own record, never a request."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import uvloop

from tools.serving import challenger
from tools.serving.breaker import Breaker
from tools.serving.challenger import Challenger, Spares
from tools.serving.challenger_process import ChallengerFailed, ChallengerProcess, DeadlineExceeded, Scored
from tools.serving.challenger_worker import _answers, _yielding
from tools.serving.client import failures, send
from tools.serving.contract import Contract
from tools.serving.features import FeatureSchema
from tools.serving.frames import FrameReader, pack, pack_list
from tools.serving.reloader import Reloader
from tools.serving.requests import PredictRequest, parse

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
    """Whatever the champion's are, which may change under it."""
    turned = FeatureSchema(("b", "a"), (), ("b", "a"))
    requests = [parse(b'{"features": {"a": 1.0, "b": null, "c": 3.0}}', each) for each in (NUMBERS, turned) * 2]
    for request in requests:
        del request.instances[0]["c"]
    asked = Asked(schema)
    answers = asyncio.run(asked.score(requests))
    if isinstance(seen, str):
        assert answers == [seen] * 4 and not asked.rows
    else:
        assert asked.rows == [seen] * 4
    assert FeatureSchema.of_wire(orjson.loads(orjson.dumps(schema.wire()))) == schema


class Asked:
    """A challenger's process that answers at once, and keeps what it was asked."""

    def __init__(self, schema: FeatureSchema, answer: ChallengerFailed | None = None) -> None:
        self.schema, self.rows, self.ended = schema, list[Any](), 0
        self._answer = answer

    def ask(self, rows: Any, seconds: float, beside: Any = None) -> Any:
        self.rows.append(rows)
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(Scored([0.5])) if self._answer is None else answer.set_exception(self._answer)
        return answer

    def end(self) -> None:
        self.ended += 1

    async def score(self, requests: Sequence[PredictRequest]) -> list[str]:
        challenger = Challenger("2", Path(), Spares(), time.perf_counter)
        challenger._process = self  # type: ignore[assignment]
        said = []
        for request in requests:
            try:
                said.append(str((await challenger.score(request)).scores))
            except ChallengerFailed as error:
                said.append(str(error))
        return said


@pytest.mark.parametrize(
    ("error", "ended"), [(ChallengerFailed("days_to_deadline: is missing"), 0), (DeadlineExceeded(0.2), 1)]
)
def test_only_a_process_that_may_hang_is_ended_when_the_breaker_opens(error: ChallengerFailed, ended: int) -> None:
    asked = Asked(NUMBERS, error)
    answers = asyncio.run(asked.score([parse(b'{"features": {"a": 1.0, "b": 2.0}}', NUMBERS)] * 6))
    assert answers == [str(error)] * 5 + ["not asked: it failed too often (breaker open)"]
    assert asked.ended == ended


@pytest.mark.parametrize(("mirrored", "champion", "kept"), [(True, "1", True), (True, "3", False), (False, "3", True)])
def test_copies_are_timed_against_the_champion_in_force(
    monkeypatch: pytest.MonkeyPatch, mirrored: bool, champion: str, kept: bool
) -> None:
    """A challenger's process has its champion loaded; where another serves by now, the process is another too."""

    async def start(self: Challenger) -> None: ...

    monkeypatch.setattr(Challenger, "start", start)
    models = SimpleNamespace(fetch=lambda _, version: SimpleNamespace(path=Path(version)))
    router = SimpleNamespace(task=SimpleNamespace(name="binary"))
    reloader = Reloader(router, None, models, "m", Contract(), "w", time.perf_counter)  # type: ignore[arg-type]
    old = Challenger("2", Path("2"), Spares(), time.perf_counter, beside=Path("1"))
    split = SimpleNamespace(challenger="2", champion=champion, mirrored=mirrored)
    found = asyncio.run(reloader._challenger(split, SimpleNamespace(challenger=old)))  # type: ignore[arg-type]
    assert found is not None and (found is old) == kept
    assert not mirrored or found.beside == Path(champion)


@pytest.mark.skipif(sys.platform != "linux", reason="only there has a thread a priority of its own")
@pytest.mark.parametrize("idle", [True, False])
def test_loading_gives_way_to_requests_and_answering_does_not(idle: bool) -> None:
    def standing() -> Any:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), os.sched_getscheduler(0)

    nice, policy = standing()
    assert _yielding(standing, idle=idle) == (min(nice + 5, 19), os.SCHED_IDLE if idle else policy)
    assert standing() == (nice, policy)


@pytest.mark.parametrize(
    ("beside", "awaited", "asked"),
    [
        (Path("1"), False, [True, False, False]),
        (Path("1"), True, [False, False, False]),
        (None, False, [False, False, False]),
    ],
    ids=["copies", "a canary that was a shadow", "a canary"],
)
def test_a_copys_challenger_is_loaded_anew_by_what_the_cores_have_left_once(
    monkeypatch: pytest.MonkeyPatch, beside: Path | None, awaited: bool, asked: list[bool]
) -> None:
    """A busy machine has nothing left: then it is loaded as any other."""
    seen: list[bool] = []
    found = SimpleNamespace(gone=SimpleNamespace(add_done_callback=lambda _: None))

    class Slow:
        async def take(self, *_: object, idle: bool) -> Any:
            seen.append(idle)
            if len(seen) < 3:
                raise ChallengerFailed("did not load within 5 s")
            return found

    monkeypatch.setattr(challenger, "_RESTART_SECONDS", (0.001, 0.001))
    mended = Challenger("2", Path("2"), Slow(), time.perf_counter, beside=beside)  # type: ignore[arg-type]

    async def mend() -> None:
        if awaited:
            with pytest.raises(ChallengerFailed, match="not running"):
                await mended.score(PredictRequest(FeatureSchema((), (), ()), None, [], [], []))
        await mended._mend()

    asyncio.run(mend())
    assert seen == asked


_LOADED_AFTER_A_FORK = """
import os
import time
import numpy as np
from tools.serving.challenger_worker import _import, _yielding
if os.fork() == 0:
    _import()
    _yielding(lambda: np.ones((400, 400)) @ np.ones((400, 400)), idle=True)
    time.sleep(0.5)  # the loading thread itself has ended for Python before it has for the kernel
    print(sorted({os.sched_getscheduler(int(each)) for each in os.listdir("/proc/self/task")}), flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.skipif(sys.platform != "linux" or os.cpu_count() == 1, reason="BLAS starts threads on several cores")
def test_no_thread_that_a_load_leaves_behind_is_as_idle_as_the_load() -> None:
    """A process forked from another begins without its threads; BLAS would make them anew, as idle as the load."""
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    found = subprocess.run(
        [sys.executable, "-c", _LOADED_AFTER_A_FORK], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == f"[{os.SCHED_OTHER}]", found.stderr


def test_a_champion_that_cannot_be_timed_costs_the_challengers_answers_nothing() -> None:
    class Model:
        def __init__(self, columns: int) -> None:
            self._columns = columns

        def encode(self, values: Any) -> Any:
            return [values[0][i] for i in range(self._columns)]

        def score(self, rows: Any) -> list[float]:
            return [0.5] * len(rows)

    late = time.monotonic() + 9
    ours, theirs = [((1.0,), ())], [((1.0, 2.0), ())]
    for sequence in (1, 2):
        assert _answers(Model(1), Model(3), [[sequence, late, ours, theirs]]) == [[sequence, [0.5], None, None]]  # type: ignore[arg-type]
        [(_, scores, _, times)] = _answers(Model(1), Model(2), [[sequence, late, ours, theirs]])  # type: ignore[arg-type]
        assert scores == [0.5] and len(times) == 2 and min(times) > 0


def test_questions_of_a_turn_are_as_many_frames_as_their_size_asks_for() -> None:
    bodies = [orjson.dumps([number, "x" * size]) for number, size in enumerate((3, 900_000, 900_000, 5, 2_000_000, 7))]
    lists = FrameReader().feed(pack_list(bodies))
    assert [[number for number, _ in each] for each in lists] == [[0, 1], [2, 3], [4], [5]]


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

            with pytest.raises(ChallengerFailed, match="cannot be asked"):
                await process.ask([(("\ud800",), ())], 9.0)  # type: ignore[list-item]
            asked = [asyncio.ensure_future(one(seconds)) for seconds in (1.2, 0.1, 0.7, 60.0)]
            await asked[1]
            theirs.sendall(pack([[3, [0.5], None, None], [5, [0.7], None, None], [99, [0.1], None, None]]))
            await asyncio.gather(*asked)
            process.end()
            with pytest.raises(ChallengerFailed, match="not running"):
                await process.load(Path())
            with pytest.raises(ChallengerFailed, match="not running"):
                await process.ask([], 9.0)
            return ends

    ends = uvloop.run(ask())
    assert [text for text, _ in ends] == [
        "deadline of 100 ms exceeded",
        "[0.7]",
        "deadline of 700 ms exceeded",
        "deadline of 1200 ms exceeded",
    ]
    assert all(after * 1000 >= int(text.split()[2]) - 2 for text, after in ends if after)
