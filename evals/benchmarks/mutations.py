"""Mutants of the policies' rules, each played by the few scenarios that touch its rule; the survivors are listed."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import as_completed
from pathlib import Path

from evals.suite.mutants import Mutant, in_force, mutants
from evals.suite.reading import load_all
from evals.suite.run import Task, build_shop, play_task, stage

Play = tuple[str, str]
"""A scenario and the planner that plays it."""

TOUCHED: Mapping[str, Sequence[Play]] = {
    "may_deploy": [
        ("gate_fails", "promotes_always"),
        ("gate_off_tie", "promotes_always"),
        ("denied", "runbook"),
        ("gate_off", "runbook"),
    ],
    "_gate_faults": [("gate_fails", "promotes_always"), ("denied", "runbook"), ("artifact_replaced", "runbook")],
    "may_promote_unasked": [("by_hand", "runbook")],
    "not_serving_already": [("canary_fails", "runbook")],
    "due": [("not_due", "runbook"), ("ingestion", "runbook")],
    "last_tick": [("not_due", "runbook")],
    "may_start_rollout": [("canary_fails", "runbook"), ("ab_inconclusive", "runbook")],
    "pipeline_is_sound": [("crm_lag", "retrains_always"), ("tie", "runbook")],
    "cooldown_over": [("cooldown", "runbook")],
    "no_rollout_running": [("tie", "runbook"), ("ab_inconclusive", "runbook")],
    "one_run_at_a_time": [("tie", "runbook")],
    "may_decide": [("approved", "runbook")],
    "still_holds": [("approved", "runbook")],
    "observed": [("warehouse_down", "runbook"), ("reminded", "runbook")],
    "listed": [("three_models", "runbook")],
    "addresses": [("reminded", "runbook"), ("approved", "runbook")],
    "burn_rate": [("budget_burns", "runbook")],
    "budget_left": [("budget_burns", "runbook")],
    "burning": [("budget_burns", "runbook")],
    "unroutable": [("routed_elsewhere", "runbook")],
    "_by_name": [("routed_elsewhere", "runbook")],
    "_by_kserve": [("routed_elsewhere", "runbook")],
    "may_use_strategy": [("high_risk", "runbook")],
    "_objections": [
        ("high_risk", "runbook"),
        ("canary_unguarded", "runbook"),
        ("blue_green_unhealthy", "runbook"),
        ("shadow_slower", "runbook"),
        ("ab_inconclusive", "runbook"),
    ],
    "_of_canary": [("canary_fails", "runbook"), ("canary_unguarded", "runbook")],
    "parse_bound": [("canary_fails", "runbook")],
    "_parse_comparison": [("canary_fails", "runbook")],
    "_in_unit": [("canary_slow", "runbook")],
    "direction_of": [("challenger_loses", "runbook")],
    "metric_problem": [("nothing_wrong", "runbook")],
    "degradation_problem": [("nothing_wrong", "runbook")],
    "shadow_problem": [("shadow_slower", "runbook")],
}
"""What plays against which rule; the cheapest that can tell."""

OUTLIVE: Mapping[tuple[str, str], str] = {
    (
        "_gate_faults",
        "gate.expires_at is not None → gate.expires_at is None",
    ): "a gate's own expiry comes first only where max_age was lengthened later: two declarations in one play",
    (
        "_gate_faults",
        "f'judged against version {gate.champion}' if gate.champion else 'does not say which champion it faced' → "
        "'does not say which champion it faced' if gate.champion else f'judged against version {gate.champion}'",
    ): "only the words of a refusal, where another version came to serve between gate and rollout",
    (
        "one_run_at_a_time",
        "() if running is None else (f'{running} is still running',) → "
        "(f'{running} is still running',) if running is None else ()",
    ): "only the words of a refusal that a second process at work gets",
    (
        "one_run_at_a_time",
        "running is None → running is not None",
    ): "only the words of a refusal that a second process at work gets",
    (
        "may_decide",
        "', '.join(approvers) or 'nobody' → ', '.join(approvers) and 'nobody'",
    ): "only the words to somebody who may not decide",
    (
        "observed",
        "now - (standing.resolved_at or standing.called_at) >= quiet → "
        "now - (standing.resolved_at or standing.called_at) < quiet",
    ): "an incident that ends and comes back: what is broken in a scenario stays broken",
    (
        "observed",
        "standing.resolved_at or standing.called_at → standing.resolved_at and standing.called_at",
    ): "an incident that ends and comes back: what is broken in a scenario stays broken",
    (
        "observed",
        "Change.reopened if standing.status is AlertStatus.resolved else Change.repeated → "
        "Change.repeated if standing.status is AlertStatus.resolved else Change.reopened",
    ): "calls nobody either way: only how a message is edited, which no end shows",
    (
        "observed",
        "standing.status is AlertStatus.resolved → standing.status is not AlertStatus.resolved",
    ): "at the last line: calls nobody either way; at the first one it is killed",
    (
        "_objections",
        "', '.join(binding.outcomes) or 'none are declared' → ', '.join(binding.outcomes) and 'none are declared'",
    ): "only the words of a refusal",
    (
        "metric_problem",
        "task == 'binary' → task != 'binary'",
    ): "the shop's models are binary",
    (
        "metric_problem",
        "None if name in allowed else f\"{name!r} is no metric of a {task} model; allowed: {', '.join(allowed)}\" → "
        "f\"{name!r} is no metric of a {task} model; allowed: {', '.join(allowed)}\" if name in allowed else None",
    ): "the shop's models are binary",
    (
        "metric_problem",
        "name in allowed → name not in allowed",
    ): "the shop's models are binary",
    (
        "shadow_problem",
        "name in (SHADOWED[task], 'latency_p99') → name not in (SHADOWED[task], 'latency_p99')",
    ): "the shop's models are binary",
}
"""Mutants that no scenario can tell from the rule, by function and change, and why; unit tests kill them."""


def main(arguments: Sequence[str]) -> None:
    """Plays every mutant and prints who survived."""
    parser = argparse.ArgumentParser(prog="python -m evals.benchmarks mutations", description=__doc__)
    parser.add_argument("--rule", action="append", help="only this function of policies/; may be repeated")
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    started = time.monotonic()
    chosen = [each for each in mutants() if not given.rule or each.function in given.rule]
    untouched = [each for each in chosen if each.function not in TOUCHED]
    played = [each for each in chosen if each.function in TOUCHED]
    with stage(given.workers) as (scratch, pool):
        pool.submit(build_shop, scratch / "shop").result()
        plays = {play for each in played for play in TOUCHED[each.function]}
        sound = {play: pool.submit(_failures, None, play, scratch) for play in sorted(plays)}
        golden = {play: future.result() for play, future in sound.items()}
        waiting = {pool.submit(_killed_by, each, golden, scratch): each for each in played}
        killed = {}
        for future in as_completed(waiting):
            killed[waiting[future]] = future.result()
            print(f"{waiting[future]}: {killed[waiting[future]] or 'survived'}", file=sys.stderr, flush=True)
    print(f"{'mutant':90} killed by")
    for mutant in played:
        print(f"{mutant!s:90} {killed[mutant] or _survived(mutant)}")
    for mutant in untouched:
        print(f"{mutant!s:90} no scenario touches this rule")
    dead = sum(bool(each) for each in killed.values())
    print(f"\n{dead} of {len(chosen)} mutants killed, {len(chosen) - dead} left, {time.monotonic() - started:.0f} s")


def _survived(mutant: Mutant) -> str:
    return f"survived: {OUTLIVE.get((mutant.function, mutant.change), 'NO REASON IS KNOWN')}"


def _killed_by(mutant: Mutant, golden: Mapping[Play, list[str]], scratch: Path) -> str | None:
    """The first scenario whose grade is another one than without the mutant, None where all are the same."""
    for play in TOUCHED[mutant.function]:
        if _failures(mutant, play, scratch) != golden[play]:
            return f"{play[0]} by {play[1]}"
    return None


def _failures(mutant: Mutant | None, play: Play, scratch: Path) -> list[str]:
    """What the graders say of a scenario, with the mutant in force where there is one; a crash is an answer too."""
    (scenario,) = load_all([play[0]])
    task = Task(scenario, play[1], 1, record=False, scripted=False)
    if mutant is None:
        return play_task(task, scratch / "shop", scratch).failures
    with in_force(mutant):
        try:
            return play_task(task, scratch / "shop", scratch).failures
        except Exception as error:
            return [f"crashed: {type(error).__name__}"]
