"""Kills a night at every step boundary, lets it be continued, and prints how each night ended.

A boundary is a moment before anything is made durable: a commit of the state store, or a write of a checkpoint. Killed
before the next one, a process leaves exactly what was durable until then. Every process is a fork of this one, killed
by SIGKILL.

    python -m tests.agent.crash_night FOLDER    {"boundaries": N, "killed": N, "ends": [[how often, state], …]}
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event, select
from sqlalchemy.engine import Engine

from agent.checkpoints import prune
from agent.deciding import answer
from agent.triage import triage
from policies.declarations import Operations, load
from policies.errors import GuardianError
from tests.agent.world import MODEL, OPERATIONS, World, build_world, declare_approvals
from tools.systems.store import Kind
from tools.systems.tables import ActionRow, AuditRow, SpendRow

WORKERS = 2


def night(world: World) -> None:
    """A whole night: measured, retrained, judged, approved by a person, deployed, told."""
    result = triage(world.systems, toolbox=world.toolbox())
    if result.status == "waiting_approval":
        answer(world.systems, str(result.models[0].approval), "oncall", approve=True, toolbox=world.toolbox())


def go_on(world: World) -> None:
    """What people and the schedule do after a crash: the next triage, and the approver who clicks (again)."""
    store = world.systems.store
    if store.latest(Kind.run) is None or store.latest(Kind.run, status="running"):
        triage(world.systems, toolbox=world.toolbox())
    for row in store.list(Kind.approval):
        if row.status in ("pending", "approved"):
            try:
                answer(world.systems, row.id, "oncall", approve=True, toolbox=world.toolbox())
            except GuardianError as error:
                print(error, file=sys.stderr)
    prune(world.systems, ("running", "waiting_approval"))  # as every night does at its end


def state(world: World) -> dict[str, Any]:
    """What must be the same however the night was disturbed. Numbers of measurements may differ: those may be taken
    twice, what changes something may not."""
    store = world.systems.store
    run = store.list(Kind.run)
    with store.reading() as session:
        told = session.scalars(select(AuditRow.detail).where(AuditRow.action == "notify")).all()
        calls = session.execute(select(ActionRow.call_id, ActionRow.tool, ActionRow.status)).all()
        spend = len(session.scalars(select(SpendRow)).all())
    split = world.systems.traffic.split(MODEL)
    found = {
        "runs": [(each.id, each.status, each.body.get("result")) for each in run],
        "changes": {
            kind.value: [(row.id, row.version, row.status, row.rests_on) for row in store.list(kind)]
            for kind in (Kind.training_run, Kind.approval, Kind.rollout, Kind.traffic_change)
        },
        "measured": {
            kind.value: sorted({str(row.status) for row in store.list(kind)})
            for kind in (Kind.drift_report, Kind.evaluation, Kind.gate)
        },
        "told": sorted(told),
        "calls": sorted(map(list, calls)),
        "spend": spend,
        "split": split.champion if split else None,
        "audit": store.verify_audit(),
        "checkpoints": _checkpoints(world),
    }
    return dict(json.loads(re.sub(r"\b(drift|eval|gate)-\d+", r"\1-N", json.dumps(found, default=str))))


def _checkpoints(world: World) -> int:
    import sqlite3

    with sqlite3.connect(world.systems.state / "checkpoints.sqlite") as connection:
        return int(connection.execute("SELECT count(*) FROM checkpoints").fetchone()[0])


def at_boundaries(do: Callable[[], None]) -> None:
    """Calls `do` before anything is made durable."""
    from langgraph.checkpoint.sqlite import SqliteSaver

    event.listen(Engine, "commit", lambda connection: do())
    for name in ("put", "put_writes", "delete_thread"):
        whole = getattr(SqliteSaver, name)
        setattr(SqliteSaver, name, _before(do, whole))


def _before(do: Callable[[], None], whole: Callable[..., Any]) -> Callable[..., Any]:
    def first(*arguments: Any, **named: Any) -> Any:
        do()
        return whole(*arguments, **named)

    return first


def opened(folder: Path, operations: Operations) -> World:
    """The world of a folder, with a deployment that needs a person."""
    world = build_world(folder, operations)
    declare_approvals(world, deploy={"mode": "approve", "approvers": ["oncall"]})
    return world


def forked(work: Callable[[], None]) -> int:
    """The wait status of a child that did `work`."""
    child = os.fork()
    if child == 0:
        try:
            work()
            os._exit(0)
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            os._exit(1)
    return os.waitpid(child, 0)[1]


def main(folder: Path) -> None:
    """Runs every disturbed night, in as many processes as there are workers."""
    operations = load(OPERATIONS)
    whole = folder / "whole"

    def undisturbed() -> None:
        passed = 0

        def count() -> None:
            nonlocal passed
            passed += 1

        whole.mkdir()
        world = opened(whole, operations)
        at_boundaries(count)
        night(world)
        (folder / "end.json").write_text(json.dumps([passed, state(world)]))

    warm_up()
    forked(undisturbed)
    boundaries, _ = json.loads((folder / "end.json").read_text())
    workers = []
    for worker in range(WORKERS):
        child = os.fork()
        if child == 0:
            for boundary in range(1 + worker, boundaries + 1, WORKERS):
                disturbed(folder, boundary, operations)
            os._exit(0)
        workers.append(child)
    for child in workers:
        os.waitpid(child, 0)
    ends = Counter(file.read_text() for file in folder.glob("end-*.json"))
    ends[json.dumps(json.loads((folder / "end.json").read_text())[1])] += 0
    killed = sum(1 for file in folder.glob("killed-*"))
    shown = [[count, json.loads(each)] for each, count in ends.most_common()]
    print(json.dumps({"boundaries": boundaries, "killed": killed, "ends": shown}))


def warm_up() -> None:
    """Imports everything a night needs, once for all forks: importing takes longer than the night."""
    from langgraph.checkpoint.sqlite import SqliteSaver
    from langgraph.graph import StateGraph

    assert SqliteSaver and StateGraph


def disturbed(folder: Path, boundary: int, operations: Operations) -> None:
    """One night killed at `boundary` and continued by another process."""
    home = folder / f"night-{boundary}"
    home.mkdir()

    def killed() -> None:
        left = boundary

        def count() -> None:
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

        world = opened(home, operations)
        at_boundaries(count)
        night(world)

    def continued() -> None:
        world = opened(home, operations)
        go_on(world)
        (folder / f"end-{boundary}.json").write_text(json.dumps(state(world)))

    if forked(killed) == signal.SIGKILL:
        (folder / f"killed-{boundary}").touch()
    if forked(continued) != 0:
        (folder / f"end-{boundary}.json").write_text(json.dumps({"failed at": boundary}))
    shutil.rmtree(home)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
