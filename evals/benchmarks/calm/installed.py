"""The peers' own defaults, as installed, over pairs of columns: `said` asks `main` in each peer's environment.

What runs there needs the standard library, NumPy and the peer only. In the file of pairs `reference_i` and `current_i`
are the i-th pair, the reference ten times as long.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

Said = tuple[float, bool]
"""A statistic (Evidently's may be a p-value), and whether the column is called drifted."""


def said(peer: str, python: Path, pairs: Path) -> list[Said]:
    """What a peer's own environment says of every pair. Raises CalledProcessError."""
    command = [python, "-m", "evals.benchmarks.calm.installed", peer, pairs]
    root = Path(__file__).parents[3]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=True, cwd=root)  # noqa: S603
    return [(float(value), bool(drifted)) for value, drifted in json.loads(done.stdout.splitlines()[-1])]


def main(peer: str, file: str) -> None:
    """Prints what `peer` says of every pair in `file`, as a line of JSON."""
    os.environ["NML_DISABLE_USAGE_LOGGING"] = "1"
    warnings.simplefilter("ignore")
    pairs = np.load(file)
    count = len(pairs.files) // 2
    print(json.dumps([_PEERS[peer](pairs[f"reference_{i}"], pairs[f"current_{i}"]) for i in range(count)]))


def _evidently(reference: Any, current: Any) -> Said:
    import pandas as pd
    from evidently.legacy.calculations.stattests.registry import get_stattest
    from evidently.legacy.core import ColumnType

    before, after = pd.Series(reference[: len(current)]), pd.Series(current)
    test = get_stattest(before, after, ColumnType.Numerical, None)
    found = test(before, after, ColumnType.Numerical, None)
    return float(found.drift_score), bool(found.drifted)


def _nannyml(reference: Any, current: Any) -> Said:
    import nannyml
    import pandas as pd

    calculator = nannyml.UnivariateDriftCalculator(column_names=["x"], chunk_size=len(current))
    result = calculator.fit(pd.DataFrame({"x": reference})).calculate(pd.DataFrame({"x": current}))
    row = result.filter(period="analysis").to_df()["x"]["jensen_shannon"].iloc[0]
    return float(row["value"]), bool(row["alert"])


_PEERS = {"evidently": _evidently, "nannyml": _nannyml}


if __name__ == "__main__":
    main(*sys.argv[1:])
