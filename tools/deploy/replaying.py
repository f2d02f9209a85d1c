"""Labelled rows scored again by a registered version, in a process of its own: what serves badly may end its process.

One process serves all of a controller's looks; it is started at the first, and again after it crashed, was killed for
taking too long, or ended by itself because nothing was asked for a while. Run as a module it is that process. Rows go
to it as Arrow, numbers come back as bytes: nothing that it says is unpickled.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from policies.declarations.binding import Features
from tools.deploy.ranking import Floats

if TYPE_CHECKING:
    import pandas as pd

OUTCOME = "told_outcome"
"""The column of the rows that holds what came true."""
IDLE_SECONDS = 600.0
_DONE, _FAILED = b"+", b"-"
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class NotReplayed(Exception):
    """The version did not score the rows; the text says why, in a line."""


class Replays:
    """The process, and one question at a time to it."""

    def __init__(self) -> None:
        self._asking = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._line: Connection | None = None
        self._owner = 0

    def weighed(
        self, folder: Path, rows: pd.DataFrame, features: Features, task: str, memory_gb: float, seconds: float
    ) -> Floats:
        """What a rollout compares of the version in a registry cache folder (`Task.weighed`), a number a row.

        `rows` hold the features and OUTCOME. Raises NotReplayed: it does not load, raises, gives no finite
        numbers, ends its process, takes longer than `seconds` or holds more than `memory_gb` (10^9 bytes).
        """
        import pyarrow as pa

        try:
            table = pa.Table.from_pandas(rows[[*features.names, OUTCOME]], preserve_index=False)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise NotReplayed(f"the rows cannot be sent: {str(error).splitlines()[0]}") from error
        sink = io.BytesIO()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        question = {"folder": str(folder), "features": features.model_dump(), "task": task, "memory_gb": memory_gb}
        until = time.monotonic() + seconds
        if not self._asking.acquire(timeout=seconds):
            raise NotReplayed(f"no answer in {seconds:g} s")
        try:
            answer = self._ask(json.dumps(question).encode(), sink.getvalue(), until)
        finally:
            self._asking.release()
        if answer is None:
            raise NotReplayed(f"no answer in {seconds:g} s")
        if answer[:1] != _DONE:
            raise NotReplayed(answer[1:].decode(errors="replace"))
        return np.frombuffer(answer, dtype=np.float64, offset=1)

    def _ask(self, question: bytes, rows: bytes, until: float) -> bytes | None:
        """The answer, None where there is none in time; the process is then killed."""
        line = self._connected()
        try:
            line.send_bytes(question)
            line.send_bytes(rows)
            answer = line.recv_bytes() if line.poll(max(until - time.monotonic(), 0.0)) else None
        except (EOFError, OSError):
            return _FAILED + f"its process ended with {self._end()}".encode()
        except BaseException:  # Ctrl-C: an answer that comes late would be taken for the next one's
            self._end()
            raise
        if answer is None:
            self._end()
        return answer

    def _connected(self) -> Connection:
        """The line to a process that lives; never that of the process this one was forked from."""
        if self._line is not None and self._owner == os.getpid() and self._process is not None:
            if self._process.poll() is None:
                return self._line
            self._end()
        self._line, theirs = Pipe()
        self._owner = os.getpid()
        path = os.pathsep.join(filter(None, sys.path))
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  our own module, no text from outside
                [sys.executable, "-P", "-m", "tools.deploy.replaying", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        return self._line

    def _end(self) -> int:
        """Ends the process; what it ended with."""
        assert self._process is not None
        assert self._line is not None
        self._line.close()
        try:
            status = self._process.wait(0.5)  # it may be ending by itself, and then says with what
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        self._line = self._process = None
        return status


REPLAYS = Replays()
"""This process's."""


def _serve(descriptor: int) -> None:
    """Answers until the controller is gone, or has asked nothing for a while."""
    from tools.retrain import limits

    os.set_inheritable(descriptor, False)
    line = Connection(descriptor)
    while line.poll(IDLE_SECONDS):
        try:
            question, rows = json.loads(line.recv_bytes()), line.recv_bytes()
        except EOFError:
            return
        try:
            limits.limit_memory(question["memory_gb"])
            answer = _DONE + _weighed(question, rows).tobytes()
        except MemoryError:
            answer = _FAILED + f"memory_limit_gb: {question['memory_gb']:g} GB did not suffice".encode()
        except Exception as error:
            said = (str(error).splitlines() or [""])[0][:300]
            answer = _FAILED + f"{type(error).__name__}: {said}".encode(errors="replace")
        line.send_bytes(answer)


def _weighed(question: dict[str, Any], rows: bytes) -> Floats:
    import pyarrow as pa

    from tools import tasks
    from tools.retrain.recipe import feature_frame, predict
    from tools.systems.registry import load_local

    frame = pa.ipc.open_stream(rows).read_all().to_pandas()
    task = tasks.of(question["task"])
    pipeline = load_local(Path(question["folder"]))
    said = predict(pipeline, feature_frame(frame, Features.model_validate(question["features"])), task)
    if not tasks.sound(said):
        raise ValueError("it gives scores that are not numbers")
    return np.ascontiguousarray(task.weighed(frame[OUTCOME].to_numpy(), said), dtype=np.float64)


if __name__ == "__main__":
    _serve(int(sys.argv[1]))
