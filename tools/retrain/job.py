"""What travels between a run and the process that trains for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from policies.declarations.binding import Features
from policies.declarations.training import Training
from tools.retrain.sampling import Rows
from tools.retrain.search import Best, TrialRecord
from tools.tasks import BINARY, Outcomes, Task


@dataclass(frozen=True)
class Job:
    """One training to do.

    Attributes:
        home: the declarations' folder, where a user's recipe is looked for.
        rows: those of train and validation; `cut` is the first validation row's place.
        known: what the champion's run recorded.
        earlier: trials of this very search that ended before an interruption.
        search_seconds: after these no further trial starts, so that the last fit still has its time.
        scratch: a folder for files that outlive no run.
        task: what the model foretells.
    """

    training: Training
    home: Path
    features: Features
    target: str
    rows: Rows
    cut: int
    objective: str
    known: dict[str, str]
    trials: int
    seed: int
    earlier: tuple[TrialRecord, ...]
    search_seconds: float
    scratch: Path
    task: Task = BINARY


@dataclass(frozen=True)
class TrialsDone:
    """Trials that ended."""

    records: list[TrialRecord]


@dataclass(frozen=True)
class NewBest:
    """The best trial so far, and its parameters as the registry records them."""

    best: Best
    described: dict[str, str]
    outcomes: Outcomes


@dataclass(frozen=True)
class Finished:
    """The best trial's parameters, fitted once more on all rows: the pickled model."""

    model: bytes


@dataclass(frozen=True)
class Failed:
    """Why nothing more will come; `at_fault` names what the user declared, empty where it was not that."""

    reason: str
    at_fault: str


Message = TrialsDone | NewBest | Finished | Failed
