"""The process of one challenger: `python -m tools.serving.challenger_worker FD GATEWAY_PID`.

It imports the libraries at once and then waits for a folder to load, so that a spare one takes over in
milliseconds. It answers on the socket `FD` until the gateway closes it or dies. It never imports MLflow.

Messages in: `{"load": FOLDER, "beside": FOLDER or null, "task": NAME, "idle": BOOL}` once, then lists of
`[sequence, deadline, rows, beside]`: rows of values as this model's schema reads them, the deadline on the system's
monotonic clock. Out: `{"ready": VERSION, "path": …, "schema": …}` or `{"failed": TEXT}`, then lists of
`[sequence, [answer, …], null, times]` or `[sequence, null, TEXT, null]`. Whatever arrived together is scored together.

A model `beside` is the champion: where all questions that arrived together bring its values of the rows along, it
scores them in the same process, for nothing else, and `times` are both versions' milliseconds for all these rows. Else,
and where either cannot take one of them, they are null.

The gateway goes first where both want the same core: the longer this process waits for it, the more it scores at once.
"""

from __future__ import annotations

import gc
import importlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from tools import tasks
from tools.serving.features import InvalidInstance
from tools.serving.frames import FrameReader, pack
from tools.serving.lifeline import die_with_parent
from tools.serving.onnx_path import import_runtime
from tools.serving.scorer import Scorer, ScoringFailed, load_scorer

_RECEIVE = 1 << 18
_LOADING = 5
"""So much nicer than the requests: a quarter of the core where they want it all."""
_Loaded = tuple[Scorer | None, Scorer | None]
"""The challenger, and the champion beside it."""


def main(arguments: Sequence[str]) -> int:
    """Serves until the socket closes."""
    die_with_parent(int(arguments[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the whole group; the gateway decides
    _import()
    if sys.platform == "linux":
        _schedule(os.SCHED_BATCH)  # it interrupts nobody when it has been asked
    gc.collect()
    gc.freeze()  # a full collection over the libraries' objects would take longer than the deadline
    with socket.socket(fileno=int(arguments[0])) as connection:
        _serve(connection)
    return 0


def _import() -> None:
    """What a model needs, while there is time; and no threads for it."""
    for module in ("pandas", "sklearn.ensemble", "sklearn.pipeline"):
        importlib.import_module(module)
    import_runtime()
    threadpool_limits(1)  # BLAS would start them at the first load, and they would stay as nice as that


def _serve(connection: socket.socket) -> None:
    reader, buffer = FrameReader(), memoryview(bytearray(_RECEIVE))
    scorer: Scorer | None = None
    beside: Scorer | None = None
    while size := connection.recv_into(buffer):
        questions: list[Any] = []
        for message in reader.feed(buffer[:size]):
            if isinstance(message, dict):
                scorer, beside = _yielding(partial(_loaded, connection, message), idle=message["idle"])
            else:
                questions += message
        if questions and scorer is not None:
            connection.sendall(pack(_answers(scorer, beside, questions)))


def _yielding(load: Callable[[], _Loaded], *, idle: bool) -> _Loaded:
    """What `load` gives, by a thread of its own that leaves the core to requests: it works far longer than they do.

    Of a thread, for nobody without privileges may take a lower priority back.
    """
    with ThreadPoolExecutor(1, initializer=_give_way, initargs=(idle,)) as thread:
        return thread.submit(load).result()


def _give_way(idle: bool) -> None:
    if sys.platform != "linux":
        return  # a thread has no priority of its own
    os.nice(_LOADING)
    if idle:
        _schedule(os.SCHED_IDLE)


def _schedule(policy: int) -> None:
    with suppress(OSError):  # it may be forbidden, and serves speed alone
        os.sched_setscheduler(0, policy, os.sched_param(0))


def _loaded(connection: socket.socket, message: dict[str, Any]) -> _Loaded:
    task = tasks.of(message["task"])
    beside = _beside(message["beside"], task)  # before it is said to be ready: copies have a deadline
    return _load(connection, Path(message["load"]), task), beside


def _load(connection: socket.socket, folder: Path, task: tasks.Task) -> Scorer | None:
    try:
        scorer = load_scorer(folder, task)
    except Exception as error:
        connection.sendall(pack({"failed": f"{type(error).__name__}: {error}"}))
        return None
    connection.sendall(pack({"ready": scorer.version, "path": scorer.path_name, "schema": scorer.schema.wire()}))
    return scorer


def _beside(folder: str | None, task: tasks.Task) -> Scorer | None:
    try:
        return load_scorer(Path(folder), task) if folder is not None else None
    except Exception:
        return None  # there is nothing to compare the times with then, and the gate says so


def _answers(scorer: Scorer, champion: Scorer | None, questions: list[Any]) -> list[list[Any]]:
    """One answer a question; those past their deadline are left out, for nobody waits for them."""
    now = time.monotonic()
    awaited = [question for question in questions if question[1] >= now]
    if champion is None or not awaited or any(rows is None for *_, rows in awaited):
        return _scored(scorer, awaited)[0]
    # Who goes first finds colder caches; it is each version's turn every other time.
    champion_first = questions[0][0] % 2 == 1
    theirs = _milliseconds(champion, awaited) if champion_first else None
    answers, taken = _scored(scorer, awaited)
    if taken is not None and not champion_first:
        theirs = _milliseconds(champion, awaited)
    if taken is not None and theirs is not None:
        for answer in answers:
            answer[3] = [taken, theirs]
    return answers


def _scored(scorer: Scorer, questions: list[Any]) -> tuple[list[list[Any]], float | None]:
    """The answers, without times, and the milliseconds of encoding and scoring where one call scored all questions."""
    started = time.perf_counter()
    answers: list[list[Any]] = []
    pending: list[tuple[int, list[Any]]] = []
    together: list[Any] = []
    for sequence, _, rows, _ in questions:
        try:
            encoded = [scorer.encode(values) for values in rows]
        except InvalidInstance as error:
            answers.append([sequence, None, f"cannot read the request: {error}", None])
            continue
        pending.append((sequence, encoded))
        together += encoded
    try:
        scores = scorer.score(together) if together else []
    except ScoringFailed:
        return answers + [_alone(scorer, sequence, rows) for sequence, rows in pending], None
    taken = (time.perf_counter() - started) * 1000.0 if not answers else None
    start = 0
    for sequence, rows in pending:
        answers.append([sequence, scores[start : start + len(rows)], None, None])
        start += len(rows)
    return answers, taken


def _milliseconds(champion: Scorer, questions: list[Any]) -> float | None:
    """How long the champion takes to score its values of the rows; None where it cannot."""
    started = time.perf_counter()
    try:
        champion.score([champion.encode(values) for *_, rows in questions for values in rows])
    except Exception:
        return None  # whatever is wrong there, it is not the challenger's fault
    return (time.perf_counter() - started) * 1000.0


def _alone(scorer: Scorer, sequence: int, rows: list[Any]) -> list[Any]:
    """One question by itself, so that a row the model fails on fails no other request."""
    try:
        return [sequence, scorer.score(rows), None, None]
    except ScoringFailed as error:
        return [sequence, None, str(error), None]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
