"""Runs SimShop's six weeks with and without the Guardian, a pair a seed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from evals.ablation.result import AblationResult, AblationRun, Money
from evals.pool import pool_of, scratch_folder

if TYPE_CHECKING:
    from tools.systems.systems import Systems

FIRST_SEED = 20
CUSTOMERS = 100_000


def run_ablation(
    runs: int, planner: str, *, customers: int = CUSTOMERS, workers: int | None = None, say: Callable[[str], None]
) -> AblationResult:
    """`runs` seeds from 20 on, each with `planner` on duty and with nobody."""
    started = time.monotonic()
    seeds = range(FIRST_SEED, FIRST_SEED + runs)
    tasks = [(seed, who) for seed in seeds for who in (planner, None)]
    count = min(workers or os.cpu_count() or 1, len(tasks))
    with scratch_folder("guardian-ablation-") as scratch, pool_of(count, scratch) as pool:
        played = [pool.submit(_run, scratch, seed, who, customers) for seed, who in tasks]
        done = []
        for (seed, who), each in zip(tasks, played, strict=True):
            done.append(each.result())
            say(f"seed {seed}, {who or 'nobody'} on duty: {done[-1].demo.seconds:.0f} s")
    return AblationResult(with_agent=done[::2], without_agent=done[1::2], seconds=round(time.monotonic() - started, 1))


def _run(scratch: Path, seed: int, planner: str | None, customers: int) -> AblationRun:
    from evals.demo.run import run_demo
    from evals.demo.shop import MODEL
    from tools.systems.store import Kind
    from tools.systems.systems import Systems

    home = scratch / f"{seed}-{planner or 'nobody'}"
    demo = run_demo(home, seed, planner, lambda line: None, customers=customers)
    systems = Systems.open(home / "operations.yaml")
    try:
        trained = systems.store.latest(Kind.training_run, MODEL) if planner else None
        reports = [row for row in systems.store.chain(trained.id) if row.kind is Kind.drift_report] if trained else []
        return AblationRun(
            demo=demo,
            money=_money(systems),
            root_cause=reports[0].body.get("diagnosis", {}).get("detail") if reports else None,
        )
    finally:
        systems.close()


def _money(systems: Systems) -> Money:
    found = systems.warehouse.query(
        "SELECT count(*) AS contacted, count(*) FILTER (outcome = 'already_churned') AS already_churned, "
        "CAST(sum(retained_arr) AS DOUBLE) AS retained_arr, CAST(sum(intervention_cost) AS DOUBLE) AS cost "
        "FROM retention_campaigns"
    )
    return Money.model_validate(found.to_pylist()[0])
