"""A batch run against calling the model on the whole table: time for the same rows, pages of a million or one frame.

The peer reads the whole table into one DataFrame, calls `predict_proba` once and writes one Parquet file: what a script
would do. `guardian score` finds what is missing, reads, scores and writes page by page, and never holds the table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow as pa

from evals.benchmarks.serving.world import FEATURES, NAME, NIGHT, SCALED, frame, registered
from tools.serving.batch_run import run_batch
from tools.systems.systems import Systems

GOAL = 1.2


def directly(systems: Systems) -> float:
    """Seconds of the script: the table as one frame, one call, one file."""
    began = time.perf_counter()
    pipeline = systems.registry.load(NAME, SCALED[0])
    rows = pd.read_parquet(systems.warehouse.folder("ml.features"))  # type: ignore[attr-defined]
    scores = pipeline.predict_proba(rows[list(FEATURES)])[:, 1]
    told = {"customer_id": rows["customer_id"], "scored_at": rows["scored_at"], "score": scores, "label": scores >= 0.5}
    systems.warehouse.append("ml.script", pa.table(told), "whole")
    return time.perf_counter() - began


def main(arguments: Sequence[str]) -> None:
    """Prints both times and their ratio; each is the best of the repeats."""
    parser = argparse.ArgumentParser(prog="batch_scoring", description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000, metavar="N")
    parser.add_argument("--repeats", type=int, default=3, metavar="K")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, registered(Path(folder)) as systems:
        for start in range(0, options.rows, 500_000):
            rows = frame(min(500_000, options.rows - start), seed=start)
            rows["customer_id"], rows["scored_at"] = range(start, start + len(rows)), NIGHT
            systems.warehouse.append("ml.features", pa.Table.from_pandas(rows, preserve_index=False), f"{start:09d}")
        script, ours = [], []
        for repeat in range(options.repeats):
            script.append(directly(systems))
            done = run_batch(systems, "nightly", NIGHT + timedelta(hours=12))
            assert done.rows == options.rows, done
            ours.append(done.seconds)
            print(f"{repeat + 1}: script {script[-1]:.2f} s, guardian score {ours[-1]:.2f} s", flush=True)
            for file in systems.warehouse.folder("ml.daily").glob("*.parquet"):  # type: ignore[attr-defined]
                file.unlink()
    ratio = min(ours) / min(script)
    print(f"{options.rows:,} rows: {ratio:.2f} times the whole table at once (goal: at most {GOAL})")
