"""Elec2, walked forward month by month: live AUC and trainings of the Guardian, of never and of monthly retraining.

The first 30% of the 944 days train the first champion, which all three share; the rest is lived through in months of
28 days. The Guardian's weeks are those of the example (`evals.elec2`): its real triage with the runbook planner, its
tools and its gate. Its canary needs live requests, which a file of prices does not have, so here a version that passed
its gate takes over in one stage. Monthly retraining fits the same recipe on the same twelve months and takes over
unseen; it keeps no holdout, so it learns from rows 28 days fresher than a challenger that must still be judged.
"""

from __future__ import annotations

import argparse
import importlib.resources
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
import yaml

from evals.elec2.example import ADOPTED, BASELINE, FIRST_ROW, HOLDOUT, LABEL_LAG, MODEL, TABLES, WEEK, read
from evals.scratch import ScratchFolder
from tools.evaluate.metrics import Floats, Scored, auc_roc
from tools.retrain import recipe, sampling, training
from tools.retrain.recipes import BuiltIn
from tools.systems.clock import VirtualClock
from tools.systems.store import Kind
from tools.systems.systems import Systems

if TYPE_CHECKING:
    import pandas as pd

MONTH = 4 * WEEK
YEAR = timedelta(days=365)
IN_ONE_STAGE = {"type": "canary", "stages": [{"traffic_pct": 100, "duration": "stable", "gate": "none"}]}

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
    rows = read(given.data)
    end = rows["at"].iloc[-1].to_pydatetime() if given.months is None else ADOPTED + given.months * MONTH
    with tempfile.TemporaryDirectory(prefix="elec2-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow warns about its own type hints while it is imported
        live, walks = walk_forward(rows, end, Path(folder) / "world", lambda line: print(line, file=sys.stderr))
    print(*table(live, walks), sep="\n")


def walk_forward(rows: pd.DataFrame, end: datetime, home: Path, say: Say) -> tuple[pd.DataFrame, list[Walk]]:
    """The rows lived through, and what each way scored them."""
    live = rows[(rows["at"] >= ADOPTED) & (rows["at"] < end)].reset_index(drop=True)
    ScratchFolder(home, "evals.elec2", TABLES).close()
    _without_live_requests(home / "operations.yaml")
    systems = Systems.open(home / "operations.yaml")
    try:
        guarded = _guarded(systems, rows, live, end, say)
        return live, [_never(systems, live), _monthly(systems, rows, live, end), guarded]
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


def _guarded(systems: Systems, rows: pd.DataFrame, live: pd.DataFrame, end: datetime, say: Say) -> Walk:
    """Week by week: rows come in and are scored, labels follow a day later, the triage looks at the end."""
    from agent.triage import triage
    from tools.check_drift.tool import start_monitor
    from tools.deploy.tool import advance
    from tools.retrain.tool import train_first_champion
    from tools.serving.batch import score_window

    _set(systems, ADOPTED)
    _arrive(systems, rows, FIRST_ROW, ADOPTED)
    _write(systems, "elec2.baseline", _between(rows, ADOPTED - BASELINE, ADOPTED), "all")
    _write(systems, "elec2.holdout", _between(rows, ADOPTED - BASELINE, ADOPTED - LABEL_LAG), "all")
    first = train_first_champion(systems, MODEL, ADOPTED)
    assert first.version is not None
    why = "first champion, adopted by a person"
    systems.traffic.set(MODEL, first.version, at=ADOPTED, why=why, rests_on=first.run_id)
    for monitor in systems.operations.monitors_of(MODEL):
        start_monitor(systems, monitor)
    start = ADOPTED
    while start < end:
        stop = min(start + WEEK, end)
        _arrive(systems, rows, start, stop)
        _write(systems, "elec2.holdout", _between(rows, stop - LABEL_LAG - HOLDOUT, stop - LABEL_LAG), "all")
        _set(systems, stop)
        score_window(systems, MODEL, start, stop)
        (seen,) = triage(systems, planner="runbook").models
        for rollout in advance(systems, stop):
            say(f"{stop:%Y-%m-%d}  version {rollout.version}: {rollout.status}")
        say(f"{stop:%Y-%m-%d}  {seen.severity}: {seen.outcome[:160]}")
        start = stop
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
    return Walk("never retraining", recipe.score(first, recipe.feature_frame(live, binding.features)), 0, 0)


def _monthly(systems: Systems, rows: pd.DataFrame, live: pd.DataFrame, end: datetime) -> Walk:
    """A model a month by the recipe's default parameters, on the twelve months whose labels are known."""
    features = systems.operations.model(MODEL).features
    scores, months, start = np.empty(len(live)), 0, ADOPTED
    while start < end:
        known = _between(rows, start - LABEL_LAG - YEAR, start - LABEL_LAG)
        learned = sampling.Rows(
            frame=recipe.feature_frame(known, features),
            outcomes=known["price_up"].to_numpy(np.float64),
            ages=sampling.ages_in_days(known["at"].to_numpy("datetime64[us]"), start),
            stands_for=np.ones(len(known)),
        )
        model = BuiltIn(features, recipe.Hyperparameters()).fit({}, learned, len(known), training.SEED)
        inside = ((live["at"] >= start) & (live["at"] < start + MONTH)).to_numpy()
        scores[inside] = recipe.score(model, recipe.feature_frame(live[inside], features))
        start, months = start + MONTH, months + 1
    return Walk("every month", scores, months, months)


def _without_live_requests(declarations: Path) -> None:
    """The example's declarations with a takeover in one stage in place of its canary."""
    body = yaml.safe_load((importlib.resources.files("evals.elec2") / "operations.yaml").read_text(encoding="utf-8"))
    body["deployment_strategies"] = dict.fromkeys(body["deployment_strategies"], IN_ONE_STAGE)
    declarations.write_text(yaml.safe_dump(body, sort_keys=False), encoding="utf-8")


def _arrive(systems: Systems, rows: pd.DataFrame, start: datetime, end: datetime) -> None:
    """Rows of [start, end), and their labels, which say themselves since when they are known."""
    part = _between(rows, start, end)
    _write(systems, "elec2.rows", part.drop(columns="price_up"), f"{start:%Y-%m-%d}")
    labels = part[["id", "at", "price_up"]].assign(arrived=part["at"] + LABEL_LAG)
    _write(systems, "elec2.labels", labels, f"{start:%Y-%m-%d}")


def _write(systems: Systems, table_name: str, frame: pd.DataFrame, name: str) -> None:
    import pyarrow as pa

    systems.warehouse.append(table_name, pa.Table.from_pandas(frame, preserve_index=False), name)


def _between(rows: pd.DataFrame, start: datetime, end: datetime) -> pd.DataFrame:
    return rows[(rows["at"] >= start) & (rows["at"] < end)]


def _set(systems: Systems, now: datetime) -> None:
    clock = systems.clock
    assert isinstance(clock, VirtualClock)
    clock.set(now)


if __name__ == "__main__":
    main(sys.argv[1:])
