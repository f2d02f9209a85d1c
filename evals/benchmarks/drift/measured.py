"""Time, peak memory and results of one piece of work, measured in the process that does it."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Values = Mapping[str, Mapping[str, float]]
"""Statistics by column, then by name (psi, js, kl, ks)."""

_REPEATS = 7
_LONG_SECONDS = 4.0


@dataclass(frozen=True)
class Task:
    """What to measure: both Parquet files, whether they are read in the measured part, and which sides are given."""

    baseline: str
    current: str
    from_parquet: bool
    stored: bool


def main(prepare: Callable[[Task], Callable[[], Values]]) -> None:
    """Measures what `prepare` returns for the task of the command line, and prints the measurement as one JSON line.

    The best of up to seven runs, fewer where they take long; peak is the process's resident memory during the runs,
    what was loaded before included.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("baseline")
    parser.add_argument("current")
    parser.add_argument("--parquet", action="store_true")
    parser.add_argument("--stored", action="store_true")
    given = parser.parse_args()
    work = prepare(Task(given.baseline, given.current, given.parquet, given.stored))
    _forget_peak()
    taken: list[float] = []
    values: Values = {}
    while len(taken) < _REPEATS and sum(taken) < _LONG_SECONDS:
        start = time.perf_counter()
        values = work()
        taken.append(time.perf_counter() - start)
    print(json.dumps({"seconds": min(taken), "peak_mb": peak_mb(), "values": values}))


def frame(path: str, *, texts: bool) -> Any:
    """The file as a pandas table, read without a copy to spare; categories as text objects where `texts`."""
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    read = table.to_pandas(split_blocks=True, self_destruct=True)
    del table
    if texts:
        for name in read.columns:
            if read[name].dtype == "category":
                read[name] = read[name].astype(object)
    return read


def _forget_peak() -> None:
    """Linux: lets the peak start from what is resident now, so that loading does not count."""
    clear = Path("/proc/self/clear_refs")
    if clear.exists():
        clear.write_text("5")


def peak_mb() -> float:
    """This process's largest resident memory. On Linux not by getrusage, where a child begins with its parent's."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
