"""The agent's own cost a step (all but model and tools) against a bare LangGraph loop; start to first planner call.

A step is what lies between two answers of the planner: authorize, intent, a tool that takes no time, outcome, audit
rows, transcript, durable checkpoints. The peer makes the same number of plan and act steps with LangGraph alone: two
nodes, the same SQLite checkpoints, `durability="sync"`, no policies, no evidence, no audit. The trace is written once
at the end of a run; its cost is divided by the steps. The start is a fresh process, from its spawning to the arrival of
its first request at a server on loopback, with declarations, store and prompt read on the way.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, TypedDict

from pydantic import BaseModel

from agent.graph import Loop
from agent.planners.protocol import Answer, Briefing, Conversation, Finish, ToolCall
from agent.runs import Run, RunRecord
from agent.tracing import trace_run
from evals.scratch import ScratchFolder
from tools.systems.systems import Systems
from tools.systems.tool import Effect, Tool

MODEL = "ChurnModel"
START = """
import sys
from pathlib import Path
from agent.graph import Loop
from agent.planners.choice import choose
from agent.planners.protocol import Briefing
from tools.systems.systems import Systems
from tools.toolbox import toolbox

systems, tools = Systems.open(Path(sys.argv[1]) / "operations.yaml"), toolbox()
loop = Loop(systems, tools, choose(systems, tools, "openai"))
loop.run("run-1", "run-1/start", lambda: Briefing(model="ChurnModel", text="A briefing."))
"""


class Monitor(BaseModel):
    """Arguments of the tool that takes no time."""

    monitor: str


class Nothing(BaseModel):
    """Its result."""

    report_id: str = "drift-1"
    status: str = "checked"


def nothing(systems: Systems, arguments: Monitor) -> Nothing:
    """Measures nothing, at once."""
    return Nothing()


class Steady:
    """A planner that takes no time, and notes when it was asked."""

    name = "steady"
    about: Mapping[str, str] = {}

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self.asked: list[float] = []

    def next(self, conversation: Conversation) -> Answer:
        """The same call until the steps are made."""
        self.asked.append(time.perf_counter())
        if len(conversation.steps) < self._steps:
            return ToolCall(name="check_drift", arguments={"monitor": "ChurnDrift"})
        return Finish(summary="Done.")


def ours(home: Path, steps: int) -> tuple[list[float], float]:
    """Seconds of every step of a run, and of its trace."""
    systems = Systems.open(home / "operations.yaml")
    tool = Tool("check_drift", Effect.READ, Monitor, Nothing, nothing, {"monitor": "drift_monitors"})
    planner = Steady(steps)
    record = RunRecord(planner=planner.name, because="benchmark", models=[MODEL])
    run = Run.begin(systems, record)
    loop = Loop(systems, {tool.name: tool}, planner, max_steps=steps + 1, saved=run.saved)
    loop.run(run.id, f"{run.id}/{MODEL}", lambda: Briefing(model=MODEL, text="A briefing."))
    trace_run(systems, run, "finished", "warm-up")
    began = time.perf_counter()
    trace_run(systems, run, "finished", "Done.")
    traced = time.perf_counter() - began
    systems.close()
    return _gaps(planner.asked), traced


class BareState(TypedDict):
    """What the peer keeps."""

    steps: list[dict[str, Any]]


def bare(home: Path, steps: int) -> list[float]:
    """Seconds of every step of a plan-act loop of LangGraph alone."""
    import sqlite3

    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.graph import END, START, StateGraph

    asked: list[float] = []

    def plan(state: BareState) -> dict[str, Any]:
        asked.append(time.perf_counter())
        return {}

    def act(state: BareState) -> dict[str, Any]:
        step = {"number": len(state["steps"]) + 1, "call": {"name": "check_drift"}, "facts": {"status": "checked"}}
        return {"steps": [*state["steps"], step]}

    graph: Any = StateGraph(BareState)
    graph.add_node("plan", plan)
    graph.add_node("act", act)
    graph.add_edge(START, "plan")
    graph.add_conditional_edges("plan", lambda state: END if len(state["steps"]) >= steps else "act", ["act", END])
    graph.add_edge("act", "plan")
    connection = sqlite3.connect(home / "bare.sqlite", check_same_thread=False)
    config = {"configurable": {"thread_id": "bare"}, "recursion_limit": 4 * steps + 10}
    compiled = graph.compile(checkpointer=SqliteSaver(connection))
    compiled.invoke({"steps": []}, config, durability="sync")
    connection.close()
    return _gaps(asked)


def first_call(home: Path) -> float:
    """Seconds from spawning a process to its first request to a language model."""
    arrived: list[float] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived.append(time.perf_counter())
            self.rfile.read(int(self.headers["content-length"]))
            message = {"role": "assistant", "content": "Done."}
            usage = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
            choices = [{"index": 0, "finish_reason": "stop", "message": message}]
            body = json.dumps({"id": "c", "object": "chat.completion", "choices": choices, "usage": usage}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nothing on stderr."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    keys = {"OPENAI_BASE_URL": f"http://127.0.0.1:{server.server_port}/v1", "OPENAI_API_KEY": "none"}
    began = time.perf_counter()
    command = [sys.executable, "-c", START, str(home)]
    subprocess.run(command, env={**os.environ, **keys}, check=True)  # noqa: S603  our own program
    server.shutdown()
    return arrived[0] - began


def _gaps(moments: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(moments)]


def _fresh(measure: Callable[[Path], Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "world"
        with ScratchFolder(home, "evals", ()):
            return measure(home)


def main(arguments: Sequence[str]) -> None:
    """Prints medians over all steps of all rounds; ours and the peer's take turns."""
    parser = argparse.ArgumentParser(prog="agent_overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12, help="steps a run; the product's limit is 12")
    options = parser.parse_args(arguments)
    own: list[float] = []
    peer: list[float] = []
    traces: list[float] = []
    for _ in range(options.rounds):
        steps, traced = _fresh(lambda home: ours(home, options.steps))
        own += steps
        traces.append(traced / options.steps)
        peer += _fresh(lambda home: bare(home, options.steps))
    starts = [_fresh(first_call) for _ in range(3)]
    step, trace, other = (1000 * statistics.median(each) for each in (own, traces, peer))
    print(f"steps measured                          {len(own)} of ours, {len(peer)} of bare LangGraph")
    print(f"a step, median                          {step:.1f} ms")
    print(f"its share of the trace                  {trace:.1f} ms")
    print(f"both                                    {step + trace:.1f} ms   (the target: under 15 ms)")
    print(f"a step, 95th percentile                 {1000 * statistics.quantiles(own, n=20)[-1]:.1f} ms")
    print(f"bare LangGraph, same checkpoints        {other:.1f} ms")
    print(f"ratio                                   {(step + trace) / other:.1f}")
    print(f"start to first planner call, median     {statistics.median(starts):.2f} s   (the target: under 3 s)")


if __name__ == "__main__":
    main(sys.argv[1:])
