"""Measures careful NumPy and SciPy: what a good engineer writes, deciles once, bins shared by PSI, JS and KL, KS exact.

A stored profile is the decile edges with their shares and the baseline's sorted values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from evals.benchmarks.drift.measured import Task, Values, frame, main

_FLOOR = 1e-4
_DECILES = np.arange(1, 10) / 10


def prepare(task: Task) -> Callable[[], Values]:
    """All four statistics of every column, KS by `scipy.stats.ks_2samp`."""
    from scipy.spatial.distance import jensenshannon
    from scipy.stats import entropy, ks_2samp

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
            now = np.append(known, len(column) - known.sum())
            p, q = shares(np.append(counts, 0), now)
        else:
            present = column.to_numpy()
            nulls = int(np.isnan(present).sum())
            present = present[~np.isnan(present)] if nulls else present
            p, q = shares(counts, np.append(binned(present, edges), nulls))
        found = {
            "psi": float(np.sum((q - p) * np.log(q / p))),
            "js": float(jensenshannon(p, q, base=2)),
            "kl": float(entropy(q, p)),
        }
        if values is not None:
            found["ks"] = float(ks_2samp(values, present, method="asymp").statistic)
        return found

    def work() -> Values:
        before: Any = frame(task.baseline, texts=False) if baseline is None and stored is None else baseline
        after = frame(task.current, texts=False) if current is None else current
        return {
            name: statistics(after[name], stored[name] if stored else described(before[name])) for name in after.columns
        }

    return work


def described(column: Any) -> tuple[Any, Any, Any]:
    """Edges, counts (nulls last) and sorted values of a numeric column; categories, counts and None of another."""
    if column.dtype.kind == "f":
        values = column.to_numpy()
        nulls = int(np.isnan(values).sum())
        values = np.sort(values[~np.isnan(values)] if nulls else values)
        edges = np.unique(np.quantile(values, _DECILES, method="inverted_cdf"))
        below = np.searchsorted(values, edges, side="right")
        return edges, np.append(np.diff(below, prepend=0, append=len(values)), nulls), values
    counts = column.value_counts(dropna=False)
    return counts.index, counts.to_numpy(), None


def binned(values: Any, edges: Any) -> Any:
    """Counts of values by right-closed bins."""
    return np.bincount(np.searchsorted(edges, values), minlength=len(edges) + 1)


def shares(before: Any, after: Any) -> tuple[Any, Any]:
    """Floored and renormalised shares over the bins either side occupies."""
    used = (before > 0) | (after > 0)
    p, q = (np.maximum(side[used] / side.sum(), _FLOOR) for side in (before, after))
    return p / p.sum(), q / q.sum()


if __name__ == "__main__":
    main(prepare)
