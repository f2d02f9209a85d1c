"""Measures the limit: merely reading the files by Arrow into memory, all cores."""

from __future__ import annotations

from collections.abc import Callable

from evals.benchmarks.drift.measured import Task, Values, main


def prepare(task: Task) -> Callable[[], Values]:
    """Reads the current file, or both."""
    import pyarrow.parquet as pq

    def work() -> Values:
        for path in [task.current] if task.stored else [task.baseline, task.current]:
            pq.read_table(path)
        return {}

    return work


if __name__ == "__main__":
    main(prepare)
