"""Measures NumPy at its best: each column sorted once by vector instructions, everything read off the sorted values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from evals.benchmarks.drift.measured import Task, Values, frame, main
from evals.benchmarks.drift.numpy_scipy import described, shares


def prepare(task: Task) -> Callable[[], Values]:
    """All four statistics of every column."""
    baseline: Any = None if task.from_parquet and not task.stored else frame(task.baseline, texts=False)
    stored = {name: described(baseline[name]) for name in baseline.columns} if task.stored else None
    if task.stored:
        baseline = None
    current: Any = None if task.from_parquet else frame(task.current, texts=False)

    def statistics(column: Any, before: tuple[Any, Any, Any]) -> dict[str, float]:
        edges, counts, values = before
        if values is None:
            after = column.value_counts(dropna=False)
            known = after.reindex(edges).fillna(0).to_numpy(dtype=float)
            return _divergences(np.append(counts, 0), np.append(known, len(column) - known.sum()))
        ordered = np.sort(column.to_numpy())
        nulls = int(np.isnan(column.to_numpy()).sum())
        ordered = ordered[: len(ordered) - nulls]
        below = np.searchsorted(ordered, edges, side="right")
        after = np.append(np.diff(below, prepend=0, append=len(ordered)), nulls)
        return {**_divergences(counts, after), "ks": _ks(values, ordered)}

    def work() -> Values:
        before: Any = frame(task.baseline, texts=False) if baseline is None and stored is None else baseline
        after = frame(task.current, texts=False) if current is None else current
        return {
            name: statistics(after[name], stored[name] if stored else described(before[name])) for name in after.columns
        }

    return work


def _divergences(before: Any, after: Any) -> dict[str, float]:
    p, q = shares(before, after)
    middle = (p + q) / 2
    js = (np.sum(p * np.log2(p / middle)) + np.sum(q * np.log2(q / middle))) / 2
    return {
        "psi": float(np.sum((q - p) * np.log(q / p))),
        "js": float(np.sqrt(max(js, 0.0))),
        "kl": float(np.sum(q * np.log(q / p))),
    }


def _ks(a: Any, b: Any) -> float:
    """Exact two-sample statistic of sorted values: both distribution functions at every value of either."""
    at_a = np.abs(np.searchsorted(a, a, side="right") / len(a) - np.searchsorted(b, a, side="right") / len(b)).max()
    at_b = np.abs(np.searchsorted(a, b, side="right") / len(a) - np.searchsorted(b, b, side="right") / len(b)).max()
    return float(max(at_a, at_b))


if __name__ == "__main__":
    main(prepare)
