"""The demo from the first day to the report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.status import model_status
from evals.demo.result import DemoResult, Flagged, Outcome, Spend, WeekAuc
from evals.demo.shop import DAY, DEPLOYED, LOOKED_AT, MODEL, STORY_ENDS, Say, Shop
from policies.errors import InputError
from tools.systems.store import Evidence, Kind
from tools.systems.systems import Systems

if TYPE_CHECKING:
    import pandas as pd

    from tools.evaluate.metrics import Floats

SEEDS = 2**32


def run_demo(directory: Path, seed: int, planner: str | None, say: Say, *, customers: int = 100_000) -> DemoResult:
    """Six weeks of SimShop with its story; `planner` None: with nobody watching. Writes `directory`/report.html.

    Raises InputError for a seed out of reach, before the folder is touched.
    """
    from evals.demo.report import write_demo_report

    if not 0 <= seed < SEEDS:
        raise InputError(f"{seed} is no seed; write a whole number from 0 to {SEEDS - 1}", where="--seed")
    started = time.monotonic()
    shop = Shop(directory, seed, planner, say=say, customers=customers)
    try:
        shop.open()
        shop.live(STORY_ENDS)
        say("reading the weeks' labels …")
        outcome = _outcome(shop)
        report = directory / "report.html"
        result = DemoResult(
            seed=seed,
            planner=planner or "none",
            with_agent=planner is not None,
            outcome=outcome,
            budget=_spend(shop),
            seconds=time.monotonic() - started,
            report=str(report),
        )
        write_demo_report(shop, result, report)
        return result
    finally:
        shop.close()


def _outcome(shop: Shop) -> Outcome:
    systems = shop.systems
    state = model_status(systems, MODEL)
    evaluation, gate, rollout = _decisive(systems)
    campaign = shop.campaigns[LOOKED_AT]
    first = systems.registry.get(systems.operations.model(MODEL).registry_name, "1")
    return Outcome(
        drift_detected=any(row.body.get("drift_detected") for row in systems.store.list(Kind.drift_report, MODEL)),
        retrained=any(r.body.get("pipeline") and r.version for r in systems.store.list(Kind.training_run, MODEL)),
        verdict=evaluation.body["verdict"] if evaluation else None,
        gate=gate.status if gate else None,
        rollout_status=rollout.status if rollout else None,
        stages=_stages(systems, rollout),
        serving_version=state.serving_version,
        deploy_strategy=state.deploy_strategy,
        deploy_health=state.deploy_health,
        drift_detection=state.drift_detection,
        model_auc=first.metrics["holdout_auc_roc"],
        live_auc=_weekly_auc(shop),
        flagged=Flagged(
            customers=campaign.contacted,
            already_churned=campaign.already_churned,
            never_leaving=campaign.never_leaving,
        ),
        kpis=state.kpis,
    )


def _decisive(systems: Systems) -> tuple[Evidence | None, Evidence | None, Evidence | None]:
    """The evaluation, gate and rollout that decided: those the newest rollout rests on, else the newest."""
    rollout = systems.store.latest(Kind.rollout, MODEL)
    if rollout is None:
        return systems.store.latest(Kind.evaluation, MODEL), systems.store.latest(Kind.gate, MODEL), None
    chain = {row.kind: row for row in systems.store.chain(rollout.id)}
    return chain.get(Kind.evaluation), chain.get(Kind.gate), rollout


def _stages(systems: Systems, rollout: Evidence | None) -> list[float]:
    """The challenger's shares of the traffic, in the order in which they were in force."""
    if rollout is None:
        return []
    changes = [row for row in systems.store.list(Kind.traffic_change, MODEL) if row.rests_on == rollout.id]
    shares = [100.0 if row.body["challenger"] is None else row.body["challenger_pct"] for row in reversed(changes)]
    return list(dict.fromkeys(shares))


def _weekly_auc(shop: Shop) -> list[WeekAuc]:
    from tools.evaluate.metrics import Scored, auc_roc

    systems, binding = shop.systems, shop.systems.operations.model(MODEL)
    scored = shop.predictions()
    first = systems.registry.load(binding.registry_name, "1")
    weeks = []
    start = DEPLOYED
    while start < STORY_ENDS:
        rows = scored[(scored[binding.time] >= start) & (scored[binding.time] < start + 7 * DAY)]
        if len(rows):
            target = rows[binding.target].to_numpy(dtype=float)
            live = auc_roc(Scored(target, rows["score"].to_numpy(dtype=float)))
            alone = auc_roc(Scored(target, _left_alone(shop, rows, first)))
            weeks.append(WeekAuc(week=start.date(), auc=live, without=alone, rows=len(rows)))
        start += 7 * DAY
    return weeks


def _left_alone(shop: Shop, rows: pd.DataFrame, first: Any) -> Floats:
    """The scores that the first version gave these rows, or would have given where a later one served."""
    from tools.systems import datasets

    binding = shop.systems.operations.model(MODEL)
    scores = rows["score"].to_numpy(dtype=float).copy()
    later = (rows["model_version"] != "1").to_numpy()
    if later.any():
        keys, start = [binding.id, binding.time], rows[binding.time].min().to_pydatetime()
        features = datasets.labelled(shop.systems, MODEL, start, start + 7 * DAY, shop.now)
        served = rows.loc[later, keys].merge(features, on=keys, how="left", validate="one_to_one")
        scores[later] = first.predict_proba(served[binding.features.names])[:, 1]
    return scores


def _spend(shop: Shop) -> Spend:
    budgets: list[Any] = [night.budget for night in shop.nights]
    return Spend(
        cost_usd=sum(each.cost_usd for each in budgets),
        tokens=sum(each.tokens for each in budgets),
        llm_calls=sum(each.llm_calls for each in budgets),
    )
