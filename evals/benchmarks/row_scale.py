"""A drift monitor's profile and comparison at 100,000 to 100 million rows of Parquet: time and memory, row by row size.

Ten columns (eight numbers, two categories), in files of a million rows, as a warehouse's partitions are. Each size is
measured in a process of its own; the file cache of the operating system is as it is.
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
        measured.append((rows, found["seconds"], found["peak_mb"]))
        print(
            f"{rows:12,}{found['seconds']:10.2f}{found['seconds'] / rows * 1e9:10.0f}{found['peak_mb']:9.0f}",
            flush=True,
        )
    pace = [seconds / rows for rows, seconds, _ in measured]
    steady = all(after <= before * 1.1 for before, after in itertools.pairwise(pace))
    print(f"time grows no faster than rows (10% allowed): {'yes' if steady else 'NO'}")
    print(f"peak under {_MEMORY_GOAL_MB} MB: {'yes' if max(m[2] for m in measured) < _MEMORY_GOAL_MB else 'NO'}")


def write(folder: Path, rows: int) -> None:
    """A baseline of 100,000 rows and the rows to check, in Parquet files."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    random = np.random.default_rng(7)

    def table(n: int, shift: float) -> pa.Table:
        columns: dict[str, object] = {f"number_{i}": random.normal(shift * i, 1 + i, n) for i in range(6)}
        columns |= {"spend": random.lognormal(3, 1, n), "orders": random.poisson(4, n)}
        columns |= {"market": random.choice(["US", "EU", "APAC"], n), "city": random.integers(0, 500, n).astype(str)}
        return pa.table(columns)

    pq.write_table(table(100_000, 0.0), folder / "baseline.parquet")
    (folder / "current").mkdir()
    for number, start in enumerate(range(0, rows, _FILE_ROWS)):
        part = table(min(_FILE_ROWS, rows - start), 0.01)
        pq.write_table(part, folder / "current" / f"{number:04d}.parquet", row_group_size=100_000)


def measure(folder: str) -> None:
    """Prints the seconds of profiling the current rows and comparing them, and the process's peak memory, as JSON."""
    from evals.benchmarks.drift.measured import peak_mb
    from tools.check_drift import compare, profile

    baseline = profile(Path(folder) / "baseline.parquet")
    started = time.perf_counter()
    compare(baseline, Path(folder) / "current")
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb()}))
