"""The planner without a language model: the flow check → retrain → evaluate → gate → deploy → KPIs as fixed rules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agent.planners.protocol import Answer, Conversation, Finish, Step, ToolCall
from agent.rendering import headline
from agent.report.reasons import refusal, sentence
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
        if broken := [report for report in reports if is_broken(report)]:
            return Finish(summary=_broken(conversation.briefing.model, broken))
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
            why = refusal(str(retrained.facts.get("skipped_because", "it did not start")))
            return Finish(summary=sentence(f"No retraining: {why}"))
        if (evaluated := conversation.last("evaluate")) is None:
            return ToolCall(name="evaluate", arguments={"challenge": challenge})
        return self._on_verdict(conversation, challenge, str(retrained.facts.get("version")), evaluated.facts)

    def _on_verdict(
        self, conversation: Conversation, challenge: str, version: str, evaluated: Mapping[str, Any]
    ) -> Answer | None:
        gate = evaluated.get("gate", {})
        if evaluated.get("verdict") != "challenger_wins":
            return Finish(summary=f"The champion stays: {headline(evaluated)}.")
        if gate.get("status") != "passed" and not self._operations.gate_off_by(conversation.briefing.model):
            found = evaluated.get("investigation", {})
            told = ". ".join(map(str, found.get("findings", ()))) or "investigate the gate"
            opened = f"{found.get('investigation_id', '')}: {told}".removeprefix(": ")
            return Finish(summary=f"Version {version} is not promoted: {headline(evaluated)}. {opened}.")
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

    def _summary(self, conversation: Conversation) -> str:
        done = [f"{s.call.name}: {headline(s.facts)}" for s in conversation.steps if s.call and s.status == "done"]
        return ". ".join(done) + "." if done else "Nothing to do."


def is_broken(report: Mapping[str, Any]) -> bool:
    """Whether a drift report's facts say that the data is broken: a broken contract, or no sound data differ."""
    contract = report.get("checks_by_type", {}).get("schema_drift")
    return bool(contract == "critical" or report.get("diagnosis", {}).get("kind") == "pipeline")


def _broken(model: str, reports: list[Mapping[str, Any]]) -> str:
    told = []
    for report in reports:
        for source in report.get("diagnosis", {}).get("sources", ()):
            if signs := source.get("signs"):
                told.append(f"{source.get('source')} (owner: {source.get('owner')}): {'; '.join(map(str, signs))}")
        if not told:
            told += [f"{c.get('subject')}: {c.get('detail')}" for c in report.get("checks", ()) if c.get("detail")]
    return f"The data of {model} is broken; no retraining until its source is mended. " + ". ".join(told[:4])


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
