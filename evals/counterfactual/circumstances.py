"""What kept a night from retraining and is no threshold, cooldown or gate: a rollout that ran, nothing new to learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agent.runs import RunRecord
from tools.systems.store import Evidence

RULES = ("nothing_to_learn_yet", "no_retraining_during_rollout", "one_retraining_at_a_time")
"""Rules about the state of the world that night, by the names that a refused retraining gives them."""


def held_back(row: Evidence) -> dict[str, tuple[str, str]]:
    """By drift report of a stored run: the rule that held its night's retraining back, and its words."""
    run = RunRecord.model_validate(row.body)
    return {
        str(report["report_id"]): held
        for model, facts in run.measured.items()
        if (held := _held(run, model)) is not None
        for report in facts.get("drift", ())
        if "report_id" in report
    }


def _held(run: RunRecord, model: str) -> tuple[str, str] | None:
    done = run.done.get(model, {})
    if done.get("status") == "waiting":
        return "waiting", str(done.get("outcome", ""))
    asked = list(_retrainings(run, model))
    if not asked or any(facts.get("started") for facts in asked):
        return None
    why = str(asked[-1].get("skipped_because") or "")
    rule = str(asked[-1].get("policy") or why.partition(":")[0])
    return (rule, why.removeprefix(f"{rule}: ")) if rule in RULES else None


def _retrainings(run: RunRecord, model: str) -> Iterator[Mapping[str, Any]]:
    """The facts of every retraining that was asked for and answered."""
    for conversation in run.conversations.values():
        for step in conversation["steps"] if conversation["model"] == model else ():
            if step["status"] == "done" and step["call"] and step["call"]["name"] == "retrain":
                yield step["facts"]
