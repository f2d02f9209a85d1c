"""Elec2, walked forward month by month: live AUC and trainings of the Guardian, of never and of monthly retraining.

The first 30% of the 944 days train the first champion, which all three share; the rest is lived through in months of
28 days. The Guardian's weeks are those of the example (`evals.elec2`): its real triage with the runbook planner, its
tools and its gate. Monthly retraining fits the same recipe on the same twelve months and takes over unseen; it keeps
no holdout, so it learns from rows 28 days fresher than a challenger that must still be judged.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evals.elec2.example import ADOPTED, HALF_HOUR, LABEL_LAG, MODEL, WEEK, between, read, run_example
from tools.evaluate.metrics import Floats, Scored, auc_roc
from tools.retrain import recipe, sampling, training
from tools.retrain.recipes import BuiltIn
from tools.systems.store import Kind
from tools.systems.systems import Systems

if TYPE_CHECKING:
    import pandas as pd

MONTH = 4 * WEEK
YEAR = timedelta(days=365)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Walk:
    """One way to keep a model: its score of every live row, and how many trainings that took after the first."""

    name: str
    scores: Floats
    trainings: int
    promotions: int


def main(arguments: Sequence[str]) -> None:
    """Prints AUC a month and the means; `--data` is elec2.csv, by default that of the reference data."""
    parser = argparse.ArgumentParser(prog="elec2_walk_forward", description="Elec2, month by month.")
    root = os.environ.get("GUARDIAN_REFERENCE_DATA")
    known = Path(root) / "data" / "elec2.csv" if root else None
    parser.add_argument("--data", type=Path, default=known, required=known is None, metavar="FILE")
    parser.add_argument("--months", type=int, default=None, metavar="N", help="only the first N")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="elec2-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns about its own type hints while it is imported
        world = Path(folder) / "world"
        live, walks = walk_forward(given.data, world, lambda line: print(line, file=sys.stderr), given.months)
    print(*table(live, walks), sep="\n")


def walk_forward(data: Path, home: Path, say: Say, months: int | None = None) -> tuple[pd.DataFrame, list[Walk]]:
    """The rows lived through, and what each way scored them; `months` None: all."""
    rows = read(data)
    run_example(data, home, say, None if months is None else months * (MONTH // WEEK))
    end = rows["at"].iloc[-1].to_pydatetime() + HALF_HOUR if months is None else ADOPTED + months * MONTH
    live = rows[(rows["at"] >= ADOPTED) & (rows["at"] < end)].reset_index(drop=True)
    systems = Systems.open(home / "operations.yaml")
    try:
        return live, [_never(systems, live), _monthly(systems, rows, live, end), _guarded(systems, live)]
    finally:
        systems.close()


def table(live: pd.DataFrame, walks: Sequence[Walk]) -> list[str]:
    """AUC of each month and walk, then mean AUC, trainings and promotions."""
    outcomes, month = live["price_up"].to_numpy(np.float64), ((live["at"] - ADOPTED) // MONTH).to_numpy()
    head = f"{'month from':<12}" + "".join(f"{each.name:>20}" for each in walks)
    lines, aucs = [head], []
    for number in np.unique(month):
        inside = month == number
        aucs.append([auc_roc(Scored(outcomes[inside], each.scores[inside])) for each in walks])
        lines.append(f"{ADOPTED + int(number) * MONTH:%Y-%m-%d}  " + "".join(f"{auc:>20.3f}" for auc in aucs[-1]))
    mean = np.mean(aucs, axis=0)
    return [
        *lines,
        "",
        f"{'mean AUC':<12}" + "".join(f"{each:>20.3f}" for each in mean),
        f"{'trainings':<12}" + "".join(f"{each.trainings:>20}" for each in walks),
        f"{'promotions':<12}" + "".join(f"{each.promotions:>20}" for each in walks),
        f"{'gain, never':<12}" + "".join(f"{each - mean[0]:>+20.3f}" for each in mean),
    ]


def _guarded(systems: Systems, live: pd.DataFrame) -> Walk:
    """What the example's weeks served."""
    predictions = systems.operations.model(MODEL).predictions
    assert predictions is not None
    scored = systems.warehouse.read(predictions).to_pandas().drop_duplicates("id").set_index("id")["score"]
    runs = [row for row in systems.store.list(Kind.training_run, MODEL) if row.body.get("pipeline")]
    promoted = systems.store.list(Kind.rollout, MODEL, status="promoted")
    scores = scored.reindex(live["id"]).to_numpy(np.float64)
    return Walk("guardian", scores, len(runs), len(promoted))


def _never(systems: Systems, live: pd.DataFrame) -> Walk:
    binding = systems.operations.model(MODEL)
    first = systems.registry.load(binding.registry_name, "1")
    return Walk("never retraining", recipe.predict(first, recipe.feature_frame(live, binding.features)).scores, 0, 0)


def _monthly(systems: Systems, rows: pd.DataFrame, live: pd.DataFrame, end: datetime) -> Walk:
    """A model a month by the recipe's default parameters, on the twelve months whose labels are known."""
    features = systems.operations.model(MODEL).features
    scores, months, start = np.empty(len(live)), 0, ADOPTED
    while start < end:
        known = between(rows, start - LABEL_LAG - YEAR, start - LABEL_LAG)
        learned = sampling.Rows(
            frame=recipe.feature_frame(known, features),
            outcomes=known["price_up"].to_numpy(np.float64),
            ages=sampling.ages_in_days(known["at"].to_numpy("datetime64[us]"), start),
            stands_for=np.ones(len(known)),
        )
        model = BuiltIn(features, recipe.Hyperparameters()).fit({}, learned, len(known), training.SEED)
        inside = ((live["at"] >= start) & (live["at"] < start + MONTH)).to_numpy()
        scores[inside] = recipe.predict(model, recipe.feature_frame(live[inside], features)).scores
        start, months = start + MONTH, months + 1
    return Walk("every month", scores, months, months)


if __name__ == "__main__":
    main(sys.argv[1:])
