"""One turn that calls the loop, as a run of its own: durable, in the audit log, under the agent's budget."""

from __future__ import annotations

from collections.abc import Mapping

from agent.account import outcome_of
from agent.briefing import brief
from agent.budget import spent_by_run
from agent.conversation.intents import understood
from agent.conversation.lookups import evidence, look_up
from agent.conversation.planner import EvidencePlanner
from agent.conversation.telling import tell_asker
from agent.graph import Loop, Progress
from agent.planners.choice import choose, default_planner
from agent.planners.protocol import Briefing, Planner
from agent.runs import Asked, Run, RunRecord
from agent.state import WAITING, Ending
from agent.tracing import trace_run
from agent.triage_result import Action, ModelTriage, TriageResult
from agent.untrusted import clean, fenced
from policies.declarations import Severity
from tools.systems.systems import Systems
from tools.systems.tool import Effect, Tool

PROMPT = "conversation"


class Turn:
    """The work of a run that somebody asked for in a conversation."""

    def __init__(
        self, systems: Systems, run: Run, toolbox: Mapping[str, Tool], planner: str | Planner | None, progress: Progress
    ) -> None:
        assert run.record.asked is not None
        self._systems = systems
        self._run = run
        self._asked: Asked = run.record.asked
        self._model = run.record.models[0]
        tools = allowed(toolbox, self._asked)
        self._fallback = EvidencePlanner(systems, tools)
        self._planner = planner_of(systems, tools, planner)
        self._loop = Loop(systems, tools, self._planner, fallback=self._fallback, progress=progress, saved=run.saved)

    def work(self) -> TriageResult:
        """Answers, or goes on where it was; `report` is the answer."""
        ending = self._loop.run(self._run.id, f"{self._run.id}/{self._model}", self._briefing)
        answer = self._answer(ending)
        part = ModelTriage(
            model=self._model,
            severity=Severity.ok,
            findings=[],
            actions=[
                Action(tool=step.call.name, arguments=step.call.arguments, outcome=outcome_of(step))
                for step in ending.steps
                if step.call
            ],
            status=ending.status,
            outcome=answer,
            account=ending.account,
            approval=ending.approval,
        )
        result = TriageResult(
            run_id=self._run.id,
            planner=ending.planner,
            status=ending.status,
            models=[part],
            budget=spent_by_run(self._systems.store, self._run.id),
            report=answer,
        )
        tell_asker(self._systems, self._run, answer)
        self._run.end(ending.status, clean(answer, 400), result.model_dump(mode="json"))
        if ending.status != WAITING:
            trace_run(self._systems, self._run, ending.status, answer)
        return result

    def _answer(self, ending: Ending) -> str:
        """What is said: the planner's summary; where it ended early, why, and what the rows say."""
        if ending.status in ("finished", WAITING):
            return "\n".join([ending.summary, *(f"({note})" for note in ending.notes)])
        question = understood(self._asked.text, list(self._systems.operations.models))
        return f"{ending.summary}\nFrom the stored evidence:\n{look_up(self._systems, question)}"

    def _briefing(self) -> Briefing:
        known = brief(self._systems, self._model, because=f"{self._asked.by} asks: {clean(self._asked.text, 300)}")
        question = understood(self._asked.text, list(self._systems.operations.models))
        stored = evidence(self._systems, self._model, question)
        parts = [known.text, fenced("briefing", f"Stored evidence:\n{stored}")]
        if self._asked.earlier:
            parts.append(fenced("earlier", self._asked.earlier))
        parts.append(fenced("question", self._asked.text))
        return Briefing(model=self._model, text="\n".join(parts), facts={**known.facts, "question": self._asked.text})


def allowed(toolbox: Mapping[str, Tool], asked: Asked) -> Mapping[str, Tool]:
    """The tools that who asks may use: who is not declared changes nothing."""
    if not asked.read_only:
        return toolbox
    return {name: tool for name, tool in toolbox.items() if tool.effect is Effect.READ}


def planner_of(systems: Systems, tools: Mapping[str, Tool], planner: str | Planner | None) -> Planner:
    """The planner, or the one of that name (the default unless told), as it works in conversations.

    Raises InputError as `choose` does.
    """
    wanted = planner or default_planner()
    if (wanted if isinstance(wanted, str) else wanted.name) == "runbook":
        return EvidencePlanner(systems, tools)
    return choose(systems, tools, wanted, prompt=PROMPT) if isinstance(wanted, str) else wanted


def begin(systems: Systems, asked: Asked, model: str, planner: str) -> Run:
    """The run of a turn."""
    record = RunRecord(planner=planner, because=f"asked in {asked.session}", models=[model], asked=asked)
    return Run.begin(systems, record)
