"""What is costly and asked by several scenarios: the suite's processes keep the answers in a folder they share.

A training asked for alike (rows, parameters, seed and all) is fitted once, and an artifact scores the same rows once.
Both are done in the suite's own processes, where the libraries are loaded already: the suite's models are its own.
Where a scenario declares less memory or time than is usual, a process of its own holds them to it.
"""

from __future__ import annotations

import fcntl
import hashlib
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from policies.declarations.binding import Features
from policies.declarations.training import Training
from tools.evaluate.clean_process import ReplayFailed, scores_here, scores_of
from tools.retrain import worker
from tools.retrain.job import Job, Message, NewBest, TrialsDone
from tools.retrain.process import Made, TrainingProcess, made
from tools.retrain.search import TrialRecord
from tools.systems.registry import digest_file

Answer = TypeVar("Answer")

_USUAL_MEMORY_GB: float = Training.model_fields["memory_limit_gb"].default
_USUAL_HOURS: float = Training.model_fields["max_training_hours"].default


class Remembered:
    """Answers by their question, in a folder of the suite's own; an answer that fails is none."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder

    def once(self, question: object, ask: Callable[[], Answer]) -> Answer:
        """What `ask` gave whoever asked first; another process that asks meanwhile waits for it."""
        kept = self._folder / hashlib.sha256(pickle.dumps(question)).hexdigest()
        with kept.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not kept.exists():
                partial = kept.with_suffix(".partial")
                partial.write_bytes(pickle.dumps(ask()))
                partial.replace(kept)
        answer: Answer = pickle.loads(kept.read_bytes())
        return answer

    @contextmanager
    def trainer(self) -> Iterator[RememberedTraining]:
        """What `Systems.trainer` opens."""
        yield RememberedTraining(self)

    def replayer(
        self, folder: Path, rows: Sequence[Mapping[str, Any]], features: Features, memory_gb: float, task: str, /
    ) -> list[float]:
        """What `Systems.replayer` is: the artifact is known by its digest."""
        question = (digest_file(folder / "model.pkl"), list(rows), features, memory_gb, task)

        def scored() -> list[float]:
            if memory_gb < _USUAL_MEMORY_GB:
                return scores_of(folder, rows, features, memory_gb, task)
            try:
                return scores_here(folder, rows, features, task)
            except Exception as error:
                raise ReplayFailed(f"{type(error).__name__}: {error}") from error

        return self.once(question, scored)


class RememberedTraining:
    """Trains as ever, unless the suite has done the very same job."""

    def __init__(self, memory: Remembered) -> None:
        self._memory = memory

    def train(self, job: Job, seconds: float, on_trials: Callable[[list[TrialRecord]], None]) -> Made:
        """What the job makes; see TrainingProcess."""

        def trained() -> tuple[Made, list[TrialRecord]]:
            if job.training.memory_limit_gb < _USUAL_MEMORY_GB or job.training.max_training_hours < _USUAL_HOURS:
                ended: list[TrialRecord] = []
                with TrainingProcess() as process:
                    return process.train(job, seconds, ended.extend), ended
            told: list[Message] = []
            model = worker.work(job, told.append).model
            best = [each for each in told if isinstance(each, NewBest)][-1]
            return made(best, model), [r for each in told if isinstance(each, TrialsDone) for r in each.records]

        question = replace(job, home=Path(), scratch=Path(), search_seconds=0.0)
        answer, records = self._memory.once(question, trained)
        on_trials(records)
        return answer
