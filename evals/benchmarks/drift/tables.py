"""The benchmark's table: 40 numeric and 10 categorical columns, with what makes drift statistics fail among them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

HARD = {
    "heavy_shifted": "log-normal (σ 3) shifted by 0.3 σ of its logarithm",
    "cauchy_shifted": "Cauchy shifted by 0.2",
    "with_nulls": "nulls 5% → 15%, the values unchanged",
    "new_category": "1% of the rows in a category never seen",
}
"""Columns that peers get wrong."""


def write(folder: Path, rows: int) -> tuple[Path, Path]:
    """Writes baseline and current tables of so many rows as Parquet where they are not there yet; their paths."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    paths = (folder / f"baseline-{rows}.parquet", folder / f"current-{rows}.parquet")
    for path, drifted in zip(paths, (False, True), strict=True):
        if not path.exists():
            partial = path.with_suffix(".partial")
            pq.write_table(pa.table(columns(rows, drifted)), partial)
            partial.replace(path)
    return paths


def columns(rows: int, drifted: bool) -> dict[str, Any]:
    """The table's columns: arrays of numbers, and Arrow dictionary arrays."""
    random = np.random.default_rng(2 if drifted else 1)
    shift = 0.2 if drifted else 0.0
    found: dict[str, Any] = {
        "heavy_shifted": random.lognormal(0.9 if drifted else 0.0, 3.0, rows),
        "cauchy_shifted": random.standard_cauchy(rows) + shift,
        "with_nulls": np.where(random.random(rows) < (0.15 if drifted else 0.05), np.nan, random.normal(size=rows)),
        "constant": np.full(rows, 7.0),
    }
    for i in range(36):
        moved = shift if i % 5 == 0 else 0.0
        found[f"number_{i:02d}"] = _numbers(random, i % 9, rows, moved)
    found["new_category"] = _categories(random, 5, rows, unseen=0.01 if drifted else 0.0)
    for i in range(9):
        found[f"category_{i}"] = _categories(random, (2, 3, 5, 8, 12, 20, 50, 100, 200)[i], rows, unseen=0.0)
    return found


def _numbers(random: np.random.Generator, family: int, rows: int, moved: float) -> Any:
    if family == 0:
        return random.normal(moved, 1, rows)
    if family == 1:
        return random.lognormal(moved, 1, rows)
    if family == 2:
        return random.standard_t(3, rows) + moved
    if family == 3:
        return random.normal(1000 + 5 * moved, 5, rows)
    if family == 4:
        return random.poisson(3 + moved, rows).astype(np.float64)
    if family == 5:
        return np.where(random.random(rows) < 0.6, 0.0, random.exponential(1 + moved, rows))
    if family == 6:
        return random.gamma(2, 1 + moved, rows)
    if family == 7:
        return random.random(rows) + moved
    return np.round(random.lognormal(3 + moved, 0.5, rows), 2)


def _categories(random: np.random.Generator, size: int, rows: int, *, unseen: float) -> Any:
    import pyarrow as pa

    weights = 1 / np.arange(1, size + 1)
    codes = random.choice(size, rows, p=weights / weights.sum())
    if unseen:
        codes = np.where(random.random(rows) < unseen, size, codes)
    names = [f"kind {i}" for i in range(size)] + (["unseen"] if unseen else [])
    return pa.DictionaryArray.from_arrays(codes.astype(np.int32), names)
