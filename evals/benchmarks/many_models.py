"""200 models, 3 of which have findings: time and peak memory of one `guardian triage`, by the runbook.

Each model has tables of its own: a baseline and a week of live rows with 20 features, scores and labels. Checked are
drift of the data, of the scores, of the AUC, and the contract. One model's world has changed, one's source is late, and
one's business number has fallen. All are served by one registered version, loaded to ask what moves its scores.
The triage is a process of its own; its memory is the largest resident size that the operating system saw.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from policies.errors import SystemDown
from tools.systems.clock import VirtualClock
from tools.systems.systems import Systems

NOW = datetime(2026, 2, 2, 2)
WEEK = timedelta(days=7)
FEATURES = [f"f{number:02d}" for number in range(20)]
CHANGED, LATE, FALLEN = 7, 77, 177
GOAL_SECONDS, GOAL_GIB = 300.0, 2.0


def main(arguments: Sequence[str]) -> None:
    """Builds the models, runs one triage over them, and prints what it found, took and used."""
    parser = argparse.ArgumentParser(prog="many_models", description="One triage over many models.")
    parser.add_argument("--models", type=int, default=200, metavar="N", help="at least 178, to hold the three")
    parser.add_argument("--rows", type=int, default=20_000, metavar="N", help="rows of a baseline, and of a live week")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="many-models-") as folder:
        home = Path(folder)
        started = time.monotonic()
        build(home, given.models, given.rows)
        print(f"built in {time.monotonic() - started:.0f} s", file=sys.stderr)
        result, seconds, busy, gib = timed_triage(home)
    found = {part["model"]: part for part in result["models"] if part["findings"]}
    cores = len(os.sched_getaffinity(0))
    print(f"{given.models} models of {given.rows:,} + {given.rows:,} rows and {len(FEATURES)} features, {cores} cores")
    for name, part in found.items():
        print(f"  {name}: {part['severity']}: {', '.join(sorted({each['kind'] for each in part['findings']}))}")
    quiet = sum(part["status"] == "quiet" for part in result["models"])
    print(f"  {quiet} quiet, {result['budget']['tokens']} tokens")
    print(f"{'':<24}{'measured':>10}{'goal':>10}")
    print(f"{'seconds':<24}{seconds:>10.0f}{GOAL_SECONDS:>10.0f}")
    print(f"{'seconds of all cores':<24}{busy:>10.0f}{GOAL_SECONDS * cores:>10.0f}")
    print(f"{'peak memory, GiB':<24}{gib:>10.2f}{GOAL_GIB:>10.2f}")


def timed_triage(home: Path) -> tuple[dict[str, Any], float, float, float]:
    """The result of `guardian triage` in `home`, its seconds by the clock and on the cores, its peak memory in GiB."""
    command = [sys.executable, "-c", "from agent.cli import main; main()", "triage", "--planner", "runbook", "--json"]
    output = home / "result.json"
    started = time.monotonic()
    with output.open("w") as file:
        process = subprocess.Popen(command, cwd=home, stdout=file)  # noqa: S603
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise SystemDown(f"ended with exit code {process.returncode}", where="guardian triage")
    seconds = time.monotonic() - started
    return json.loads(output.read_text()), seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 2**20


def build(home: Path, models: int, rows: int) -> None:
    """The declarations, tables and champion of all models, as of NOW."""
    names = [f"Model{number:03d}" for number in range(models)]
    (home / "operations.yaml").write_text(yaml.safe_dump(declarations(names)))
    (home / "warehouse").mkdir()
    systems = Systems.open(home / "operations.yaml")
    assert isinstance(systems.clock, VirtualClock)
    systems.clock.set(NOW)
    random = np.random.default_rng(20)
    champion = _champion(systems, random)
    for number, name in enumerate(names):
        for table, frame in tables(champion, random, number, rows).items():
            systems.warehouse.append(f"{name}.{table}", pa.Table.from_pandas(frame, preserve_index=False), "rows")
    systems.close()


def declarations(names: Sequence[str]) -> dict[str, Any]:
    """`operations.yaml` with a model, a monitor, a contract and a tracker for each name."""
    columns: dict[str, Any] = {"id": {"type": "integer"}, **{name: {"type": "number"} for name in FEATURES}}
    contract: dict[str, Any] = {
        "columns": {**columns, "loaded_at": {"type": "timestamp"}},
        "freshness": [{"column": "loaded_at", "max_age": "24h"}],
    }
    checks: list[dict[str, Any]] = [
        {"type": "data_drift", "method": "psi", "threshold": 0.2, "frequency": "daily"},
        {"type": "prediction_drift", "method": "kl_divergence", "threshold": 0.1, "frequency": "daily"},
        {"type": "concept_drift", "method": "performance_decay", "metric": "auc_roc", "threshold": 0.05},
        {"type": "schema_drift", "method": "contract_validation", "expected_schema": "Rows", "frequency": "daily"},
    ]
    return {
        "systems": {"clock": "virtual", "people": {"oncall": {"slack": "#oncall"}}},
        "schemas": {"Rows": contract},
        "models": {name: _binding(name) for name in names},
        "drift_monitors": {
            f"{name}Drift": {
                "model": name,
                "baseline": {"dataset": f"{name}.baseline"},
                "monitors": [{"frequency": "daily", "window": "7d", **each} for each in checks],
                "alerts": {"escalation": {"warning": "oncall", "critical": "oncall"}},
            }
            for name in names
        },
        "business_kpi_trackers": {
            f"{name}Kpis": {
                "model": name,
                "kpis": [
                    {
                        "name": "margin",
                        "query": f"SELECT avg(margin) FROM {name}.margins",
                        "target": 1.0,
                        "baseline": 1.0,
                        "frequency": "daily",
                    }
                ],
            }
            for name in names
        },
    }


def tables(champion: Any, random: np.random.Generator, number: int, rows: int) -> dict[str, pd.DataFrame]:
    """A model's tables."""
    baseline = _rows(random, NOW - 2 * WEEK, rows, 0)
    live = _rows(random, NOW - WEEK, rows, rows)
    if number == CHANGED:
        live["f00"] += 1.0
    if number == LATE:
        live["loaded_at"] -= timedelta(hours=48)
    whole = pd.concat([baseline, live])
    scores = champion.predict_proba(whole[FEATURES])[:, 1]
    keys = whole[["id", "at"]]
    outcome = (random.random(len(whole)) < scores).astype(int)
    known = whole["at"] + np.timedelta64(1, "h")
    return {
        "baseline": baseline,
        "live": live,
        "holdout": baseline.head(1).assign(y=0),
        "scores": keys.assign(model_version="1", score=scores),
        "labels": keys.assign(y=outcome, known_at=known),
        "margins": pd.DataFrame({"margin": [0.7 if number == FALLEN else 1.0]}),
    }


def _binding(name: str) -> dict[str, Any]:
    return {
        "registry_name": "scorer",
        "target": "y",
        "id": "id",
        "time": "at",
        "table": f"{name}.live",
        "holdout": f"{name}.holdout",
        "predictions": f"{name}.scores",
        "labels": {"table": f"{name}.labels", "id": "id", "time": "at", "value": "y", "arrived": "known_at"},
        "features": {"numeric": FEATURES},
        "sources": {"feed": {"owner": "oncall", "features": FEATURES, "loaded_at": "loaded_at"}},
    }


def _rows(random: np.random.Generator, start: datetime, rows: int, first: int) -> pd.DataFrame:
    at = pd.Timestamp(start) + pd.to_timedelta(np.arange(rows) * (7 * 86400 / rows), unit="s")
    values = pd.DataFrame(random.normal(size=(rows, len(FEATURES))), columns=FEATURES)
    stamps = at.astype("datetime64[us]")
    return values.assign(id=np.arange(first, first + rows), at=stamps, loaded_at=stamps)


def _champion(systems: Systems, random: np.random.Generator) -> Any:
    """A logistic regression of the first three features, registered as version 1 and champion."""
    from sklearn.linear_model import LogisticRegression

    rows = _rows(random, NOW - 3 * WEEK, 5_000, 0)[FEATURES]
    odds = 1 / (1 + np.exp(-(2 * rows["f00"] + rows["f01"] - rows["f02"])))
    fitted = LogisticRegression().fit(rows, random.random(len(rows)) < odds)
    systems.registry.register("scorer", fitted, example=rows.head(5), params={}, metrics={}, tags={})
    systems.registry.set_alias("scorer", "champion", "1")
    return fitted


if __name__ == "__main__":
    main(sys.argv[1:])
