"""One night's work on a run: measure, wake the planner for a finding, tell people, report."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime
from typing import Any

from agent.account import outcome_of
from agent.actions import begun, carry_out
from agent.alerts import tell
from agent.approvals import open_of, read
from agent.briefing import brief
from agent.budget import spent_by_run
from agent.checkpoints import prune
from agent.findings import UNREAD, Finding, findings_of, in_words, to_act_on
from agent.graph import Loop, Progress
from agent.incidents import all_known
from agent.planners.protocol import Briefing, Planner
from agent.rendering import facts_of, headline
from agent.runs import RUNNING, Run
from agent.state import WAITING, Ending
from agent.tracing import trace_run
from agent.triage_result import Action, ModelTriage, TriageResult
from agent.untrusted import clean
from policies.declarations import Severity, worst
from policies.errors import GuardianError
from tools.check_drift.schedule import due_checks, last_report
from tools.deploy.permission import unfinished
from tools.evaluate.begun import settle
from tools.retrain.settle import close
from tools.systems.systems import Systems
from tools.systems.tool import Tool

_log = logging.getLogger(__name__)

NOTHING_NEW = "no monitor is due, and what the last reports found is told and acted on already"

WORKERS = max(2, os.cpu_count() or 1)
"""Models at work at a time: measuring keeps a core busy each, an agent run mostly waits."""

ENDED_EARLY = ("budget_exhausted", "stopped", "failed")
NOTHING: Mapping[str, list[Any]] = {"drift": [], "kpis": [], "failures": []}
"""What is known of a model that was not measured."""


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
        self._loop = Loop(systems, toolbox, planner, fixed={"at": run.record.at}, progress=progress, saved=run.saved)

    def work(self) -> TriageResult:
        """All models, then the report. An interruption leaves the run to be continued."""
        advanced = self._advance_rollouts()
        models = self._run.record.models
        left = [model for model in models if model not in self._run.record.done]
        found = dict(self._in_parallel(left, lambda model: self._guarded(model, advanced.get(model, []))))
        found |= {model: ModelTriage.model_validate(each) for model, each in self._run.record.done.items()}
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

    def _in_parallel(
        self, models: Sequence[str], work: Callable[[str], ModelTriage]
    ) -> Iterator[tuple[str, ModelTriage]]:
        """The models' parts as they end, several at work at a time; what ends for good is saved at once."""
        with ThreadPoolExecutor(min(WORKERS, len(models)) or 1, "triage") as pool:
            working = {pool.submit(work, model): model for model in models}
            try:
                for ended, future in enumerate(as_completed(working), 1):
                    model, part = working[future], future.result()
                    if part.status != WAITING:
                        self._run.done(model, part.model_dump(mode="json"))
                    if len(models) > 1:
                        self._progress(f"{ended} of {len(models)} models are done; {model}: {part.status}")
                    yield model, part
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

    def _guarded(self, model: str, actions: list[Action]) -> ModelTriage:
        try:
            part = self._examine(model, actions)
            for run in close(self._systems, model):
                self._progress(f"{model}: {run} was killed and is given up")
            for evaluation in settle(self._systems, model):
                self._progress(f"{model}: {evaluation} was killed and has failed")
            self._tell(part, self._measure(model))
            return part
        except Exception as error:
            _log.exception("triage of %s failed", model)
            detail = clean(error if isinstance(error, GuardianError) else repr(error), 400)
            self._progress(f"{model}: failed: {detail}")
            finding = Finding(kind="failure", subject=model, severity=Severity.critical, detail=detail)
            part = ModelTriage(
                model=model,
                severity=finding.severity,
                findings=[finding],
                actions=actions,
                status="failed",
                outcome=f"failed: {detail}",
                account=f"{model}: failed: {detail}",
            )
            try:
                self._tell(part, NOTHING)
            except Exception:  # it is in the report all the same, and the other models are still to be told of
                _log.exception("nobody could be told of %s", model)
            return part

    def _tell(self, part: ModelTriage, measured: Mapping[str, list[Any]]) -> None:
        """Alerts of what was found, and of what is over."""
        if part.outcome == NOTHING_NEW:
            return
        done = f"Done: {part.outcome}\nMore: guardian report {self._run.id}"
        told = tell(
            self._systems,
            part.model,
            part.findings,
            measured,
            done=done,
            run_id=self._run.id,
            ended_early=part.status in ENDED_EARLY,
        )
        for line in told:
            self._progress(f"{part.model}: told: {line}")

    def _examine(self, model: str, advanced: list[Action]) -> ModelTriage:
        measured = self._measure(model)
        findings = list(findings_of(self._systems, measured))
        rollout = unfinished(self._systems, model)
        part = ModelTriage(
            model=model,
            severity=worst([each.severity for each in findings]),
            findings=findings,
            actions=advanced,
            status="quiet",
            outcome="; ".join(f"{each.subject}: {each.detail or each.kind}" for each in findings) or "quiet",
            account=f"{model}: {in_words(findings) or 'all is well'}",
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

        def briefing() -> Briefing:
            because = f"nightly triage found {in_words([each for each in findings if each.kind != UNREAD])}"
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

    def _measure(self, model: str) -> dict[str, list[Any]]:
        """Every monitor and tracker of a model, once a run: compact facts, and what could not be measured."""
        if model in self._run.record.measured:
            return self._run.record.measured[model]
        operations = self._systems.operations
        measured: dict[str, list[Any]] = {kind: [] for kind in NOTHING}
        asked = [("drift", "check_drift", {"monitor": name}) for name in operations.monitors_of(model)]
        asked += [("kpis", "track_kpis", {"tracker": name}) for name in operations.trackers_of(model)]
        for kind, name, given in asked:
            tool = self._toolbox[name]
            subject = next(iter(given.values()))
            key = f"{self._thread(model)}/{name}/{subject}"
            standing = None
            if kind == "drift" and not begun(self._systems, key):
                standing = self._standing_report(tool, subject)
            if standing is not None:
                measured[kind].append(standing)
                self._progress(f"{model}: {subject} is not due; {headline(standing)} stands")
                continue
            arguments = tool.arguments.model_validate({**given, "at": self._run.record.at})
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

    def _standing_report(self, tool: Tool, monitor: str) -> dict[str, Any] | None:
        """The facts of a monitor's last report where none of its checks is due; None where it is to run.

        After a report that could not judge it runs, due or not.
        """
        record = self._run.record
        if not record.due_only or record.at is not None:
            return None
        if due_checks(self._systems, monitor, self._systems.clock.now()):
            return None
        row = last_report(self._systems, monitor)
        if row is None or row.body.get("status") != "checked":
            return None
        return facts_of(tool.result.model_validate({**row.body, "report_id": row.id}))

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
