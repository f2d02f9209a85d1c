"""The nightly run: measures everything first, wakes the planner only for a finding. A quiet night costs no tokens."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from agent.account import outcome_of
from agent.actions import carry_out
from agent.briefing import brief
from agent.budget import spent_by_run
from agent.findings import Finding, findings_of, in_words
from agent.graph import Ending, Loop, Progress
from agent.planners.choice import choose
from agent.planners.protocol import Briefing, Planner
from agent.rendering import headline
from agent.runs import Run, RunBusy, RunRecord, claimed, interrupted
from agent.triage_result import Action, ModelTriage, TriageResult
from agent.untrusted import clean
from policies.declarations import Severity, worst
from policies.declarations.base import show_duration
from policies.errors import GuardianError
from tools.deploy.permission import unfinished
from tools.systems.systems import Systems
from tools.systems.tool import Tool

__all__ = ["Action", "Finding", "ModelTriage", "TriageResult", "triage"]

_log = logging.getLogger(__name__)

RESUMABLE = timedelta(hours=24)
"""An interrupted run is continued within this time, and given up after it."""


def triage(
    systems: Systems,
    model: str | None = None,
    planner: str | None = None,
    at: datetime | None = None,
    progress: Progress = lambda line: None,
    toolbox: Mapping[str, Tool] | None = None,
    advance: Callable[[Systems, datetime], object] | None = None,
) -> TriageResult:
    """Checks every model (or one), and lets the planner act on what was found.

    An interrupted run over the same models is continued instead of a new one. Raises InputError for an undeclared model
    or a planner that cannot work; what goes wrong with one model is a finding of that model.
    """
    if model is not None:
        systems.operations.model(model)
    tools = _default_toolbox() if toolbox is None else toolbox
    chosen = choose(systems, tools, planner)
    models = [model] if model is not None else list(systems.operations.models)
    for run_id in interrupted(systems):
        if (result := _continue(systems, run_id, models, chosen, tools, advance, progress)) is not None:
            return result
    record = RunRecord(planner=chosen.name, about=dict(chosen.about), because="nightly triage", models=models, at=at)
    run = Run.begin(systems, record)
    with claimed(systems, run.id):
        return _Triage(systems, run, chosen, tools, advance, progress).work()


def _continue(
    systems: Systems,
    run_id: str,
    models: list[str],
    planner: Planner,
    toolbox: Mapping[str, Tool],
    advance: Callable[[Systems, datetime], object] | None,
    progress: Progress,
) -> TriageResult | None:
    """Finishes an interrupted run over the same models; gives up one that is too old; leaves others alone."""
    try:
        with claimed(systems, run_id):
            run = Run.open(systems, run_id)
            row = systems.store.get(run_id)
            if row.status != "running":
                return None
            if systems.clock.now() - row.created_at > RESUMABLE:
                run.end("abandoned", f"interrupted, and not continued within {show_duration(RESUMABLE)}")
                return None
            if run.record.models != models:
                return None
            progress(f"continuing {run_id}, which was interrupted")
            return _Triage(systems, run, planner, toolbox, advance, progress).work()
    except RunBusy:
        return None


class _Triage:
    """One run at work."""

    def __init__(
        self,
        systems: Systems,
        run: Run,
        planner: Planner,
        toolbox: Mapping[str, Tool],
        advance: Callable[[Systems, datetime], object] | None,
        progress: Progress,
    ) -> None:
        self._systems = systems
        self._run = run
        self._planner = planner
        self._toolbox = toolbox
        self._advance = advance
        self._progress = progress
        self._loop = Loop(systems, toolbox, planner, fixed={"at": run.record.at}, progress=progress, saved=run.saved)

    def work(self) -> TriageResult:
        """All models, then the report. An interruption leaves the run to be continued."""
        advanced = self._advance_rollouts()
        for model in self._run.record.models:
            if model not in self._run.record.done:
                part = self._guarded(model, advanced.get(model, []))
                self._run.done(model, part.model_dump(mode="json"))
        parts = [ModelTriage.model_validate(each) for each in self._run.record.done.values()]
        result = TriageResult(
            run_id=self._run.id,
            planner=self._planner.name,
            status=_status([part.status for part in parts]),
            models=parts,
            budget=spent_by_run(self._systems.store, self._run.id),
            report=self._report(parts),
        )
        outcome = "; ".join(f"{part.model}: {clean(part.outcome)}" for part in parts)
        self._run.end(result.status, outcome, result.model_dump(mode="json"))
        for part in parts:
            self._loop.forget(self._thread(part.model))
        return result

    def _thread(self, model: str) -> str:
        return f"{self._run.id}/{model}"

    def _begun(self, model: str) -> bool:
        """Whether a conversation about `model` is under way: it goes on, whatever it did start meanwhile."""
        return self._thread(model) in self._run.record.conversations

    def _advance_rollouts(self) -> dict[str, list[Action]]:
        """Running rollouts take their step first: no model is needed for it."""
        waiting = [model for model in self._run.record.models if not self._begun(model)]
        before = {model: unfinished(self._systems, model) for model in waiting}
        if not any(before.values()):
            return {}
        try:
            (self._advance or _default_advance)(self._systems, self._systems.clock.now())
        except Exception as error:
            self._progress(f"rollouts could not be advanced: {clean(error)}")
            outcome = f"failed: {clean(error)}"
            return {m: [Action(tool="advance", arguments={}, outcome=outcome)] for m, row in before.items() if row}
        actions = {}
        for model, row in before.items():
            if row is not None:
                now = self._systems.store.get(row.id)
                actions[model] = [
                    Action(
                        tool="advance",
                        arguments={"rollout": row.id},
                        outcome=headline({**now.body, "status": now.status}),
                    )
                ]
        return actions

    def _guarded(self, model: str, actions: list[Action]) -> ModelTriage:
        try:
            return self._examine(model, actions)
        except Exception as error:
            _log.exception("triage of %s failed", model)
            detail = clean(error if isinstance(error, GuardianError) else repr(error), 400)
            self._progress(f"{model}: failed: {detail}")
            finding = Finding(kind="failure", subject=model, severity=Severity.critical, detail=detail)
            return ModelTriage(
                model=model,
                severity=finding.severity,
                findings=[finding],
                actions=actions,
                status="failed",
                outcome=f"failed: {detail}",
                account=f"{model}: failed: {detail}",
            )

    def _examine(self, model: str, advanced: list[Action]) -> ModelTriage:
        measured = self._measure(model)
        findings = list(findings_of(self._systems, measured))
        severity = worst([each.severity for each in findings])
        rollout = unfinished(self._systems, model)
        awake = any(each.kind != "failure" and each.severity.rank >= Severity.warning.rank for each in findings)
        part = ModelTriage(
            model=model,
            severity=severity,
            findings=findings,
            actions=advanced,
            status="quiet",
            outcome="quiet" if not findings else f"{len(findings)} findings, none to act on",
            account=f"{model}: {in_words(findings) or 'all is well'}",
        )
        if awake and rollout is not None and not self._begun(model):
            said = f"{rollout.id} is running; nothing else is started until it ends"
            return part.model_copy(update={"status": "waiting", "outcome": said, "account": f"{part.account}; {said}"})
        if not awake:
            if findings:
                self._tell(model, severity, part.account)
            return part

        def briefing() -> Briefing:
            because = f"nightly triage found {in_words(findings)}"
            return brief(self._systems, model, because=because, **measured)

        ending = self._loop.run(self._run.id, self._thread(model), briefing)
        self._tell(model, severity, ending.account)
        return part.model_copy(
            update={
                "actions": [*advanced, *_actions(ending)],
                "status": ending.status,
                "outcome": ending.summary,
                "account": ending.account,
            }
        )

    def _measure(self, model: str) -> dict[str, list[Any]]:
        """Every monitor and tracker of a model, once a run: compact facts, and what could not be measured."""
        if model in self._run.record.measured:
            return self._run.record.measured[model]
        operations = self._systems.operations
        measured: dict[str, list[Any]] = {"drift": [], "kpis": [], "failures": []}
        asked = [("drift", "check_drift", {"monitor": name}) for name in operations.monitors_of(model)]
        asked += [("kpis", "track_kpis", {"tracker": name}) for name in operations.trackers_of(model)]
        for kind, name, given in asked:
            tool = self._toolbox[name]
            subject = next(iter(given.values()))
            arguments = tool.arguments.model_validate({**given, "at": self._run.record.at})
            key = f"{self._thread(model)}/{name}/{subject}"
            outcome = carry_out(
                self._systems,
                tool,
                arguments,
                model=model,
                key=key,
                run_id=self._run.id,
                actor=f"{self._run.id} triage",
            )
            if outcome.status == "done":
                measured[kind].append(outcome.facts)
                self._progress(f"{model}: {name} {subject}: {headline(outcome.facts)}")
            else:
                measured["failures"].append(f"{subject}: {outcome.text}")
                self._progress(f"{model}: {outcome.text}")
        self._run.measured(model, measured)
        return measured

    def _tell(self, model: str, severity: Severity, text: str) -> None:
        """The account goes to those whom the model's monitors name for this severity."""
        operations = self._systems.operations
        escalations = [operations.drift_monitors[m].alerts.escalation for m in operations.monitors_of(model)]
        people = {e["critical" if severity is Severity.critical else "warning"] for e in escalations if e}
        for person in sorted(people):
            try:
                self._systems.notifications.notify(person, severity, text)
            except GuardianError as error:
                self._progress(f"{person} could not be told: {clean(error)}")

    def _report(self, parts: list[ModelTriage]) -> str:
        spent = spent_by_run(self._systems.store, self._run.id)
        cost = f"${spent.cost_usd:.4f}, {spent.tokens} tokens, {spent.llm_calls} model calls"
        head = f"{self._run.id}: triage of {', '.join(part.model for part in parts)}, planner {self._planner.name}"
        off = [
            f"{part.model}: THE QUALITY GATE IS SWITCHED OFF by {switch}"
            for part in parts
            for switch in self._systems.operations.gate_off_by(part.model)
        ]
        return "\n".join([head, *off, *(part.account for part in parts), f"Spent: {cost}."])


def _actions(ending: Ending) -> list[Action]:
    return [Action(tool=s.call.name, arguments=s.call.arguments, outcome=outcome_of(s)) for s in ending.steps if s.call]


def _status(statuses: list[str]) -> str:
    for status in ("failed", "budget_exhausted", "stopped"):
        if status in statuses:
            return status
    return "finished"


def _default_toolbox() -> dict[str, Tool]:
    from tools.toolbox import toolbox

    return toolbox()


def _default_advance(systems: Systems, now: datetime) -> object:
    from tools.deploy.tool import advance

    return advance(systems, now)
