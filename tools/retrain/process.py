"""The training process as seen by the run that started it: its limits, what it said, how it is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from policies.errors import GuardianError, InputError
from tools.retrain.job import Failed, Finished, Job, NewBest, TrialsDone

if TYPE_CHECKING:
    from tools.retrain.search import TrialRecord
    from tools.tasks import Outcomes
    from tools.tasks.predicted import Predicted

_GRACE_SECONDS = 5.0
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_PACKAGES = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Made:
    """A fitted model and how it did on the validation rows.

    `stopped` says why it is the best trial so far, fitted on the training slice alone; None: the work was finished.
    """

    model: Any
    parameters: dict[str, str]
    outcomes: Outcomes
    said: Predicted
    stopped: str | None


class TrainingProcess:
    """A process of its own for one training; leaving the block stops it and whatever it started."""

    def __enter__(self) -> TrainingProcess:
        self._parent: Connection
        self._parent, child = Pipe()
        path = os.pathsep.join(each for each in (str(_PACKAGES), os.environ.get("PYTHONPATH")) if each)
        with child:
            self._process = subprocess.Popen(  # noqa: S603  our own module, no text from outside
                [sys.executable, "-P", "-m", "tools.retrain.worker", str(child.fileno())],
                pass_fds=[child.fileno()],
                env={**os.environ, **_ONE_THREAD, "PYTHONPATH": path},
                stdin=subprocess.DEVNULL,
                stdout=2,  # a recipe's prints are progress, and progress goes to stderr
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        """Its process id, and that of its group."""
        return self._process.pid

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._stop()
        self._parent.close()

    def train(self, job: Job, seconds: float, on_trials: Callable[[list[TrialRecord]], None]) -> Made:
        """Hands over the job and waits for its end, at most `seconds`; then the best trial so far is kept.

        Raises:
            InputError: the recipe, or what is declared for it, does not work.
            GuardianError: the process ended, or its time was over, before its first trial did.
        """
        deadline = time.monotonic() + seconds
        best: NewBest | None = None
        ended = f"max_training_hours: its {seconds:.0f} s were over"
        try:
            self._parent.send(job)
            while self._parent.poll(max(0.0, deadline - time.monotonic())):
                message = self._parent.recv()
                if isinstance(message, Finished) and best is not None:
                    return made(best, message.model)
                if isinstance(message, NewBest):
                    best = message
                elif isinstance(message, TrialsDone):
                    on_trials(message.records)
                elif isinstance(message, Failed):
                    if best is None:
                        raise _failure(message)
                    ended = message.reason
                    break
        except (EOFError, ConnectionError):
            ended = self._how_it_ended(job)
        self._stop()
        if best is None:
            raise GuardianError(f"{ended}, before a first trial was done", where="training")
        return made(best, best.best.attempt.model, ended)

    def _how_it_ended(self, job: Job) -> str:
        code = self._process.wait(_GRACE_SECONDS)
        if code < 0:
            limit = f"{job.training.memory_limit_gb:g} GB"
            return f"the training process was ended by {signal.Signals(-code).name} (its memory limit is {limit})"
        return f"the training process ended with exit code {code}; what it said is on stderr"

    def _stop(self) -> None:
        """Asks the process and all it started to end, and ends what does not."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE_SECONDS)


def made(best: NewBest, model: bytes, stopped: str | None = None) -> Made:
    """What a training that said `best` last has made: the pickled `model`, and why it was stopped if it was."""
    import pickle

    # The bytes come from our own process over its socket; they were never a file.
    fitted = pickle.loads(model)
    return Made(fitted, best.described, best.outcomes, best.best.attempt.said, stopped)


def _failure(message: Failed) -> GuardianError:
    if message.at_fault:
        return InputError(message.reason, where=message.at_fault)
    return GuardianError(message.reason, where="training")
