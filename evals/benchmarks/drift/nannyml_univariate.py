"""Measures NannyML's univariate drift: JS of all columns and KS of the numeric ones; its stored profile is a fit."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from typing import Any

from evals.benchmarks.drift.measured import Task, Values, frame, main


def prepare(task: Task) -> Callable[[], Values]:
    """One chunk against the reference; fitted beforehand where the profile is stored."""
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
    import nannyml

    warnings.simplefilter("ignore")

    def fitted(baseline: Any) -> Any:
        return nannyml.UnivariateDriftCalculator(
            column_names=list(baseline.columns),
            continuous_methods=["jensen_shannon", "kolmogorov_smirnov"],
            categorical_methods=["jensen_shannon"],
            chunk_number=1,
        ).fit(baseline)

    baseline = None if task.from_parquet and not task.stored else frame(task.baseline, texts=True)
    calculator = fitted(baseline) if task.stored else None
    if task.stored:
        baseline = None
    current = None if task.from_parquet else frame(task.current, texts=True)

    def work() -> Values:
        ready = calculator or fitted(frame(task.baseline, texts=True) if baseline is None else baseline)
        result = ready.calculate(frame(task.current, texts=True) if current is None else current)
        table = result.filter(period="analysis").to_df()
        names = {"jensen_shannon": "js", "kolmogorov_smirnov": "ks"}
        found: dict[str, dict[str, float]] = {}
        for column, method, part in table.columns:
            if method in names and part == "value":
                found.setdefault(column, {})[names[method]] = float(table[column, method, part].iloc[0])
        return found

    return work


if __name__ == "__main__":
    main(prepare)
