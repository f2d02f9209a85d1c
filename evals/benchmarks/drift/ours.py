"""Measures this project: PSI, JS, KL and KS (with all else a comparison holds) of all columns."""

from __future__ import annotations

from collections.abc import Callable

from evals.benchmarks.drift.measured import Task, Values, frame, main
from tools.check_drift import compare, profile


def prepare(task: Task) -> Callable[[], Values]:
    """The comparison the task asks for."""
    baseline: object = task.baseline if task.from_parquet else frame(task.baseline, texts=False)
    if task.stored:
        baseline = profile(baseline)
    current: object = task.current if task.from_parquet else frame(task.current, texts=False)

    def work() -> Values:
        return {
            change.column: {
                "psi": change.psi,
                "js": change.js,
                "kl": change.kl,
                "ks": change.ks,
                "ks_bound": change.ks_bound,
            }
            for change in compare(baseline, current)
        }

    return work


if __name__ == "__main__":
    main(prepare)
