"""Measures scouter's PSI (Rust) of all columns; it takes no nulls, which become a value below all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from evals.benchmarks.drift.measured import Task, Values, frame, main


def prepare(task: Task) -> Callable[[], Values]:
    """The current table against a profile, made beforehand where it is stored."""
    from scouter.drift import Drifter, PsiDriftConfig

    drifter = Drifter()

    def read(path: str) -> Any:
        table = frame(path, texts=True)
        for name in table.columns:
            if table[name].dtype.kind == "f" and table[name].isna().any():
                table[name] = table[name].fillna(-1e9)
        return table

    def made(baseline: Any) -> Any:
        texts = [name for name in baseline.columns if baseline[name].dtype.kind == "O"]
        config = PsiDriftConfig(space="benchmark", name="drift", categorical_features=texts)
        return drifter.create_drift_profile(baseline, config)

    baseline = None if task.from_parquet and not task.stored else read(task.baseline)
    profile = made(baseline) if task.stored else None
    if task.stored:
        baseline = None
    current = None if task.from_parquet else read(task.current)

    def work() -> Values:
        stored = profile or made(read(task.baseline) if baseline is None else baseline)
        drift = drifter.compute_drift(read(task.current) if current is None else current, stored)
        return {name: {"psi": float(value)} for name, value in drift.features.items()}

    return work


if __name__ == "__main__":
    main(prepare)
