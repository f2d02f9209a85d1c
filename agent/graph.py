"""The loop as a LangGraph state machine: briefing → plan → authorize → act → (plan | report), checkpointed each step.

Order inside one call, always: schema → policy → budget → approval → act → audit row. The state is plain JSON data, the
thread's name is the run's. A killed process continues from its last checkpoint; no call is carried out twice.

Where a person must agree, `authorize` asks (a row), `wait` interrupts, and a resumed graph goes back to `authorize`:
the row and the policies are asked again, what the graph was resumed with is not looked at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel

from agent import approvals
from agent.account import account, outcome_of, what_is_left
from agent.actions import carry_out
from agent.asking import agreed
from agent.authority import Call, Rule, permit
from agent.budget import BudgetExhausted
from agent.checkpoints import checkpoints
from agent.planners.protocol import (
    Briefing,
    Finish,
    Planner,
    ProviderDown,
    Step,
    ToolCall,
    Unusable,
)
from agent.planners.runbook import RunbookPlanner
from agent.planners.schemas import NOT_PLANNED
from agent.state import (
    NO_CALL,
    WAITING,
    Ending,
    LoopState,
    after_authorize,
    after_plan,
    conversation_of,
    empty,
    ending_of,
    signature,
    steps_of,
)  # fmt: skip
from agent.untrusted import clean, clean_lines
from policies.errors import InputError, PolicyRefusal
from tools.systems.systems import Systems
from tools.systems.tool import Tool
from tools.toolbox import parse_arguments

MAX_STEPS = 12
MOST_FAILURES = 2
"""A call that failed this often is not made again."""

Progress = Callable[[str], None]
Saved = Callable[[str, Mapping[str, Any]], None]


class Loop:
    """Runs conversations of one run.

    `fixed`: values of the arguments that no planner chooses (the run's time). `fallback` takes over from a planner
    that is down, the runbook unless told. `saved` is given the transcript at every step, `progress` one line for
    people.
    """

    def __init__(
        self,
        systems: Systems,
        toolbox: Mapping[str, Tool],
        planner: Planner,
        *,
        fixed: Mapping[str, Any] | None = None,
        rules: Sequence[Rule] | None = None,
        fallback: Planner | None = None,
        max_steps: int = MAX_STEPS,
        progress: Progress = lambda line: None,
        saved: Saved = lambda thread, transcript: None,
    ) -> None:
        runbook = fallback or RunbookPlanner(systems.operations)
        self._systems = systems
        self._toolbox = toolbox
        self._runbook: Planner = runbook
        self._planners: dict[str, Planner] = {runbook.name: runbook, planner.name: planner}
        self._first = planner.name
        self._fixed = dict(fixed or {})
        self._rules = rules
        self._max_steps = max_steps
        self._progress = progress
        self._saved = saved

    def run(self, run_id: str, thread: str, briefing: Callable[[], Briefing]) -> Ending:
        """Works on one model to the end, or until a person is asked; a `thread` begun before goes on where it was.

        A thread that waits for a person stays as it is until they decided or the time is over.
        """
        os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
        from langgraph.types import Command

        with checkpoints(self._systems) as saver:
            graph = self._graph(briefing).compile(checkpointer=saver)
            config: Any = {"configurable": {"thread_id": thread}, "recursion_limit": 4 * self._max_steps + 10}
            begun = graph.get_state(config)
            if begun.values and begun.values["ending"].get("account"):  # `next` is empty also before a torn step
                return ending_of(begun.values)
            given: Any = None
            if begun.interrupts:
                if approvals.current(self._systems, begun.values["approval"]).status == approvals.PENDING:
                    return self._waiting(begun.values)
                given = Command(resume={begun.interrupts[0].id: begun.values["approval"]})
            elif not begun.values:
                given = empty(run_id, thread, self._first)
            graph.invoke(given, config, durability="sync")
            after = graph.get_state(config)
            return self._waiting(after.values) if after.interrupts else ending_of(after.values)

    def _graph(self, briefing: Callable[[], Briefing]) -> Any:
        from langgraph.graph import END, START, StateGraph

        graph: Any = StateGraph(LoopState)
        graph.add_node("briefing", lambda state: self._begin(state, briefing()))
        graph.add_node("plan", self._plan)
        graph.add_node("authorize", self._authorize)
        graph.add_node("wait", self._wait)
        graph.add_node("act", self._act)
        graph.add_node("report", self._report)
        graph.add_edge(START, "briefing")
        graph.add_edge("briefing", "plan")
        graph.add_conditional_edges("plan", after_plan, ["plan", "authorize", "report"])
        graph.add_conditional_edges("authorize", after_authorize, ["plan", "wait", "act", "report"])
        graph.add_edge("wait", "authorize")
        graph.add_edge("act", "plan")
        graph.add_edge("report", END)
        return graph

    def _begin(self, state: LoopState, briefing: Briefing) -> dict[str, Any]:
        return self._keep(state, model=briefing.model, briefing=briefing.model_dump(mode="json"))

    def _plan(self, state: LoopState) -> dict[str, Any]:
        if len(state["steps"]) >= self._max_steps:
            return self._end(state, "stopped", f"the limit of {self._max_steps} steps is reached")
        planner = self._planners.get(state["planner"])
        if planner is None:
            return self._hand_over(state, f"{state['planner']} began this and is not at hand now")
        try:
            answer = planner.next(conversation_of(state))
        except BudgetExhausted as exhausted:
            return self._end(state, "budget_exhausted", clean(exhausted.reason, 400))
        except ProviderDown as down:
            if planner is self._runbook:
                raise
            return self._hand_over(state, f"{planner.name} is down ({clean(down, 300)})")
        if isinstance(answer, Finish):
            return self._end(state, "finished", clean_lines(answer.summary, 2000))
        if isinstance(answer, Unusable):
            return self._refuse(state, answer, "invalid", answer.problem, fault=answer.fault)
        return {"answer": answer.model_dump(mode="json")}

    def _hand_over(self, state: LoopState, because: str) -> dict[str, Any]:
        note = f"{because}; {self._runbook.name} took over."
        self._progress(note)
        return self._keep(state, planner=self._runbook.name, notes=[*state["notes"], note], **NO_CALL)

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
            return self._refuse(state, call, "refused", problem, fault=signature(call))
        same = [s for s in steps_of(state) if s.call and signature(s.call) == signature(call)]
        # a refusal with a fault came from a policy, which was just asked again; one without came from the tool
        failed = [s for s in same if s.status == "failed" or (s.status == "refused" and "fault" not in s.facts)]
        if len(failed) >= MOST_FAILURES:
            return self._end(state, "stopped", f"{call.name} failed {MOST_FAILURES} times: {failed[-1].text}")
        return self._agreed(state, call, Call(model=state["model"], tool=tool, arguments=arguments))

    def _agreed(self, state: LoopState, answer: ToolCall, call: Call) -> dict[str, Any]:
        """Whether a person agreed, where one must: else it waits, or the refusal goes back to the planner."""
        try:
            row = agreed(
                self._systems,
                call,
                state["approval"],
                key=self._key(state),
                asked_by=f"{state['run_id']} {state['planner']}",
                run_id=state["run_id"],
                thread=state["thread"],
            )
        except PolicyRefusal as refused:
            problem = f"Refused by policy {refused.policy}: {clean(refused.reason, 400)}"
            return self._refuse(state, answer, "refused", problem, fault=signature(answer))
        if row is None:
            return {"approval": "", "waits": False}
        return self._keep(state, approval=row.id, waits=row.status != approvals.USED)

    def _wait(self, state: LoopState) -> dict[str, Any]:
        """Stops here until the row is decided: a node that interrupts runs again from its top."""
        from langgraph.types import interrupt

        row = approvals.current(self._systems, state["approval"])
        if row.status == approvals.PENDING:
            self._progress(f"{state['model']}: waiting for {row.id}: {approvals.read(row).what}")
            interrupt({"approval": row.id})
        return {}

    def _waiting(self, state: Mapping[str, Any]) -> Ending:
        """How far a conversation came that waits for a person."""
        row = approvals.find(self._systems, state["approval"])
        asked = approvals.read(row)
        summary = f"{row.id} waits for {asked.whom}: {asked.what}, until {asked.expires_at:%Y-%m-%d %H:%M}"
        ending = {"status": WAITING, "summary": summary}
        conversation = conversation_of(cast(LoopState, state))
        text = account(conversation.briefing, conversation.steps, ending, notes=state["notes"])
        return ending_of({**state, "ending": {**ending, "account": text}})

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
            key=self._key(state),
            run_id=state["run_id"],
            actor=f"{state['run_id']} {state['planner']}",
        )
        if state["approval"]:
            approvals.rest_on(self._systems, state["approval"], outcome.facts)
        return self._step(state, call, outcome.status, outcome.text, outcome.facts)

    def _key(self, state: LoopState) -> str:
        """The name of the call that is worked on: the same after a restart, another for every step."""
        return f"{state['thread']}/{len(state['steps']) + 1}"

    def _parsed(self, tool: Tool, call: ToolCall) -> BaseModel:
        """The call's arguments, with those that are not the planner's to choose filled in."""
        fixed = {name: self._fixed.get(name) for name in NOT_PLANNED if name in tool.arguments.model_fields}
        for name in fixed:
            if call.arguments.get(name) is not None:
                raise InputError(f"{name} is not yours to choose; leave it out", where=tool.name)
        parsed: BaseModel = parse_arguments(tool, self._systems.operations, {**call.arguments, **fixed})
        return parsed

    def _report(self, state: LoopState) -> dict[str, Any]:
        conversation, ending = conversation_of(state), state["ending"]
        left = None if ending["status"] == "finished" else what_is_left(self._runbook, conversation)
        text = account(conversation.briefing, conversation.steps, ending, notes=state["notes"], left_to_do=left)
        return self._keep(state, ending={**ending, "account": text})

    def _refuse(
        self, state: LoopState, answer: ToolCall | Unusable, status: str, problem: str, *, fault: str
    ) -> dict[str, Any]:
        """The problem goes back to the planner, once; the second of the same kind ends the run."""
        again = any(s.facts.get("fault") == fault for s in steps_of(state))
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
        return self._keep(state, steps=[*state["steps"], step.model_dump(mode="json")], **NO_CALL)

    def _end(self, state: LoopState, status: str, summary: str) -> dict[str, Any]:
        return self._keep(state, steps=state["steps"], **NO_CALL, ending={"status": status, "summary": summary})

    def _keep(self, state: LoopState, **changes: Any) -> dict[str, Any]:
        self._saved(state["thread"], {**state, **changes})
        return changes
