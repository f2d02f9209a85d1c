"""The walk-forward concept-drift monitor on real data (Elec2): its alarms beside the accuracy, in numbers and drawn.

The champion of the first 283 days serves the other 94 weeks unchanged; at the end of each week the declared monitor
`Elec2Decay` runs on what is known by then. The peer is a gradient boosting refitted every four weeks on the 12 months
known by then: where it is better, the champion has decayed. `python -m evals.benchmarks.elec2_drift --data elec2.csv`
writes `elec2_drift.html`.
"""

from __future__ import annotations

import argparse
import math
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evals.elec2.example import ADOPTED, FEATURES, HALF_HOUR, LABEL_LAG, TABLES, WEEK, adopt, between, read, week_passes
from evals.elec2.picture import Walked, page
from evals.scratch import ScratchFolder
from policies.declarations import Severity

if TYPE_CHECKING:
    import pandas as pd

MONITOR = "Elec2Decay"
REFITTED_EVERY = 4
MEMORY = 52 * WEEK
_SCORES = 'SELECT score FROM elec2.predictions WHERE "at" >= $start AND "at" < $end ORDER BY "at"'


def walk(data: Path, home: Path, most_weeks: int = 94) -> Iterator[Walked]:
    """The weeks after the adoption, one by one as they are lived through. Raises InputError for another file."""
    from tools.check_drift.tool import CheckDriftArguments, run
    from tools.systems.systems import Systems

    rows = read(data)
    folder = ScratchFolder(home, "evals.elec2", TABLES)
    systems = Systems.open(home / "operations.yaml")
    try:
        adopt(systems, rows)
        last = rows["at"].max() + HALF_HOUR
        start, number = ADOPTED, 0
        refitted: Callable[[pd.DataFrame], np.ndarray] | None = None
        while start + WEEK <= last and number < most_weeks:
            end = start + WEEK
            week_passes(systems, rows, start, end)
            report = run(systems, CheckDriftArguments(monitor=MONITOR, at=None))
            (check,) = report.checks
            week = between(rows, start, end)
            if refitted is None or number % REFITTED_EVERY == 0:
                refitted = _fitted(between(rows, start - MEMORY, start - LABEL_LAG))
            scores = systems.warehouse.query(_SCORES, {"start": start, "end": end})["score"].to_numpy()
            yield Walked(
                start=start,
                accuracy=float(np.mean((scores >= 0.5) == week["price_up"].to_numpy())),
                refitted=float(np.mean(refitted(week) == week["price_up"].to_numpy())),
                drop=math.nan if check.value is None else check.value,
                severity=check.severity,
            )
            start, number = end, number + 1
    finally:
        systems.close()
        folder.close()


def threshold() -> float:
    """The declared threshold of the monitor."""
    import importlib.resources

    from policies.declarations import load
    from policies.declarations.drift import ConceptDrift

    with importlib.resources.as_file(importlib.resources.files("evals.elec2") / "operations.yaml") as path:
        (declared,) = load(path).drift_monitors[MONITOR].monitors
    assert isinstance(declared, ConceptDrift)
    return declared.threshold


def table(weeks: Sequence[Walked]) -> str:
    """How accurate both models were in weeks that end with an alarm and in the others."""
    lines = [f"{'':<26}{'weeks':>7}{'champion':>10}{'refitted':>10}{'lost':>8}"]
    for name, chosen in (
        ("no alarm", [w for w in weeks if not w.alarm]),
        ("alarm", [w for w in weeks if w.alarm]),
        ("  of these critical", [w for w in weeks if w.severity is Severity.critical]),
    ):
        if chosen:
            ours, theirs = np.mean([w.accuracy for w in chosen]), np.mean([w.refitted for w in chosen])
            lines.append(f"{name:<26}{len(chosen):>7}{ours:>10.1%}{theirs:>10.1%}{theirs - ours:>+8.1%}")
    first = next((w for w in weeks if w.alarm), None)
    lines.append(f"first alarm               {first.start + WEEK:%Y-%m-%d}" if first else "no alarm")
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> None:
    """Walks through the weeks, prints the table, writes the picture."""
    parser = argparse.ArgumentParser(prog="python -m evals.benchmarks.elec2_drift", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="FILE", help="elec2.csv: 45,312 half hours.")
    parser.add_argument("--picture", type=Path, default=Path("elec2_drift.html"), metavar="FILE")
    given = parser.parse_args(arguments)
    weeks = []
    with tempfile.TemporaryDirectory() as folder:
        for week in walk(given.data, Path(folder) / "elec2"):
            weeks.append(week)
            told = f"AUC {week.drop:+.3f} below the baseline's, {week.severity.value}"
            sys.stderr.write(f"{week.start:%Y-%m-%d}  accuracy {week.accuracy:.1%} ({week.refitted:.1%})  {told}\n")
    given.picture.write_text(page(weeks, threshold()), encoding="utf-8")
    sys.stdout.write(f"{table(weeks)}\nwritten: {given.picture}\n")


def _fitted(rows: pd.DataFrame) -> Callable[[pd.DataFrame], np.ndarray]:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(limits=1):
        model = HistGradientBoostingClassifier(random_state=0).fit(rows[FEATURES], rows["price_up"])
    return lambda asked: np.asarray(model.predict(asked[FEATURES]))


if __name__ == "__main__":
    main(sys.argv[1:])
