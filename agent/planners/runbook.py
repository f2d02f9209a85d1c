"""The planner without a language model: the flow check → retrain → evaluate → gate → deploy → KPIs as fixed rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agent.planners.protocol import Answer, Conversation, Finish, Step, ToolCall
from agent.rendering import headline
from policies.declarations import Operations


class RunbookPlanner:
    """Follows the rules in order and stops at the first step that ends badly, with its reason."""

    name = "runbook"

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @property
    def about(self) -> Mapping[str, str]:
        """There is no model to name."""
        return {"planner": self.name}

    def next(self, conversation: Conversation) -> Answer:
        """The next call of the flow, or the end."""
        made = [step for step in conversation.steps if step.status != "invalid"]
        if made and made[-1].status != "done":
            return Finish(summary=_stopped(made[-1]))
        unchecked = [m for m in self._monitors(conversation) if m not in dict(_reports(conversation))]
        if unchecked:
            return ToolCall(name="check_drift", arguments={"monitor": unchecked[0]})
        for rule in (self._on_drift, self._on_kpis):
            if (answer := rule(conversation)) is not None:
                return answer
        return Finish(summary=self._summary(conversation))

    def _monitors(self, conversation: Conversation) -> list[str]:
        return self._operations.monitors_of(conversation.briefing.model)

    def _on_drift(self, conversation: Conversation) -> Answer | None:
        reports = [facts for _, facts in _reports(conversation)]
        broken = [each for report in reports for each in broken_pipeline(report)]
        if broken:
            return Finish(summary=self._broken(conversation.briefing.model, broken))
        if not any(report.get("drift_detected") for report in reports):
            return None
        model = conversation.briefing.model
        pipeline, challenge = self._operations.pipeline_of(model), self._operations.challenge_of(model)
        if pipeline is None or challenge is None:
            return Finish(
                summary=f"{model} drifts, but no retraining pipeline and champion_challenger are declared for it."
            )
        if (retrained := conversation.last("retrain")) is None:
            return ToolCall(name="retrain", arguments={"pipeline": pipeline})
        if not retrained.facts.get("started"):
            return Finish(summary=f"No retraining: {retrained.facts.get('skipped_because', 'it did not start')}.")
        if (evaluated := conversation.last("evaluate")) is None:
            return ToolCall(name="evaluate", arguments={"challenge": challenge})
        return self._on_verdict(conversation, challenge, str(retrained.facts.get("version")), evaluated.facts)

    def _on_verdict(
        self, conversation: Conversation, challenge: str, version: str, evaluated: Mapping[str, Any]
    ) -> Answer | None:
        gate = evaluated.get("gate", {})
        if evaluated.get("verdict") != "challenger_wins":
            return Finish(summary=f"The champion stays: {headline(evaluated)}.")
        if gate.get("status") != "passed":
            return Finish(summary=f"Version {version} is not promoted: {headline(evaluated)}; investigate the gate.")
        if conversation.last("deploy") is None:
            strategy = self._operations.champion_challengers[challenge].promotion.deployment_strategy
            judged = evaluated.get("challenger", {}).get("version", version)
            model = conversation.briefing.model
            return ToolCall(name="deploy", arguments={"strategy": strategy, "model": model, "version": str(judged)})
        return None

    def _on_kpis(self, conversation: Conversation) -> Answer | None:
        changed = conversation.last("deploy") is not None
        known = () if changed else conversation.briefing.facts.get("kpis", ())
        read = {str(facts.get("tracker")) for facts in known}
        for step in conversation.steps:
            if step.call and step.call.name == "track_kpis" and step.status == "done":
                read.add(str(step.call.arguments.get("tracker")))
        for tracker in self._operations.trackers_of(conversation.briefing.model):
            if tracker not in read:
                return ToolCall(name="track_kpis", arguments={"tracker": tracker})
        return None

    def _broken(self, model: str, broken: list[Mapping[str, Any]]) -> str:
        told = []
        for each in broken:
            subject = str(each.get("subject"))
            owner = self._owner(model, subject)
            told.append(
                f"{subject}: {each.get('detail', 'breaks its contract')}" + (f" (owner: {owner})" if owner else "")
            )
        return f"The data of {model} is broken, the world may not have changed; no retraining. " + "; ".join(told)

    def _owner(self, model: str, subject: str) -> str | None:
        sources = self._operations.models[model].sources.values()
        return next((s.owner for s in sources if subject == s.loaded_at or subject in s.features), None)

    def _summary(self, conversation: Conversation) -> str:
        done = [f"{s.call.name}: {headline(s.facts)}" for s in conversation.steps if s.call and s.status == "done"]
        return ". ".join(done) + "." if done else "Nothing to do."


def broken_pipeline(report: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The critical schema findings among a drift report's compact facts."""
    found = [
        each
        for each in report.get("checks", ())
        if each.get("type") == "schema_drift" and each["severity"] == "critical"
    ]
    if not found and report.get("checks_by_type", {}).get("schema_drift") == "critical":
        return [{"subject": "schema", "severity": "critical"}]
    return found


def _reports(conversation: Conversation) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The newest drift report of each monitor, the run's own before the briefing's."""
    newest: dict[str, Mapping[str, Any]] = {}
    for facts in conversation.briefing.facts.get("drift", ()):
        newest[str(facts.get("monitor"))] = facts
    for step in conversation.steps:
        if step.call and step.call.name == "check_drift" and step.status == "done":
            newest[str(step.call.arguments.get("monitor"))] = step.facts
    yield from newest.items()


def _stopped(step: Step) -> str:
    return f"Stopped at {step.call.name if step.call else 'an answer'}: {step.text}"
