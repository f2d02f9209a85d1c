"""The process of one challenger: `python -m tools.serving.challenger_worker FD GATEWAY_PID`.

It imports the libraries at once and then waits for a folder to load, so that a spare one takes over in
milliseconds. It answers on the socket `FD` until the gateway closes it or dies. It never imports MLflow.

Messages in: `{"load": FOLDER, "beside": FOLDER or null, "task": NAME}` once, then lists of
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
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tools import tasks
from tools.serving.features import InvalidInstance
from tools.serving.frames import FrameReader, pack
from tools.serving.lifeline import die_with_parent
from tools.serving.onnx_path import import_runtime
from tools.serving.scorer import Scorer, ScoringFailed, load_scorer

_RECEIVE = 1 << 18


def main(arguments: Sequence[str]) -> int:
    """Serves until the socket closes."""
    die_with_parent(int(arguments[1]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches the whole group; the gateway decides
    for module in ("pandas", "sklearn.ensemble", "sklearn.pipeline"):
        importlib.import_module(module)  # while there is time
    import_runtime()
    if sys.platform == "linux":
        with suppress(OSError):  # it may be forbidden, and serves speed alone
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))  # it interrupts nobody when it has been asked
    gc.collect()
    gc.freeze()  # a full collection over the libraries' objects would take longer than the deadline
    with socket.socket(fileno=int(arguments[0])) as connection:
        _serve(connection)
    return 0


def _serve(connection: socket.socket) -> None:
    reader, buffer = FrameReader(), memoryview(bytearray(_RECEIVE))
    scorer: Scorer | None = None
    beside: Scorer | None = None
    while size := connection.recv_into(buffer):
        questions: list[Any] = []
        for message in reader.feed(buffer[:size]):
            if isinstance(message, dict):
                task = tasks.of(message["task"])
                beside = _beside(message["beside"], task)  # before it is said to be ready: copies have a deadline
                scorer = _load(connection, Path(message["load"]), task)
            else:
                questions += message
        if questions and scorer is not None:
            connection.sendall(pack(_answers(scorer, beside, questions)))


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
    answers: list[list[Any]] = []
    pending: list[tuple[int, list[Any]]] = []
    now = time.monotonic()
    awaited = [question for question in questions if question[1] >= now]
    timed = champion if awaited and all(rows is not None for *_, rows in awaited) else None
    # Who goes first finds colder caches; it is each version's turn every other time.
    champion_first = questions[0][0] % 2 == 1
    theirs = _milliseconds(timed, awaited) if timed is not None and champion_first else None
    started = time.perf_counter()
    for sequence, _, rows, _ in awaited:
        try:
            pending.append((sequence, [scorer.encode(values) for values in rows]))
        except InvalidInstance as error:
            answers.append([sequence, None, f"cannot read the request: {error}", None])
    try:
        scores = scorer.score([row for _, rows in pending for row in rows]) if pending else []
    except ScoringFailed:
        return answers + [_alone(scorer, sequence, rows) for sequence, rows in pending]
    taken = (time.perf_counter() - started) * 1000.0
    if timed is not None and not champion_first:
        theirs = _milliseconds(timed, awaited)
    times = [taken, theirs] if theirs is not None and not answers else None
    start = 0
    for sequence, rows in pending:
        answers.append([sequence, scores[start : start + len(rows)], None, times])
        start += len(rows)
    return answers


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
