"""Measures Evidently's report with its data-drift preset (PSI); it has no stored profile: both sides are given."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from evals.benchmarks.drift.measured import Task, Values, frame, main


def prepare(task: Task) -> Callable[[], Values]:
    """The report, run and read out."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    warnings.simplefilter("ignore")
    loaded = None if task.from_parquet else [frame(path, texts=True) for path in (task.baseline, task.current)]

    def work() -> Values:
        baseline, current = loaded or [frame(path, texts=True) for path in (task.baseline, task.current)]
        numeric = [name for name in baseline.columns if baseline[name].dtype.kind == "f"]
        definition = DataDefinition(
            numerical_columns=numeric,
            categorical_columns=[name for name in baseline.columns if name not in numeric],
        )
        sides = [Dataset.from_pandas(side, definition) for side in (current, baseline)]
        report = Report([DataDriftPreset(method="psi")]).run(*sides).dict()
        return {
            metric["config"]["column"]: {"psi": float(metric["value"])}
            for metric in report["metrics"]
            if "column" in metric["config"]
        }

    return work


if __name__ == "__main__":
    main(prepare)
