"""The small shop every scenario starts from: built once, copied for each.

10,000 customers, the declarations of SimShop with a smaller training, a first champion of the day of deployment, MLflow
and the state store as they are then, and the summaries of the baseline that any first check would make. A copy shares
the warehouse's files (hard links: files are replaced, not changed; a table's days of the past are one file, since every
query opens all of a table's files), the folder that MLflow's artifacts go to (its
database names that one; every run has a folder of its own there), and what other scenarios have asked alike.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from evals.simshop import QUIET
from evals.simshop import World as SimShop
from evals.simshop.tables import FEATURES_TABLE, LABELS_TABLE
from evals.suite.faults import FaultyWarehouse
from evals.suite.remembered import Remembered
from evals.suite.scenario import DAY_OF_DEPLOYMENT, Scenario
from tools.evaluate.latency import LatencyComparison, compare_rounds
from tools.systems.clock import VirtualClock
from tools.systems.systems import Systems
from tools.systems.warehouse import Warehouse

SEED = 20
CUSTOMERS = 10_000
MODEL = "ChurnModel"
MONITOR = "ChurnDrift"
DAY = timedelta(days=1)
DECLARATIONS = Path(__file__).resolve().parents[1] / "operations.yaml"
SMALL_TRAINING: Mapping[str, Any] = {
    "retraining_pipelines": {"ChurnRetrain": {"training": {"trials": 2, "max_rows": 40_000}}}
}


def build(home: Path) -> None:
    """Makes the shop in `home`, up to the evening before its first night."""
    from tools.check_drift.tool import start_monitor
    from tools.retrain.tool import train_first_champion

    (home / "warehouse").mkdir(parents=True)
    declare(home, {})
    systems = open_systems(home / "operations.yaml", home)
    try:
        set_time(systems, DAY_OF_DEPLOYMENT)
        SimShop(SEED, CUSTOMERS, QUIET).build_history(systems.warehouse)
        compact(home, DAY_OF_DEPLOYMENT)
        first = train_first_champion(systems, MODEL, DAY_OF_DEPLOYMENT)
        assert first.version is not None
        why = "first champion, adopted by a person"
        systems.traffic.set(MODEL, first.version, at=DAY_OF_DEPLOYMENT, why=why, rests_on=first.run_id)
        start_monitor(systems, MONITOR)
        _summarise_baseline(systems)
    finally:
        systems.close()


def _summarise_baseline(systems: Systems) -> None:
    """Has the champion fetched, and stored what is computed once a baseline and version."""
    from policies.declarations.drift import DriftMonitor
    from tools.check_drift.material import Material

    monitor = systems.operations.named("drift_monitors", MONITOR)
    assert isinstance(monitor, DriftMonitor)
    material = Material(systems, monitor, systems.clock.now(), DAY)
    material.baseline()
    material.baseline_scores()
    material.importances()


def copy(base: Path, home: Path, scenario: Scenario) -> Systems:
    """The scenario's own copy of the shop, opened, with its declarations and its faults in place."""
    shutil.copytree(base / "warehouse", home / "warehouse", copy_function=os.link)
    shutil.copytree(base / ".guardian", home / ".guardian", ignore=shutil.ignore_patterns("mlartifacts"))
    declare(home, scenario.operations)
    if scenario.knowledge is not None:
        (home / "agent.md").write_text(scenario.knowledge, encoding="utf-8")
    systems = open_systems(home / "operations.yaml", base)
    systems.warehouse = FaultyWarehouse(home / "warehouse", scenario.broken)
    return systems


def compact(home: Path, today: datetime) -> None:
    """Makes one file of what came into features and labels since the last time, but for the files of `today`, which
    are written again."""
    for table in (FEATURES_TABLE, LABELS_TABLE):
        folder = home.joinpath("warehouse", *table.split("."))
        kept = (f"{today:%Y-%m-%d}", "past")
        past = [each for each in sorted(folder.glob("*.parquet")) if not each.stem.endswith(kept)]
        rows = pa.concat_tables([pq.read_table(each) for each in past], promote_options="permissive")
        Warehouse(home / "warehouse").append(table, rows, f"{today:%Y-%m-%d}-past")
        for each in past:
            each.unlink()


def even(
    champion: Callable[[Any], object], challenger: Callable[[Any], object], rows: Sequence[Any]
) -> LatencyComparison:
    """A stopwatch by which every call takes 20 ms, on any machine. Both are asked all the same: one may fail."""
    champion(rows[0]), challenger(rows[0])
    taken = np.full((3, 1), 20.0)
    return compare_rounds(taken, taken)


@cache
def shop() -> SimShop:
    """The shop's world on the day of deployment, one a process; stories are told in copies of it."""
    world = SimShop(SEED, CUSTOMERS, QUIET)
    world.resume(DAY_OF_DEPLOYMENT)
    return world


def declare(home: Path, changes: Mapping[str, Any]) -> None:
    """Writes the shop's declarations with `changes` merged in."""
    text = yaml.safe_dump(merged(declared(), changes), sort_keys=False)
    (home / "operations.yaml").write_text(text, encoding="utf-8")


@cache
def declared() -> Mapping[str, Any]:
    """SimShop's declarations with the small training.

    What it checks by the hour is checked by the day: an hour of this shop is 60 rows.
    """
    text = DECLARATIONS.read_text(encoding="utf-8").replace("frequency: hourly", "frequency: daily")
    return merged(yaml.safe_load(text), SMALL_TRAINING)


def merged(whole: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`whole` with the mappings in `changes` merged in (RFC 7386: null removes a key, a list replaces one)."""
    result = dict(whole)
    for key, change in changes.items():
        if change is None:
            result.pop(key, None)
        elif isinstance(change, Mapping):
            inner = result.get(key)
            result[key] = merged(inner if isinstance(inner, Mapping) else {}, change)
        else:
            result[key] = change
    return result


def open_systems(declarations: Path, base: Path) -> Systems:
    """Systems whose latencies are no machine's. What was once trained, or replayed, in a copy of the shop in `base` is
    not done again."""
    systems = Systems.open(declarations)
    systems.stopwatch = even
    systems.workers = 1  # else rows get their ids as models happen to be measured, and a replay asks other bytes
    memory = Remembered(base / "remembered")
    systems.trainer, systems.replayer = memory.trainer, memory.replayer
    return systems


def set_time(systems: Systems, now: datetime) -> None:
    """Moves the virtual time."""
    clock = systems.clock
    assert isinstance(clock, VirtualClock)
    clock.set(now)
