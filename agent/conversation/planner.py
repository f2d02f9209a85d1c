"""The planner of conversations without a language model: a wish becomes its tool calls, an answer comes from rows."""

from __future__ import annotations

from collections.abc import Mapping

from agent.conversation.intents import WISHES, Intent, Question, understood
from agent.conversation.lookups import look_up
from agent.planners.protocol import Answer, Conversation, Finish, ToolCall
from agent.rendering import headline
from policies.errors import InputError
from tools.systems.systems import Systems
from tools.systems.tool import Tool

_MAY_NOT = (
    "You may ask and measure here; to change something your name and Slack id must be declared under systems.people."
)


class EvidencePlanner:
    """Answers one question; `toolbox` is what who asks may use."""

    name = "runbook"

    def __init__(self, systems: Systems, toolbox: Mapping[str, Tool]) -> None:
        self._systems = systems
        self._toolbox = toolbox

    @property
    def about(self) -> Mapping[str, str]:
        """There is no model to name."""
        return {"planner": self.name}

    def next(self, conversation: Conversation) -> Answer:
        """The next call of a wish, or the answer."""
        model, text = conversation.briefing.model, str(conversation.briefing.facts.get("question", ""))
        question = understood(text, list(self._systems.operations.models))
        if question.intent not in WISHES:
            return Finish(summary=look_up(self._systems, question))
        try:
            wanted = calls(self._systems, question, model)
        except InputError as error:
            return Finish(summary=error.message)
        made = [step for step in conversation.steps if step.status != "invalid"]
        said = [f"{step.call.name}: {headline(step.facts)}" for step in made if step.call and step.status == "done"]
        if made and made[-1].status != "done":
            return Finish(summary="\n".join([*said, f"Not done: {made[-1].text}"]))
        if len(made) == len(wanted):
            return Finish(summary="\n".join(said) or f"Nothing is declared for {model} to {question.intent}.")
        following = wanted[len(made)]
        return following if following.name in self._toolbox else Finish(summary=_MAY_NOT)


def calls(systems: Systems, question: Question, model: str) -> list[ToolCall]:
    """The tool calls of a wish about `model`. Raises InputError where something is missing to make them."""
    operations = systems.operations
    challenge, pipeline = operations.challenge_of(model), operations.pipeline_of(model)
    if question.intent is Intent.check:
        monitors = [_call("check_drift", monitor=name) for name in operations.monitors_of(model)]
        return monitors + [_call("track_kpis", tracker=name) for name in operations.trackers_of(model)]
    if question.intent is Intent.retrain:
        if pipeline is None:
            raise InputError(f"{model} has no retraining pipeline.")
        return [_call("retrain", pipeline=pipeline)]
    if challenge is None:
        raise InputError(f"{model} has no champion_challenger declared.")
    if question.intent is Intent.evaluate:
        return [_call("evaluate", challenge=challenge)]
    if question.version is None:
        raise InputError(f"Which version? Say: deploy {model} version 3.")
    strategy = operations.champion_challengers[challenge].promotion.deployment_strategy
    return [_call("deploy", strategy=strategy, model=model, version=question.version)]


def _call(name: str, **arguments: str) -> ToolCall:
    return ToolCall(name=name, arguments=dict(arguments))
