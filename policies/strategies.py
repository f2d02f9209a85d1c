"""Which rollout strategy suits which model: the table of when to use each, and a refusal of what cannot work.

| strategy | risk | rollback | cost | use it |
|---|---|---|---|---|
| canary | low | fast | low | as the default, where rollback metrics are clear |
| shadow | none | not needed | medium | for high-risk models, whose bad answers cost money at once |
| blue_green | low | instant | high | where two environments can be afforded and a change must not interrupt |
| ab_test | medium | medium | medium | where the business impact decides, not the model's own metrics |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict

from policies.declarations.binding import ModelBinding
from policies.declarations.deployment import ABTest, BlueGreen, Canary, DeploymentStrategy, Shadow
from policies.promotion import Decision
from policies.tasks import COMPARED, DEGRADATION, degradation_problem

POLICY = "strategy_suits_model"


class StrategyFacts(BaseModel):
    """What is known of a model before a rollout: whether any label of it ever arrived."""

    model_config = ConfigDict(frozen=True)

    labelled: bool


def may_use_strategy(name: str, declared: DeploymentStrategy, binding: ModelBinding, facts: StrategyFacts) -> Decision:
    """Whether a strategy can decide anything about this model, and is careful enough for it."""
    reasons = tuple(f"{name}: {each}" for each in _objections(declared, binding, facts))
    return Decision(policy=POLICY, allowed=not reasons, reasons=reasons)


def suitable(strategies: Mapping[str, DeploymentStrategy], binding: ModelBinding, facts: StrategyFacts) -> list[str]:
    """The names of the declared strategies that suit a model, in the order declared."""
    return [name for name, each in strategies.items() if may_use_strategy(name, each, binding, facts).allowed]


def _objections(declared: DeploymentStrategy, binding: ModelBinding, facts: StrategyFacts) -> Iterator[str]:
    if binding.risk == "high" and not isinstance(declared, Shadow):
        yield (
            f"the model is declared risk: high, and {_KIND[type(declared)]} gives people a new version's answers "
            "before it has proven itself; deploy it by a shadow"
        )
    unlabelled = "" if facts.labelled else f"no label of {binding.labels.table} has arrived"
    if isinstance(declared, Canary):
        yield from filter(None, (degradation_problem(name, binding.task) for name in declared.limited))
        yield from _of_canary(declared, unlabelled, binding)
    elif isinstance(declared, Shadow) and unlabelled:
        wins = ", ".join(declared.promotion_criteria.challenger_wins_on)
        yield f"{unlabelled}, and without labels nobody wins on {wins}"
    elif isinstance(declared, ABTest) and declared.success_metric not in binding.outcomes:
        yield (
            f"it decides by {declared.success_metric}, and the model's outcomes do not name its table "
            f"({', '.join(binding.outcomes) or 'none are declared'})"
        )


def _of_canary(declared: Canary, unlabelled: str, binding: ModelBinding) -> Iterator[str]:
    served = binding.prediction_log is not None
    # A model that is scored in batches has no requests by which a stage could be judged.
    if served and not declared.rollback.conditions and not any(stage.measures for stage in declared.stages):
        yield "no stage has a gate and no rollback condition is declared, so that nothing could stop a bad version"
    waiting = [stage for stage in declared.stages if stage.waits_for_labels]
    if unlabelled and waiting:
        first, compared = waiting[0], COMPARED[DEGRADATION[binding.task]]
        yield (
            f"{unlabelled}, and the gate of its stage at {first.traffic_pct:g}% ({first.gate_name}) compares the "
            f"{compared}; use latency_and_errors, or bind the labels"
        )


_KIND = {Canary: "a canary", BlueGreen: "a blue-green switch", ABTest: "an A/B test"}
