"""A declared drift monitor's check of 100,000 to 100 million rows on DuckDB: time and memory, row by row size.

Ten columns (eight numbers, two categories) with a time and an id, in files of a million rows, as a warehouse's
partitions are. The monitor has PSI of all features, their correlations, and a contract. Each size is measured in a
process of its own, the baseline's profile with it; the file cache of the operating system is as it is.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

SIZES = [100_000, 1_000_000, 10_000_000]
_FILE_ROWS = 1_000_000
_MEMORY_GOAL_MB = 1024


def main(arguments: Sequence[str]) -> None:
    """Prints a line a size, and whether time grew no faster than rows and memory stayed under 1 GiB."""
    parser = argparse.ArgumentParser(prog="row_scale", description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, nargs="+", default=SIZES, help="the issue's largest is 100000000 (7 GB)")
    parser.add_argument("--folder", type=Path, help="where the rows are written; a temporary folder otherwise")
    given = parser.parse_args(arguments)
    measured = []
    print(f"{'rows':>12}{'seconds':>10}{'ns a row':>10}{'peak MB':>9}")
    for rows in given.rows:
        with tempfile.TemporaryDirectory(prefix="rows-", dir=given.folder) as folder:
            write(Path(folder), rows)
            asked = [sys.executable, "-c", f"from evals.benchmarks.row_scale import measure; measure({folder!r})"]
            answer = subprocess.run(asked, check=True, capture_output=True, text=True)  # noqa: S603  our own module
            found = json.loads(answer.stdout)
        assert (found["rows"], found["said"]) == (rows, "ok"), found
        measured.append((rows, found["seconds"], found["peak_mb"]))
        print(
            f"{rows:12,}{found['seconds']:10.2f}{found['seconds'] / rows * 1e9:10.0f}{found['peak_mb']:9.0f}",
            flush=True,
        )
    pace = [seconds / rows for rows, seconds, _ in measured]
    steady = all(after <= before * 1.1 for before, after in itertools.pairwise(pace))
    print(f"time grows no faster than rows (10% allowed): {'yes' if steady else 'NO'}")
    print(f"peak under {_MEMORY_GOAL_MB} MB: {'yes' if max(m[2] for m in measured) < _MEMORY_GOAL_MB else 'NO'}")


OPERATIONS = """
models:
  Shop:
    registry_name: shop
    target: bought
    id: id
    time: at
    table: shop.live
    holdout: shop.live
    predictions: shop.predictions
    served: elsewhere
    labels: {table: shop.labels, id: id, time: at, value: bought, arrived: at}
    features:
      numeric: [number_0, number_1, number_2, number_3, number_4, number_5, spend, orders]
      categorical: [market, city]
schemas:
  Rows:
    columns:
      spend: {type: number, range: [0, null]}
      orders: {type: integer}
      market: {type: string, categories: [US, EU, APAC]}
drift_monitors:
  ShopDrift:
    model: Shop
    baseline: {dataset: shop.baseline, timestamp: 2025-12-31}
    monitors:
      - {type: data_drift, method: psi, threshold: 0.2, features: all, frequency: daily}
      - {type: feature_drift, method: correlation, threshold: 0.2, features: all, frequency: daily}
      - {type: schema_drift, method: contract_validation, expected_schema: Rows, frequency: daily}
systems: {warehouse: warehouse}
"""


def write(folder: Path, rows: int) -> None:
    """Declarations, a baseline of 100,000 rows, and a day of rows to check, in Parquet files."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(7)
    day = np.datetime64("2026-01-05", "us")

    def table(first: int, n: int, shift: float) -> pa.Table:
        at = day + (random.random(n) * 86_400e6).astype("timedelta64[us]")
        columns: dict[str, object] = {"id": np.arange(first, first + n), "at": at}
        columns |= {f"number_{i}": random.normal(shift * i, 1 + i, n) for i in range(6)}
        columns |= {"spend": random.lognormal(3, 1, n), "orders": random.poisson(4, n)}
        columns |= {"market": random.choice(["US", "EU", "APAC"], n), "city": random.integers(0, 500, n).astype(str)}
        return pa.table(columns)

    (folder / "operations.yaml").write_text(OPERATIONS)
    for name in ("baseline", "live"):
        (folder / "warehouse" / "shop" / name).mkdir(parents=True)
    pq.write_table(table(0, 100_000, 0.0), folder / "warehouse/shop/baseline/rows.parquet")
    for number, start in enumerate(range(0, rows, _FILE_ROWS)):
        part = table(start, min(_FILE_ROWS, rows - start), 0.01)
        pq.write_table(part, folder / f"warehouse/shop/live/{number:04d}.parquet", row_group_size=100_000)


def measure(folder: str) -> None:
    """Prints the seconds of the check, what it said, and the process's peak memory, as JSON."""
    from datetime import datetime

    from evals.benchmarks.drift.measured import peak_mb
    from tools.check_drift.tool import CheckDriftArguments, measured
    from tools.systems.systems import Systems

    systems = Systems.open(Path(folder) / "operations.yaml")
    started = time.perf_counter()
    report = measured(systems, CheckDriftArguments(monitor="ShopDrift", at=datetime(2026, 1, 6)))
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb(), "rows": report.window.rows, "said": report.severity}))
    systems.close()
