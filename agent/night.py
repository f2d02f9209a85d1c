"""One night's work on a run: measure, wake the planner for a finding, tell people, report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime

from agent.account import outcome_of
from agent.alerts import Known, tell
from agent.approvals import open_of, read
from agent.briefing import brief
from agent.budget import spent_by_run
from agent.checkpoints import prune
from agent.findings import UNJUDGED, Finding, findings_of, in_words, to_act_on
from agent.graph import Loop, Progress
from agent.incidents import all_known
from agent.measuring import measure
from agent.planners.protocol import Briefing, Planner
from agent.rendering import headline
from agent.runs import RUNNING, Run
from agent.sharing import SharedSources, shared_sources
from agent.state import WAITING, Ending
from agent.tracing import trace_run
from agent.triage_result import Action, ModelTriage, TriageResult
from agent.untrusted import clean
from policies.declarations import Severity, worst
from policies.errors import GuardianError
from tools.deploy.permission import unfinished
from tools.evaluate.begun import settle
from tools.retrain.settle import close
from tools.systems.systems import Systems
from tools.systems.tool import Tool

_log = logging.getLogger(__name__)

NOTHING_NEW = "no monitor is due, and what the last reports found is told and acted on already"

ENDED_EARLY = ("budget_exhausted", "stopped", "failed")


class Night:
    """One run at work: every model measured, the planner woken where something was found."""

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
        self._shared = SharedSources()
        self._unmeasured: dict[str, Exception] = {}
        self._loop = Loop(systems, toolbox, planner, fixed={"at": run.record.at}, progress=progress, saved=run.saved)

    def work(self) -> TriageResult:
        """All models, then the report. An interruption leaves the run to be continued."""
        advanced = self._advance_rollouts()
        models = self._run.record.models
        left = [model for model in models if model not in self._run.record.done]
        self._measure_all(left)
        self._shared = shared_sources(self._systems, self._run.record.measured, models)
        found = {model: ModelTriage.model_validate(each) for model, each in self._run.record.done.items()}
        for parts in self._in_parallel(self._shared.together(left), lambda unit: self._unit(unit, advanced)):
            found |= {part.model: part for part in parts}
        parts = [found[model] for model in models]
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
        if result.status != WAITING:
            trace_run(self._systems, self._run, result.status, outcome)
        prune(self._systems, (RUNNING, WAITING))
        return result

    def _measure_all(self, models: Sequence[str]) -> None:
        """Every model is measured before anything is decided: only then is it known what they share."""

        def measured(model: str) -> None:
            try:
                measure(self._systems, self._run, self._toolbox, model, self._progress)
            except Exception as error:
                self._unmeasured[model] = error

        if models:
            with ThreadPoolExecutor(min(self._systems.workers, len(models)), "measure") as pool:
                list(pool.map(measured, models))

    def _in_parallel(
        self, units: Sequence[Sequence[str]], work: Callable[[Sequence[str]], list[ModelTriage]]
    ) -> Iterator[list[ModelTriage]]:
        """The parts of each unit's models as they end, several units at work at a time; what ends for good is saved
        at once."""
        of, ended = sum(map(len, units)), 0
        with ThreadPoolExecutor(min(self._systems.workers, len(units)) or 1, "triage") as pool:
            working = [pool.submit(work, unit) for unit in units]
            try:
                for future in as_completed(working):
                    parts = future.result()
                    for part in parts:
                        ended += 1
                        if part.status != WAITING:
                            self._run.done(part.model, part.model_dump(mode="json"))
                        if of > 1:
                            self._progress(f"{ended} of {of} models are done; {part.model}: {part.status}")
                    yield parts
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

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

    def _unit(self, models: Sequence[str], advanced: Mapping[str, list[Action]]) -> list[ModelTriage]:
        """One model, or those that share a broken source: each is examined, and what they share is told once."""
        parts = [self._guarded(model, advanced.get(model, [])) for model in models]
        try:
            self._tell(parts)
        except Exception as error:
            parts = [self._failed(part.model, error, part.actions) for part in parts]
            try:
                self._tell(parts)
            except Exception:  # it is in the report all the same, and the other models are still to be told of
                _log.exception("nobody could be told of %s", ", ".join(models))
        return parts

    def _guarded(self, model: str, actions: list[Action]) -> ModelTriage:
        try:
            part = self._examine(model, actions)
            for run in close(self._systems, model):
                self._progress(f"{model}: {run} was killed and is given up")
            for evaluation in settle(self._systems, model):
                self._progress(f"{model}: {evaluation} was killed and has failed")
            return part
        except Exception as error:
            return self._failed(model, error, actions)

    def _failed(self, model: str, error: Exception, actions: list[Action]) -> ModelTriage:
        _log.error("triage of %s failed", model, exc_info=error)
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

    def _tell(self, parts: Sequence[ModelTriage]) -> None:
        """Alerts of what was found, and of what is over. Of models that share a source also what was done before."""
        if all(part.outcome == NOTHING_NEW for part in parts):
            return
        unit = {model for part in parts for model in self._shared.with_(part.model)}
        earlier = [ModelTriage.model_validate(part) for model, part in self._run.record.done.items() if model in unit]
        told = tell(
            self._systems,
            [self._known(part) for part in {part.model: part for part in [*earlier, *parts]}.values()],
            measured=self._run.record.measured,
            shared=self._shared.keys,
            run_id=self._run.id,
        )
        for line in told:
            self._progress(f"{', '.join(part.model for part in parts)}: told: {line}")

    def _known(self, part: ModelTriage) -> Known:
        lost = any(each.kind == "failure" and each.subject == part.model for each in part.findings)
        return Known(
            model=part.model,
            findings=part.findings,
            measured=None if lost else self._run.record.measured[part.model],
            done="" if self._shared.leader(part.model, part.findings) else part.outcome,
            ended_early=part.status in ENDED_EARLY,
        )

    def _examine(self, model: str, advanced: list[Action]) -> ModelTriage:
        if model in self._unmeasured:
            raise self._unmeasured[model]
        measured = self._run.record.measured[model]
        findings = list(findings_of(self._systems, measured))
        rollout = unfinished(self._systems, model)
        part = ModelTriage(
            model=model,
            severity=worst([each.severity for each in findings if each.kind != UNJUDGED]),
            findings=findings,
            actions=advanced,
            status="quiet",
            outcome="; ".join(f"{each.subject}: {each.detail or each.kind}" for each in findings) or "quiet",
            account=f"{model}: {_found(findings)}",
        )
        if not to_act_on(findings):
            return part
        if rollout is not None and not self._begun(model):
            return _standing(part, f"{rollout.id} is running; nothing else is started until it ends")
        asked = open_of(self._systems, model)
        if asked is not None and not self._begun(model):
            return _standing(part, f"{asked.id} waits for {read(asked).whom}; nothing else is started until then")
        if (
            self._run.record.due_only
            and not self._begun(model)
            and all_known(findings, self._systems.notifications.open(model))
        ):
            return _standing(part, NOTHING_NEW)
        shared = self._shared.leader(model, findings)
        if shared is not None and not self._begun(model):
            said = f"{shared.cause}, as for {shared.lead}: what is done about it is told there"
            return part.model_copy(update={"status": "finished", "outcome": said, "account": f"{part.account}; {said}"})

        def briefing() -> Briefing:
            because = f"nightly triage found {in_words(_judged(findings))}{self._shared.led_by(model)}"
            return brief(self._systems, model, because=because, **measured)

        ending = self._loop.run(self._run.id, self._thread(model), briefing)
        return part.model_copy(
            update={
                "actions": [*advanced, *_actions(ending)],
                "status": ending.status,
                "outcome": ending.summary,
                "account": ending.account,
                "approval": ending.approval,
            }
        )

    def _report(self, parts: list[ModelTriage]) -> str:
        spent = spent_by_run(self._systems.store, self._run.id)
        cost = f"${spent.cost_usd:.4f}, {spent.tokens} tokens, {spent.llm_calls} model calls"
        head = f"{self._run.id}: triage of {', '.join(part.model for part in parts)}, planner {self._planner.name}"
        off = [
            f"{part.model}: THE QUALITY GATE IS SWITCHED OFF by {switch}"
            for part in parts
            for switch in self._systems.operations.gate_off_by(part.model)
        ]
        unjudged = [
            f"{part.model}: {each.subject} could not be judged: {each.detail}"
            for part in parts
            for each in part.findings
            if each.severity is Severity.unknown
        ]
        return "\n".join([head, *off, *(part.account for part in parts), *unjudged, f"Spent: {cost}."])


def _judged(findings: list[Finding]) -> list[Finding]:
    return [each for each in findings if each.severity is not Severity.unknown]


def _found(findings: list[Finding]) -> str:
    return in_words(_judged(findings)) or ("nothing in what could be judged" if findings else "all is well")


def _actions(ending: Ending) -> list[Action]:
    return [Action(tool=s.call.name, arguments=s.call.arguments, outcome=outcome_of(s)) for s in ending.steps if s.call]


def _standing(part: ModelTriage, said: str) -> ModelTriage:
    """A model for which something is under way already."""
    return part.model_copy(update={"status": "waiting", "outcome": said, "account": f"{part.account}; {said}"})


def _status(statuses: list[str]) -> str:
    for status in ("failed", "budget_exhausted", "stopped", WAITING):
        if status in statuses:
            return status
    return "finished"


def _default_advance(systems: Systems, now: datetime) -> object:
    from tools.deploy.tool import advance

    return advance(systems, now)
