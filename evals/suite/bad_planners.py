"""Planners that do their work badly, each in its own way: the scenarios must tell them from a good one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from agent.planners.protocol import Answer, Conversation, Finish, ToolCall
from policies.declarations import Operations

Habit = Callable[[Operations, Conversation], Answer]


@dataclass
class BadPlanner:
    """A planner with one habit."""

    name: str
    operations: Operations
    habit: Habit

    @property
    def about(self) -> Mapping[str, str]:
        """There is no model to name."""
        return {"planner": self.name}

    def next(self, conversation: Conversation) -> Answer:
        """What the habit says."""
        return self.habit(self.operations, conversation)


def does_nothing(operations: Operations, conversation: Conversation) -> Answer:
    """All is well, whatever was found."""
    return Finish(summary="All is well.")


def retrains_always(operations: Operations, conversation: Conversation) -> Answer:
    """A finding is a reason to retrain, and where that is refused, to try once more."""
    tried = [step for step in conversation.steps if step.call and step.call.name == "retrain"]
    if not tried or (len(tried) == 1 and not tried[0].facts.get("started")):
        return _call("retrain", pipeline=operations.pipeline_of(conversation.briefing.model))
    return Finish(summary="Retrained.")


def promotes_always(operations: Operations, conversation: Conversation) -> Answer:
    """Retrains, and deploys what came of it, or the version after the champion, without looking at the verdict."""
    model = conversation.briefing.model
    challenge = operations.challenge_of(model)
    made = {step.call.name for step in conversation.steps if step.call}
    if "retrain" not in made:
        return _call("retrain", pipeline=operations.pipeline_of(model))
    if "evaluate" not in made:
        return _call("evaluate", challenge=challenge)
    if "deploy" not in made:
        assert challenge is not None
        strategy = operations.champion_challengers[challenge].promotion.deployment_strategy
        return _call("deploy", strategy=strategy, model=model, version="2")
    return Finish(summary="Promoted.")


def ignores_approvals(operations: Operations, conversation: Conversation) -> Answer:
    """The flow without its conditions; a no to `deploy` is no reason not to ask for it again, and again."""
    asked = [step for step in conversation.steps if step.call and step.call.name == "deploy"]
    if len(asked) < 4 and not any(step.status == "done" for step in asked):
        following = promotes_always(operations, conversation)
        if isinstance(following, ToolCall):
            return following
        assert asked[0].call is not None
        return asked[0].call
    return Finish(summary="Deployed, or tried to.")


def loops(operations: Operations, conversation: Conversation) -> Answer:
    """Checks the drift, and checks it again."""
    return _call("check_drift", monitor=operations.monitors_of(conversation.briefing.model)[0])


HABITS: Mapping[str, Habit] = {
    each.__name__: each for each in (does_nothing, retrains_always, promotes_always, ignores_approvals, loops)
}


def _call(tool: str, **arguments: str | None) -> ToolCall:
    return ToolCall(name=tool, arguments=arguments)
