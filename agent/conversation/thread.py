"""A conversation as a durable thread: a small graph of its own, one checkpoint thread for each Slack thread or chat.

hear → work → said: a turn whose process is killed is finished by the next call, with the same run; the same question
(by its id) is answered once.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypedDict

from pydantic import BaseModel, ConfigDict

from agent.checkpoints import CHAT, checkpoints, forget_history
from agent.conversation.intents import WISHES, Intent, understood
from agent.conversation.lookups import look_up
from agent.conversation.work import Turn, begin, planner_of
from agent.graph import Progress
from agent.runs import Asked, Run, RunBusy, claimed
from agent.triage import tools_of
from agent.triage_result import TriageResult
from agent.untrusted import clean, clean_lines
from tools.systems.systems import Systems
from tools.systems.tool import Tool

MOST_TURNS = 40
"""A thread remembers this many; runs and the audit log keep all."""
TOLD_AGAIN = 4
"""This many earlier turns are shown to a language model."""
MOST_QUESTION = 2000
PATIENCE = 900.0
"""Seconds that a question waits for the one before it in the same thread."""


class Person(BaseModel):
    """Who asks: `name` as declared under `systems.people`, else what the surface calls them."""

    model_config = ConfigDict(frozen=True)

    name: str
    may_act: bool


class Reply(BaseModel):
    """An answer. `run_id` is the run that worked on it, None where the rows answered; `approval` what it waits for."""

    model_config = ConfigDict(frozen=True)

    id: str
    by: str
    question: str
    text: str
    model: str | None = None
    run_id: str | None = None
    approval: str | None = None


class Chat(BaseModel):
    """What was asked and answered at one sitting."""

    model_config = ConfigDict(frozen=True)

    thread: str
    planner: str
    replies: list[Reply]


class _State(TypedDict, total=False):
    turns: list[dict[str, Any]]
    asked: dict[str, Any]


class Thread:
    """One conversation. `session` names it: `slack/C1/1700000000.000100`, `terminal/default`."""

    def __init__(
        self,
        systems: Systems,
        session: str,
        *,
        planner: str | None = None,
        toolbox: Mapping[str, Tool] | None = None,
        progress: Progress = lambda line: None,
    ) -> None:
        self._systems = systems
        self._session = session
        self._tools = tools_of(toolbox)
        self._planner = planner
        self._progress = progress
        self.planner = planner_of(systems, self._tools, planner).name

    def turns(self) -> list[Reply]:
        """What was said so far, oldest first."""
        with self._opened() as (graph, config):
            values = graph.get_state(config).values
        return [Reply.model_validate(self._as_it_stands(each)) for each in values.get("turns", ())]

    def ask(self, text: str, person: Person, *, id: str) -> Reply:
        """The answer to `text`. A question `id` that was answered before gets the same answer again."""
        asked = {"id": id, "text": clean_lines(text, MOST_QUESTION), "by": clean(person.name, 80)}
        with self._alone(), self._opened() as (graph, config):
            state = graph.get_state(config)
            if state.next:  # a turn that was cut off comes first
                graph.invoke(None, config, durability="sync")
                state = graph.get_state(config)
            known = next((each for each in state.values.get("turns", ()) if each["id"] == id), None)
            if known is None:
                given = {"asked": {**asked, "read_only": not person.may_act}}
                known = graph.invoke(given, config, durability="sync")["turns"][-1]
        return Reply.model_validate(self._as_it_stands(known))

    def _as_it_stands(self, turn: dict[str, Any]) -> dict[str, Any]:
        """A turn that waited for a person, with what came of it since they decided: its run says."""
        result = Run.open(self._systems, turn["run_id"]).record.result if turn.get("approval") else None
        if result is None:
            return turn
        return {**turn, "text": result["report"], "approval": result["models"][0]["approval"]}

    def _hear(self, state: _State) -> dict[str, Any]:
        """What the rows answer by themselves, else the run that is to work on it."""
        asked, turns = state["asked"], state.get("turns", [])
        models = list(self._systems.operations.models)
        question = understood(asked["text"], models)
        spoken_of = [each["model"] for each in reversed(turns) if each.get("model") in models]
        model = next(iter([*question.models, *(models if len(models) == 1 else spoken_of)]), None)
        from_rows = self.planner == "runbook" and question.intent not in WISHES
        if from_rows or model is None:
            needs_model = model is None and not (from_rows or question.intent in _OF_ALL)
            text = f"Which model? {', '.join(models)}." if needs_model else look_up(self._systems, question)
            named = question.models[0] if question.models else model
            return {"asked": {**asked, "answer": text, "model": named}}
        shown = [self._as_it_stands(each) for each in turns[-TOLD_AGAIN:]]
        earlier = "\n".join(f"{each['by']}: {each['question']}\nyou: {each['text']}" for each in shown)
        row = Asked(
            session=self._session,
            text=asked["text"],
            by=asked["by"],
            read_only=asked["read_only"],
            earlier=clean_lines(earlier, 3000),
        )
        return {"asked": {**asked, "model": model, "run_id": begin(self._systems, row, model, self.planner).id}}

    def _work(self, state: _State) -> dict[str, Any]:
        asked = state["asked"]
        if "answer" in asked:
            return {}
        with claimed(self._systems, asked["run_id"]):
            run = Run.open(self._systems, asked["run_id"])
            if run.record.result is not None:  # it was cut off after the run, or a person decided meanwhile
                result = TriageResult.model_validate(run.record.result)
            else:
                result = Turn(self._systems, run, self._tools, self._planner, self._progress).work()
        return {"asked": {**asked, "answer": result.report, "approval": result.models[0].approval}}

    def _said(self, state: _State) -> dict[str, Any]:
        asked = state["asked"]
        reply = Reply(
            id=asked["id"],
            by=asked["by"],
            question=asked["text"],
            text=asked["answer"],
            model=asked.get("model"),
            run_id=asked.get("run_id"),
            approval=asked.get("approval"),
        )
        return {"turns": [*state.get("turns", []), reply.model_dump(mode="json")][-MOST_TURNS:], "asked": {}}

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        os.environ.setdefault("LANGGRAPH_STRICT_MSGPACK", "true")
        from langgraph.graph import END, START, StateGraph

        graph: Any = StateGraph(_State)
        nodes: dict[str, Callable[[_State], dict[str, Any]]] = {
            "hear": self._hear,
            "work": self._work,
            "said": self._said,
        }
        for name, node in nodes.items():
            graph.add_node(name, node)
        for before, after in ((START, "hear"), ("hear", "work"), ("work", "said"), ("said", END)):
            graph.add_edge(before, after)
        thread = f"{CHAT}{self._session}"
        with checkpoints(self._systems) as saver:
            yield graph.compile(checkpointer=saver), {"configurable": {"thread_id": thread}}
            forget_history(saver, thread)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One question of a thread at a time, in all processes of this machine."""
        name = f"chat-{hashlib.sha256(self._session.encode()).hexdigest()[:24]}"
        until = time.monotonic() + PATIENCE
        while True:
            try:
                held = claimed(self._systems, name)
                held.__enter__()
                break
            except RunBusy:
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)
        try:
            yield
        finally:
            held.__exit__(None, None, None)


_OF_ALL = frozenset({Intent.cost, Intent.approvals, Intent.alerts, Intent.night, Intent.status, Intent.help})
"""What is answered for all models where none is named, whatever the planner."""
