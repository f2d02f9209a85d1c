"""Trainings that several scenarios ask for alike: a process of the suite fits each once, in a process of its own."""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tools.retrain.job import Job
from tools.retrain.process import Made, TrainingProcess
from tools.retrain.search import TrialRecord

_MADE: dict[str, tuple[Made, list[TrialRecord]]] = {}


class RememberedTraining:
    """Trains as ever, unless this process has done the very same job: rows, parameters, seed and all."""

    def train(self, job: Job, seconds: float, on_trials: Callable[[list[TrialRecord]], None]) -> Made:
        """What the job makes; see TrainingProcess."""
        same = replace(job, home=Path(), scratch=Path(), search_seconds=0.0)
        key = hashlib.sha256(pickle.dumps(same)).hexdigest()
        if key not in _MADE:
            records: list[TrialRecord] = []
            with TrainingProcess() as process:
                _MADE[key] = process.train(job, seconds, records.extend), records
        made, records = _MADE[key]
        on_trials(list(records))
        return made


@contextmanager
def remembered() -> Iterator[RememberedTraining]:
    """What `Systems.trainer` opens."""
    yield RememberedTraining()
