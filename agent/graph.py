"""The loop as a LangGraph state machine: briefing → plan → authorize → act → (plan | report), checkpointed each step.

Order inside one call, always: schema → policy → budget → approval → act → audit row. The state is plain JSON data, the
thread's name is the run's. A killed process continues from its last checkpoint; no call is carried out twice.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from typing import Any, TypedDict, cast

from pydantic import BaseModel, ConfigDict

from agent.account import account, outcome_of, what_is_left
from agent.actions import carry_out
from agent.authority import Call, Rule, permit
from agent.budget import BudgetExhausted
from agent.planners.protocol import (
    Briefing,
    Conversation,
    Finish,
    Planner,
    ProviderDown,
    Step,
    ToolCall,
    Unusable,
)
from agent.planners.runbook import RunbookPlanner
from agent.planners.schemas import NOT_PLANNED
from agent.untrusted import clean, clean_lines
from policies.errors import InputError
from tools.systems.systems import Systems
from tools.systems.tool import Tool
from tools.toolbox import parse_arguments

MAX_STEPS = 12
MOST_FAILURES = 2
"""A call that failed this often is not made again."""


class LoopState(TypedDict):
    """What a checkpoint holds. Everything is JSON data."""

    run_id: str
    thread: str
    model: str
    planner: str
    briefing: dict[str, Any]
    steps: list[dict[str, Any]]
    answer: dict[str, Any]
    notes: list[str]
    ending: dict[str, Any]


class Ending(BaseModel):
    """How a run over one model ended: `finished`, `budget_exhausted`, `stopped` or `failed`."""

    model_config = ConfigDict(frozen=True)

    status: str
    summary: str
    planner: str
    steps: tuple[Step, ...]
    notes: tuple[str, ...]
    account: str


Progress = Callable[[str], None]
Saved = Callable[[str, Mapping[str, Any]], None]


class Loop:
    """Runs conversations of one run.

    `fixed`: values of the arguments that no planner chooses (the run's time). `saved` is given the transcript at every
    step, `progress` one line for people.
    """

    def __init__(
        self,
        systems: Systems,
        toolbox: Mapping[str, Tool],
        planner: Planner,
        *,
        fixed: Mapping[str, Any] | None = None,
        rules: Sequence[Rule] | None = None,
        max_steps: int = MAX_STEPS,
        progress: Progress = lambda line: None,
        saved: Saved = lambda thread, transcript: None,
    ) -> None:
        runbook = RunbookPlanner(systems.operations)
        self._systems = systems
        self._toolbox = toolbox
        self._runbook = runbook
        self._planners: dict[str, Planner] = {runbook.name: runbook, planner.name: planner}
        self._first = planner.name
        self._fixed = dict(fixed or {})
        self._rules = rules
        self._max_steps = max_steps
        self._progress = progress
        self._saved = saved

    def run(self, run_id: str, thread: str, briefing: Callable[[], Briefing]) -> Ending:
        """Works on one model to the end; where `thread` was begun before, it goes on from its last checkpoint."""
        os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
        from langgraph.checkpoint.sqlite import SqliteSaver

        file = self._systems.state / "checkpoints.sqlite"
        with closing(sqlite3.connect(file, check_same_thread=False, timeout=30)) as connection:
            saver = SqliteSaver(connection)
            graph = self._graph(briefing).compile(checkpointer=saver)
            config: Any = {"configurable": {"thread_id": thread}, "recursion_limit": 4 * self._max_steps + 10}
            begun = graph.get_state(config)
            empty = LoopState(
                run_id=run_id,
                thread=thread,
                model="",
                planner=self._first,
                briefing={},
                steps=[],
                answer={},
                notes=[],
                ending={},
            )
            if begun.values and not begun.next:
                final = begun.values
            else:
                final = graph.invoke(None if begun.values else empty, config, durability="sync")
            return _ending(final)

    def forget(self, thread: str) -> None:
        """Removes the checkpoints of a conversation that ended: its transcript is in the run's row."""
        from langgraph.checkpoint.sqlite import SqliteSaver

        with closing(sqlite3.connect(self._systems.state / "checkpoints.sqlite", timeout=30)) as connection:
            SqliteSaver(connection).delete_thread(thread)

    def _graph(self, briefing: Callable[[], Briefing]) -> Any:
        from langgraph.graph import END, START, StateGraph

        graph: Any = StateGraph(LoopState)
        graph.add_node("briefing", lambda state: self._begin(state, briefing()))
        graph.add_node("plan", self._plan)
        graph.add_node("authorize", self._authorize)
        graph.add_node("act", self._act)
        graph.add_node("report", self._report)
        graph.add_edge(START, "briefing")
        graph.add_edge("briefing", "plan")
        graph.add_conditional_edges("plan", _after_plan, ["plan", "authorize", "report"])
        graph.add_conditional_edges("authorize", _after_authorize, ["plan", "act", "report"])
        graph.add_edge("act", "plan")
        graph.add_edge("report", END)
        return graph

    def _begin(self, state: LoopState, briefing: Briefing) -> dict[str, Any]:
        return self._keep(state, model=briefing.model, briefing=briefing.model_dump(mode="json"))

    def _plan(self, state: LoopState) -> dict[str, Any]:
        if len(state["steps"]) >= self._max_steps:
            return self._end(state, "stopped", f"the limit of {self._max_steps} steps is reached")
        planner = self._planners[state["planner"]]
        try:
            answer = planner.next(_conversation(state))
        except BudgetExhausted as exhausted:
            return self._end(state, "budget_exhausted", clean(exhausted.reason, 400))
        except ProviderDown as down:
            if planner is self._runbook:
                raise
            note = f"{planner.name} is down ({clean(down, 300)}); {self._runbook.name} took over."
            self._progress(note)
            return self._keep(state, planner=self._runbook.name, notes=[*state["notes"], note], answer={})
        if isinstance(answer, Finish):
            return self._end(state, "finished", clean_lines(answer.summary, 2000))
        if isinstance(answer, Unusable):
            return self._refuse(state, answer, "invalid", answer.problem, fault=answer.fault)
        return self._keep(state, answer=answer.model_dump(mode="json"))

    def _authorize(self, state: LoopState) -> dict[str, Any]:
        call = ToolCall.model_validate(state["answer"])
        tool = self._toolbox.get(call.name)
        if tool is None:
            known = ", ".join(self._toolbox)
            problem = f"There is no tool {clean(call.name, 60)!r}. The tools are {known}."
            return self._refuse(state, call, "invalid", problem, fault="unknown tool")
        try:
            arguments = self._parsed(tool, call)
        except InputError as error:
            return self._refuse(state, call, "invalid", clean(error, 400), fault=f"bad arguments of {tool.name}")
        permission = permit(self._systems, Call(model=state["model"], tool=tool, arguments=arguments), self._rules)
        if not permission.allowed:
            problem = f"Refused by policy {permission.policy}: {clean(permission.reason, 400)}"
            return self._refuse(state, call, "refused", problem, fault=_signature(call))
        same = [s for s in _steps(state) if s.call and _signature(s.call) == _signature(call)]
        # a refusal with a fault came from a policy, which was just asked again; one without came from the tool
        failed = [s for s in same if s.status == "failed" or (s.status == "refused" and "fault" not in s.facts)]
        if len(failed) >= MOST_FAILURES:
            return self._end(state, "stopped", f"{call.name} failed {MOST_FAILURES} times: {failed[-1].text}")
        return {}

    def _act(self, state: LoopState) -> dict[str, Any]:
        call = ToolCall.model_validate(state["answer"])
        tool = self._toolbox[call.name]
        arguments = self._parsed(tool, call)
        self._progress(f"{state['model']}: {call.name} …")
        outcome = carry_out(
            self._systems,
            tool,
            arguments,
            model=state["model"],
            key=f"{state['thread']}/{len(state['steps']) + 1}",
            run_id=state["run_id"],
            actor=f"{state['run_id']} {state['planner']}",
        )
        return self._step(state, call, outcome.status, outcome.text, outcome.facts)

    def _parsed(self, tool: Tool, call: ToolCall) -> BaseModel:
        """The call's arguments, with those that are not the planner's to choose filled in."""
        fixed = {name: self._fixed.get(name) for name in NOT_PLANNED if name in tool.arguments.model_fields}
        for name in fixed:
            if call.arguments.get(name) is not None:
                raise InputError(f"{name} is not yours to choose; leave it out", where=tool.name)
        parsed: BaseModel = parse_arguments(tool, self._systems.operations, {**call.arguments, **fixed})
        return parsed

    def _report(self, state: LoopState) -> dict[str, Any]:
        conversation, ending = _conversation(state), state["ending"]
        left = None if ending["status"] == "finished" else what_is_left(self._runbook, conversation)
        text = account(conversation.briefing, conversation.steps, ending, notes=state["notes"], left_to_do=left)
        return self._keep(state, ending={**ending, "account": text})

    def _refuse(
        self, state: LoopState, answer: ToolCall | Unusable, status: str, problem: str, *, fault: str
    ) -> dict[str, Any]:
        """The problem goes back to the planner, once; the second of the same kind ends the run."""
        again = any(s.facts.get("fault") == fault for s in _steps(state))
        update = self._step(state, answer, status, problem, {"fault": fault})
        if again:
            return self._end(cast(LoopState, {**state, **update}), "stopped", f"the planner repeated itself: {problem}")
        return update

    def _step(
        self, state: LoopState, answer: ToolCall | Unusable, status: str, text: str, facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        step = Step.model_validate(
            {
                "number": len(state["steps"]) + 1,
                "call": answer if isinstance(answer, ToolCall) else None,
                "unusable": answer if isinstance(answer, Unusable) else None,
                "status": status,
                "text": text,
                "facts": dict(facts),
            }
        )
        self._progress(f"{state['model']}: {step.call.name if step.call else 'answer'}: {outcome_of(step)}")
        return self._keep(state, steps=[*state["steps"], step.model_dump(mode="json")], answer={})

    def _end(self, state: LoopState, status: str, summary: str) -> dict[str, Any]:
        return self._keep(state, steps=state["steps"], answer={}, ending={"status": status, "summary": summary})

    def _keep(self, state: LoopState, **changes: Any) -> dict[str, Any]:
        self._saved(state["thread"], {**state, **changes})
        return changes


def _after_plan(state: LoopState) -> str:
    return "report" if state["ending"] else "authorize" if state["answer"] else "plan"


def _after_authorize(state: LoopState) -> str:
    return "report" if state["ending"] else "act" if state["answer"] else "plan"


def _steps(state: LoopState) -> tuple[Step, ...]:
    return tuple(Step.model_validate(each) for each in state["steps"])


def _conversation(state: LoopState) -> Conversation:
    briefing = Briefing.model_validate(state["briefing"])
    return Conversation(run_id=state["run_id"], briefing=briefing, steps=_steps(state))


def _signature(call: ToolCall) -> str:
    return f"{call.name} {json.dumps(call.arguments, sort_keys=True)}"


def _ending(state: Mapping[str, Any]) -> Ending:
    ending = state["ending"]
    return Ending(
        status=ending["status"],
        summary=ending["summary"],
        planner=state["planner"],
        steps=tuple(Step.model_validate(each) for each in state["steps"]),
        notes=tuple(state["notes"]),
        account=ending["account"],
    )
