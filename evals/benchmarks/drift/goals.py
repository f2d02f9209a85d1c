"""The goals a drift check is held to, each a ratio or amount measured in this run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evals.benchmarks.drift import peers
from evals.benchmarks.drift.peers import Measured

_MANY = 1_000_000
_FEW = 100_000


@dataclass(frozen=True)
class Task:
    """Where the current rows come from, and whether the baseline is a stored profile or data."""

    from_parquet: bool
    stored: bool

    def __str__(self) -> str:
        source = "from Parquet" if self.from_parquet else "in memory"
        return f"{source}, {'against a stored profile' if self.stored else 'both sides given'}"


Results = dict[tuple[int, Task, str], Measured]


@dataclass(frozen=True)
class Goal:
    """Met where `value` <= `at_most`; NaN where what it rests on was not measured."""

    name: str
    value: float
    at_most: float
    detail: str = ""


def goals(results: Mapping[tuple[int, Task, str], Measured]) -> list[Goal]:
    """The goals on time and memory."""
    memory, both_memory = Task(False, True), Task(False, False)
    parquet, both_parquet = Task(True, True), Task(True, False)

    def found(rows: int, task: Task, contender: peers.Contender) -> Measured:
        return results.get((rows, task, contender.name), Measured())

    def ratio(rows: int, task: Task, other: peers.Contender, others: Task | None = None) -> float:
        return found(rows, task, peers.OURS).seconds / found(rows, others or task, other).seconds

    many = f"{_MANY:,} rows"
    return [
        Goal(f"{many} in memory, stored profile: / careful NumPy/SciPy", ratio(_MANY, memory, peers.CAREFUL), 1 / 100),
        Goal(
            f"{many} in memory, stored profile: / Evidently's bare four",
            ratio(_MANY, memory, peers.BARE, both_memory),
            1 / 150,
        ),
        Goal(f"{many} from Parquet, stored profile: / reading by Arrow", ratio(_MANY, parquet, peers.ARROW), 2.5),
        Goal(f"{many}, both files given: / reading both by Arrow", ratio(_MANY, both_parquet, peers.ARROW), 6.0),
        Goal(f"{_FEW:,} rows in memory, stored profile: / scouter's PSI", ratio(_FEW, memory, peers.SCOUTER), 1 / 8),
        Goal(f"{many} in memory, both sides given: peak MB", found(_MANY, both_memory, peers.OURS).peak_mb, 1500),
        Goal(f"{many}, both files given: peak MB", found(_MANY, both_parquet, peers.OURS).peak_mb, 600),
    ]
